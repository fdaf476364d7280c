"""Names of the images in an OME-XML file, and a parser that no document can do harm with."""

from __future__ import annotations

from xml.parsers import expat

MOST_BYTES = 64 * 2**20
"""A larger file is not parsed for the sake of names."""


class UnsafeXMLError(ValueError):
    """A document with a type of its own."""


def safe_parser(separator: str | None = None) -> expat.XMLParserType:
    """Return a parser that refuses entities and document types, for they can do harm, by `UnsafeXMLError`."""

    def refuse(*_about: object) -> None:
        raise UnsafeXMLError

    parser = expat.ParserCreate(namespace_separator=separator)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    return parser


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
