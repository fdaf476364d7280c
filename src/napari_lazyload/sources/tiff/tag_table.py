"""What the header of one TIFF file says, for the meta table: tags, ImageJ's fields, OME-XML's sizes and channels."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.files import in_table
from napari_lazyload.sources.tiff.metadata import quiet_tifffile
from napari_lazyload.sources.tiff.ome_xml import PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import tifffile

    from napari_lazyload.sources.opened import Columns

_LEFT_OUT = re.compile(
    "Offsets?$|ByteCounts?$|Tables?$|^ColorMap$|^TransferFunction$|^IJMetadata|Profile$|^SubIFDs$|^XMP$"
)
_MOST_VALUES = 1 << 16
_ATTRIBUTE = re.compile(r'([A-Za-z]+)="([^"]*)"')
_CHANNEL = re.compile(r'<(?:\w+:)?Channel\b[^>]*\bName="([^"]+)"')
_ACQUIRED = re.compile(r"<(?:\w+:)?AcquisitionDate>([^<]+)<")


def tiff_header(path: str) -> dict[str, Any]:
    """Return what a TIFF file says of its first image, as cells of a table; nothing where it cannot be read.

    Parameters
    ----------
    path : str
        The file.
    """
    import tifffile

    try:
        with quiet_tifffile(), tifffile.TiffFile(path) as tif:
            return {name: in_table(value) for name, value in _fields(tif)}
    except Exception:  # noqa: BLE001 - the pixels were found; whatever is wrong with a tag, the table does without
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
        if tag.count <= _MOST_VALUES and not (
            _LEFT_OUT.search(tag.name) or (described and tag.name == "ImageDescription")
        ):
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
        if name != "ID":
            try:
                yield (
                    name,
                    float(value) if "Physical" in name or "Increment" in name else int(value),
                )
            except ValueError:
                yield name, value
    for name, found in (
        ("channels", _CHANNEL.findall(xml)),
        ("AcquisitionDate", _ACQUIRED.findall(xml)[:1]),
    ):
        if found:
            yield name, ", ".join(found)


def with_tiff_header(columns: Callable[[], Columns], path: str) -> Callable[[], Columns]:
    """Return what makes the columns of a table, with those of a TIFF file's header behind the others."""

    def more() -> Columns:
        known = columns()
        count = max((len(values) for values in known.values()), default=0)
        header: dict[str, Any] = {
            name: np.full(count, value, _kind(value))
            for name, value in tiff_header(path).items()
            if name not in known
        }
        return {**known, **header}

    return more


def _kind(value: Any) -> type[Any]:
    return type(value) if isinstance(value, (bool, float)) else object
