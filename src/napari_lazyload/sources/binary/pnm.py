"""Netpbm's images: PBM, PGM, PPM and PAM, and PFM of floats: a short header of text, then pixels.

Formats: https://netpbm.sourceforge.net/doc/pnm.html, https://netpbm.sourceforge.net/doc/pam.html,
https://netpbm.sourceforge.net/doc/pfm.html
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.sources.binary.boxes import BoxSource
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks
from napari_lazyload.sources.binary.compressed import PackedSource
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import MOST_HEADER, check_image, reading_header
from napari_lazyload.sources.binary.read_strided import (
    Array,
    check_extent,
    read_strided,
)
from napari_lazyload.sources.binary.strided import StridedLayout, dense, samples_first
from napari_lazyload.sources.files import (
    FileStamp,
    check_options,
    file_name,
    open_error,
    refuse_if,
)

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import Box
    from napari_lazyload.sources.opened import OpenResult, RowSource

PNM = "PNM"
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_SIZES = _GAP + rb"(?P<width>\d{1,18})" + _GAP + rb"(?P<height>\d{1,18})"
_BITS = re.compile(rb"(?P<kind>P[14])" + _SIZES + rb"\s")
_WHOLE = re.compile(rb"(?P<kind>P[2356])" + _SIZES + _GAP + rb"(?P<maxval>\d{1,9})\s")
_FLOAT = re.compile(rb"(?P<kind>P[Ff])" + _SIZES + _GAP + rb"(?P<scale>[-+.\deE]{1,40})\s")
_ANY = re.compile(rb"P7[ \t]*\r?\n(?P<fields>(?:[^\n]*\n)*?)ENDHDR[ \t]*\r?\n")
_BILEVEL, _PLAIN = ("P1", "P4"), ("P2", "P3")
_SAMPLES = {"P3": 3, "P6": 3, "PF": 3}
_COLORS = {"RGB": 3, "RGB_ALPHA": 4}
_DAMAGED = "it is damaged or of another format: export it again"


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says.

    Parameters
    ----------
    kind : str
        The two first letters of the file.
    end : int
        Where the pixels begin.
    layout : StridedLayout
        Of the pixels, samples last where there are several; of bits, of a byte for each.
    fields : dict
        For the table.
    """

    kind: str
    end: int
    layout: StridedLayout
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Bits:
    """Reads boxes of black and white pixels, 1 for black, as Pillow has them: white is True.

    Parameters
    ----------
    path : str
        Absolute path.
    start : int
        Where the pixels begin.
    shape : tuple of int
        Rows and columns.
    plain : bool
        Whether each is a digit, else a bit; rows of bits are filled up to whole bytes.
    """

    path: str
    start: int
    shape: tuple[int, int]
    plain: bool

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box."""
        rows, columns = (slice(*bounds) for bounds in box)
        if self.plain:
            return np.equal(self._digits()[rows, columns], ord("0"))
        nbytes = -(-self.shape[1] // 8)
        packed = np.empty((rows.stop - rows.start, nbytes), np.uint8)
        read_strided(self.path, self.start + rows.start * nbytes, packed, (nbytes, 1))
        return np.equal(np.unpackbits(packed, axis=1)[:, columns], 0)

    def _digits(self) -> Array:
        height, width = self.shape
        with open(self.path, "rb") as file:
            file.seek(self.start)
            digits = re.sub(rb"#[^\r\n]*", b"", file.read()).translate(None, b" \t\r\n\v\f")
        if len(digits) < height * width or digits.strip(b"01"):
            raise ValueError(f"expected {height * width:,} digits 0 and 1")
        return np.frombuffer(digits, np.uint8, height * width).reshape(height, width)


@dataclass(frozen=True, slots=True)
class _BottomUp:
    """Reads boxes of an image whose lowest row is stored first.

    Parameters
    ----------
    path : str
        Absolute path.
    layout : StridedLayout
        Of the rows as they are stored.
    """

    path: str
    layout: StridedLayout

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box, whose rows are counted from the top."""
        layout, rows = self.layout, self.layout.shape[0]
        stored = ((rows - box[0][1], rows - box[0][0]), *box[1:])
        first = (start * step for (start, _), step in zip(stored, layout.strides, strict=True))
        pixels = np.empty(box_shape(box), layout.dtype.newbyteorder("="))
        read_strided(
            self.path, layout.offset + sum(first), pixels.view(layout.dtype), layout.strides
        )
        return pixels[::-1]


