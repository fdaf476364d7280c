"""XML of files, parsed without entities or documents from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn
from xml.etree.ElementTree import ParseError, TreeBuilder, XMLParser, fromstring

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MOST_BYTES = 64 * 2**20
"""A larger document is not parsed for the sake of names."""


class XMLError(ValueError):
    """A document that is broken, too large, or has a document type, which may do harm."""


class _SafeBuilder(TreeBuilder):
    def doctype(self, *_parts: object) -> NoReturn:
        """Refuse a document type, and with it all entities: called where one begins."""
        raise XMLError(
            "expected XML without a document type, found one: refused, for it may do harm"
        )


def parse_xml(document: bytes) -> Element:
    """Return the root of a document.

    Raises
    ------
    XMLError
        If it has a document type, is larger than `MOST_BYTES`, or is no XML.
    """
    if len(document) > MOST_BYTES:
        raise XMLError(f"expected at most {MOST_BYTES} bytes of XML, found {len(document)}")
    try:
        return fromstring(document, XMLParser(target=_SafeBuilder()))
    except ParseError as err:
        raise XMLError(f"expected XML, found a document that is broken ({err})") from err
