"""XML that may do harm is refused before anything of it is used."""

from __future__ import annotations

import pytest

from napari_lazyload.sources import safe_xml
from napari_lazyload.sources.safe_xml import XMLError, parse_xml

LAUGHS = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))


def test_a_document_is_a_tree():
    root = parse_xml(b'<a xmlns="http://x"><b Name="one">text</b></a>')
    assert [(one.get("Name"), one.text) for one in root.iterfind("{*}b")] == [("one", "text")]


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>',
        "<!DOCTYPE a><a/>",
    ],
    ids=["external DTD", "external entity", "a billion laughs", "bare type"],
)
def test_a_document_type_is_refused(document):
    with pytest.raises(XMLError, match="without a document type"):
        parse_xml(document.encode())


@pytest.mark.parametrize("document", [b"", b"<a", b"<a>&x;</a>", b"\xff", b"<a></b>"])
def test_a_broken_document_is_an_error_of_values(document):
    with pytest.raises(ValueError, match="expected XML"):
        parse_xml(document)


def test_a_large_document_is_refused(monkeypatch):
    monkeypatch.setattr(safe_xml, "MOST_BYTES", 10)
    with pytest.raises(XMLError, match="at most 10 bytes of XML, found 11"):
        parse_xml(b"<a>12345</a>"[:11])
