"""The header of a TIFF file for the meta table: tags, fields of ImageJ, sizes of OME-XML."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.files import in_table
from napari_lazyload.sources.tiff.ome_xml import PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tifffile

_LEFT_OUT = re.compile(
    "Offsets?$|ByteCounts?$|Tables?$|Profile$|"
    "^ColorMap$|^TransferFunction$|^IJMetadata|^SubIFDs$|^XMP$"
)
_MOST_VALUES = 1 << 16
_ATTRIBUTE = re.compile(r'(?<![A-Za-z])([A-Za-z]++)="([^"]*)"')
_CHANNEL = re.compile(r'<(?:\w+:)?Channel\b[^<>]*\bName="([^"<]+)"')
_ACQUIRED = re.compile(r"<(?:\w+:)?AcquisitionDate>([^<]+)<")


def tag_fields(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Return the header of the first image as cells of a table.

    Nothing is returned where a tag cannot be read: the table does without.

    Parameters
    ----------
    tif : TiffFile
        The file.
    """
    try:
        return {name: in_table(value) for name, value in _fields(tif)}
    except Exception:  # noqa: BLE001 - the pixels were found, whatever is wrong with a tag
        return {}


def _fields(tif: tifffile.TiffFile) -> Iterator[tuple[str, Any]]:
    yield "tiff", "BigTIFF" if tif.is_bigtiff else "TIFF"
    yield "byte_order", "big" if tif.byteorder == ">" else "little"
    described = False
    if tif.is_ome and tif.ome_metadata:
        described = True
        yield from _ome_fields(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        described = True
        for name, value in tif.imagej_metadata.items():
            if isinstance(value, (str, int, float)):
                yield name, value
    page: Any = tif.pages.first
    for tag in page.tags:
        repeated = described and tag.name == "ImageDescription"
        if tag.count <= _MOST_VALUES and not repeated and not _LEFT_OUT.search(tag.name):
            yield tag.name, _plain(tag)


def _plain(tag: Any) -> Any:
    """Return the value of a tag: names for numbers that have them, a fraction as a number."""
    value = tag.value
    if isinstance(value, enum.Enum):
        return value.name
    if tag.dtype in (5, 10) and tag.count == 1 and value[1]:
        return value[0] / value[1]
    return str(value) if isinstance(value, (tuple, dict)) else value


def _ome_fields(xml: str) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of the first image's pixels, its channels and its date."""
    pixels = PIXELS.search(xml)
    for name, value in _ATTRIBUTE.findall(pixels[0]) if pixels else ():
        if name == "ID":
            continue
        number = float if "Physical" in name or "Increment" in name else int
        try:
            yield name, number(value)
        except ValueError:
            yield name, value
    channels = _CHANNEL.findall(xml)
    if channels:
        yield "channels", ", ".join(channels)
    acquired = _ACQUIRED.search(xml)
    if acquired:
        yield "AcquisitionDate", acquired[1]