def open_pnm(path: str, **options: Any) -> OpenResult:
    """Open an image of Netpbm: PBM, PGM, PPM, PAM (P1 to P7), or PFM.

    Values are as they are stored: the largest one (MAXVAL) gives the contrast limits, and the scale
    of PFM is kept for the table. Several images of one size in a file are frames along ``t``.

    Parameters
    ----------
    path : str
        The file. Numbers that are written as text (P1, P2, P3) are read as one chunk.
    **options
        ``trailing`` (whether bytes behind the pixels are expected: no word is said of them then).

    Raises
    ------
    SourceOpenError
        If it is no such file, or is shorter than its header says.
    """
    check_options(options, ("trailing",), "PNM files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a PNM image")
    with reading_header(path, "a PNM image"):
        with open(path, "rb") as file:
            block = file.read(MOST_HEADER)
        header = _read_header(path, block)
    exact = not options.get("trailing", False)
    source = _source(path, stamp, header, block, exact=exact)
    return binary_result(path, PNM, [source], [header.fields])


def _read_header(path: str, block: bytes) -> _Header:
    for pattern in (_WHOLE, _FLOAT, _BITS):
        if match := pattern.match(block):
            return _from_match(path, match)
    if match := _ANY.match(block):
        return _from_lines(path, match)
    raise open_error(
        path,
        "a header of PBM, PGM, PPM, PAM or PFM (P1 to P7, Pf, PF, and then the sizes)",
        f"a file that begins with {block[:16]!r}",
        _DAMAGED,
    )


def _from_match(path: str, match: re.Match[bytes]) -> _Header:
    """Return a header of sizes, and perhaps the largest value or the scale."""
    found = {name: text.decode("ascii") for name, text in match.groupdict().items()}
    kind = found["kind"]
    if kind in _BILEVEL:
        dtype = "u1"
    elif "scale" in found:
        dtype = _float_type(path, found["scale"])
    else:
        dtype = _whole_type(path, int(found["maxval"]))
    sizes = [int(found["height"]), int(found["width"]), _SAMPLES.get(kind, 1)]
    layout = dense(sizes if kind in _SAMPLES else sizes[:2], dtype, match.end())
    check_image(path, layout.shape, layout.dtype)
    return _Header(kind, match.end(), layout, _fields(found))


def _from_lines(path: str, match: re.Match[bytes]) -> _Header:
    """Return the header of a PAM image: lines of names and values."""
    found = {"kind": "P7"}
    for line in match["fields"].decode("ascii", "replace").splitlines():
        name, _, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            found[name.lower()] = f"{found.get(name.lower(), '')} {value.strip()}".strip()
    height, width, depth, most = (
        _count(path, found, name) for name in ("height", "width", "depth", "maxval")
    )
    sizes = (height, width) if depth == 1 else (height, width, depth)
    layout = dense(sizes, _whole_type(path, most), match.end())
    check_image(path, layout.shape, layout.dtype)
    return _Header("P7", match.end(), layout, _fields(found))


def _count(path: str, found: dict[str, str], name: str) -> int:
    text = found.get(name, "")
    refuse_if(
        not (text.isdecimal() and len(text) < 19),
        path,
        f"a whole number for {name.upper()}",
        repr(text) if text else "none",
        _DAMAGED,
    )
    return int(text)


def _whole_type(path: str, most: int) -> str:
    refuse_if(not 0 < most < 1 << 16, path, "a MAXVAL of 1 to 65535", str(most), _DAMAGED)
    return "u1" if most < 256 else ">u2"


