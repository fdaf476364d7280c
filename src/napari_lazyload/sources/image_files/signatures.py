"""What a file is that is no image: a few words for an error message."""

from __future__ import annotations

_SIGNS = (
    (b"version https://git-lfs", "a Git LFS pointer instead of its file (run: git lfs pull)"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"8BPS", "a Photoshop document"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"II\xbc", "a JPEG XR image"),
    (b"<?xml", "XML text"),
    (b"<svg", "an SVG drawing"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
)

_TEXT = frozenset((9, 10, 13, *range(32, 127)))


def describe_contents(data: bytes) -> str:
    """Return what a file seems to be, from its first bytes."""
    if not data:
        return "an empty file (0 bytes)"
    for sign, words in _SIGNS:
        if data.startswith(sign):
            return words
    if data[4:8] == b"ftyp":
        return f"an ISO media file of brand {data[8:12]!r} (HEIC, MP4, ...)"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if not any(data):
        return "nothing but zero bytes (a file that is still being written, or lost in a crash)"
    if _TEXT.issuperset(data[:64]):
        return f"text that begins with {data[:32].decode('ascii')!r}"
    return f"bytes that no image format here begins with ({data[:8].hex(' ')})"
