"""Names of the images in an OME-XML file, and a parser that no document can do harm with."""

from __future__ import annotations

from xml.parsers import expat

from napari_lazyload.sources.safe_xml import MOST_BYTES, UnsafeXMLError, safe_parser


def image_names(document: bytes) -> list[str]:
    """Return the name of each ``Image``, in the order of the file, "" where it has none; [] where it cannot be read.

    Source of the format: https://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd
    """
    if len(document) > MOST_BYTES:
        return []
    names: list[str] = []
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and tag.rpartition(" ")[2] == "Image":
            names.append(attributes.get("Name", ""))

    def end(_tag: str) -> None:
        nonlocal depth
        depth -= 1

    parser = safe_parser(" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, UnsafeXMLError):
        return []
    return names
