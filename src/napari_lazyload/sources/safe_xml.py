"""XML of files, parsed without entities or documents from elsewhere."""

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