def _float_type(path: str, text: str) -> str:
    """Return the type of PFM's values: the sign of the scale is the order of their bytes."""
    scale = float(text)
    refuse_if(not 0 < abs(scale) < np.inf, path, "a scale that is not 0", text, _DAMAGED)
    return "<f4" if scale < 0 else ">f4"


def _fields(found: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a header that are not its sizes, as numbers where they are some."""
    kept: dict[str, Any] = {"header": found["kind"]}
    if "tupltype" in found:
        kept["tupltype"] = found["tupltype"]
    numbers = {name: float(found[name]) for name in ("maxval", "scale") if name in found}
    return kept | numbers


def _source(
    path: str, stamp: FileStamp, header: _Header, block: bytes, *, exact: bool
) -> RowSource:
    """Return the source of the pixels behind a header."""
    layout, name, kind = header.layout, file_name(path), header.kind
    axes: tuple[str, ...] = ("y", "x", "s")[: len(layout.shape)]
    if kind in _BILEVEL:
        return _bilevel_source(path, stamp, header, exact=exact)
    if "scale" in header.fields:
        return _float_source(path, stamp, layout, axes, exact=exact)
    limits: dict[str, Any] = {}
    if len(axes) == 2:
        limits["contrast_limits"] = (0.0, header.fields["maxval"])
    if kind in _PLAIN:
        text = dense(layout.shape, layout.dtype)
        return PackedSource(text, (path, stamp), "text", name, axes, start=header.end, **limits)
    named = _COLORS.get(header.fields.get("tupltype", ""))
    if len(axes) == 3 and kind == "P7" and layout.shape[2] != named:
        layout, axes = samples_first(layout), ("c", "y", "x")
    layout, axes = _repeated(path, stamp.size, block[: header.end], layout, axes)
    return file_source(layout, (path, stamp), "", name, axes, exact=exact, **limits)


def _float_source(
    path: str, stamp: FileStamp, layout: StridedLayout, axes: tuple[str, ...], *, exact: bool
) -> BoxSource:
    """Return the source of the pixels of PFM."""
    check_extent(path, stamp.size, layout.end, exact=exact)
    itemsize, colors = layout.dtype.itemsize, range(2, len(axes))
    chunks = auto_chunks(layout.shape, layout.strides, itemsize, fixed=colors)
    return BoxSource(
        PNM,
        (path, stamp),
        _BottomUp(path, layout),
        grid=ChunkGrid(layout.shape, chunks),
        dtype=layout.dtype,
        name=file_name(path),
        axes=axes,
    )


def _bilevel_source(path: str, stamp: FileStamp, header: _Header, *, exact: bool) -> BoxSource:
    """Return the source of black and white pixels."""
    height, width = shape = header.layout.shape
    is_text = header.kind == "P1"
    row = width if is_text else -(-width // 8)
    check_extent(path, stamp.size, header.end + height * row, exact=exact and not is_text)
    chunks = shape if is_text else auto_chunks(shape, header.layout.strides, 1)
    return BoxSource(
        PNM,
        (path, stamp),
        _Bits(path, header.end, (height, width), is_text),
        grid=ChunkGrid(shape, chunks),
        dtype=np.dtype(bool),
        name=file_name(path),
        axes=("y", "x"),
    )


def _repeated(
    path: str, size: int, head: bytes, layout: StridedLayout, axes: tuple[str, ...]
) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return the layout of all images of a file, where each has the header of the first."""
    step = layout.end
    count, rest = divmod(size, step)
    if rest or count < 2:
        return layout, axes
    with open(path, "rb") as file:
        for number in (1, count - 1):
            file.seek(number * step)
            if file.read(len(head)) != head:
                return layout, axes
    strides = (step, *layout.strides)
    return StridedLayout((count, *layout.shape), layout.dtype, layout.offset, strides), ("t", *axes)
