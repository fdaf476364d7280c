"""Netpbm's images (PBM, PGM, PPM, PAM) and PFM: a short header of text before the pixels.

Formats: https://netpbm.sourceforge.net/doc/pnm.html, http://www.pauldebevec.com/Research/HDR/PFM/
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.sources.binary.boxes import BoxSource
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.read_strided import check_extent, dense_strides
from napari_lazyload.sources.binary.strided import StridedLayout, dense, samples_first
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import Box
    from napari_lazyload.sources.binary.read_strided import Array
    from napari_lazyload.sources.opened import OpenResult, RowSource

PNM = "PNM"
_KINDS = {
    b"P1": "PBM, text",
    b"P2": "PGM, text",
    b"P3": "PPM, text",
    b"P4": "PBM",
    b"P5": "PGM",
    b"P6": "PPM",
    b"P7": "PAM",
    b"Pf": "PFM",
    b"PF": "PFM",
}
_MOST_HEADER = 1 << 16
_DAMAGED = "it is damaged or of another format: export it again"
_NUMBERS = re.compile(rb"(?:\s|#[^\n]*\n)+([^\s#]+)")


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands before the pixels: how many samples, the largest value, where the pixels begin.

    ``scale`` is PFM's: its sign is the order of bytes, its size a factor that is kept, not applied.
    """

    kind: bytes
    width: int
    height: int
    samples: int
    most: int
    offset: int
    scale: float = 0.0
    tuple_type: str = ""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a stored sample."""
        if self.scale:
            return np.dtype("<f4" if self.scale < 0 else ">f4")
        return np.dtype("u1" if self.most < 256 else ">u2")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image, samples last where there are several."""
        samples = () if self.samples == 1 else (self.samples,)
        return (self.height, self.width, *samples)


@dataclass(frozen=True, slots=True)
class _FloatRows:
    """Reads boxes of PFM, whose rows go from the bottom to the top."""

    path: str
    header: _Header

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box."""
        head = self.header
        pixels = np.memmap(self.path, head.dtype, "r", head.offset, head.shape)
        return np.array(pixels[::-1][tuple(slice(*bounds) for bounds in box)])


@dataclass(frozen=True, slots=True)
class _Bits:
    """Reads boxes of PBM, a bit a pixel: True is white, as Pillow has it; the file's 1 is black."""

    path: str
    header: _Header

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box."""
        head = self.header
        (top, bottom), (left, right) = box
        with open(self.path, "rb") as file:
            if head.kind == b"P1":
                file.seek(head.offset)
                digits = re.sub(rb"#[^\n]*|\s", b"", file.read())
                bits = np.frombuffer(digits, np.uint8).reshape(head.shape)[top:bottom] - ord("0")
            else:
                row = -(-head.width // 8)
                file.seek(head.offset + top * row)
                packed = np.frombuffer(file.read((bottom - top) * row), np.uint8)
                bits = np.unpackbits(packed.reshape(bottom - top, row), axis=1)
        white: Array = bits[:, left:right] == 0
        return white


def open_pnm(path: str, **options: Any) -> OpenResult:
    """Open a PBM, PGM, PPM, PAM or PFM image, in place where it is binary.

    Several images of one size behind each other are one stack. Values are those of the file: they
    are not stretched to the largest one that its header names.

    Parameters
    ----------
    path : str
        The file.
    **options
        ``trailing`` (whether to allow trailing bytes).

    Raises
    ------
    SourceOpenError
        If it is no such file, or shorter or longer than its header says.
    """
    check_options(options, ("trailing",), "PNM files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a PNM image")
    with reading_header(path, "a PNM image"), open(path, "rb") as file:
        header = _read_header(path, file)
        check_image(path, header.shape, header.dtype)
        count = _count(file, header, stamp.size)
    exact = not options.get("trailing", False)
    source = _source(path, stamp, header, count, exact=exact)
    fields: dict[str, Any] = {"kind": _KINDS[header.kind], "data_offset": header.offset}
    fields |= {"scale_factor": abs(header.scale)} if header.scale else {"largest": header.most}
    return binary_result(path, PNM, [source], [fields])


def _source(path: str, stamp: FileStamp, header: _Header, count: int, *, exact: bool) -> RowSource:
    name, file = file_name(path), (path, stamp)
    is_color = header.samples in (3, 4) and (
        header.kind != b"P7" or header.tuple_type in ("RGB", "RGB_ALPHA")
    )
    axes = ("y", "x", "s") if is_color else ("y", "x")
    if header.scale or header.kind in (b"P1", b"P4"):
        return _boxes(path, stamp, header, axes, exact=exact)
    layout = dense(header.shape, header.dtype, header.offset)
    if header.kind in (b"P2", b"P3"):
        text = dense(header.shape, header.dtype.newbyteorder("="))
        return file_source(text, file, "text", name, axes, start=header.offset)
    if header.samples > 1 and not is_color:
        layout, axes = samples_first(layout), ("c", *axes)
    if count > 1:
        stride = header.offset + prod(header.shape) * header.dtype.itemsize
        shape, strides = (count, *layout.shape), (stride, *layout.strides)
        layout = StridedLayout(shape, layout.dtype, layout.offset, strides)
        axes = ("t", *axes)
    return file_source(layout, file, "", name, axes, exact=exact)


def _boxes(
    path: str, stamp: FileStamp, header: _Header, axes: tuple[str, ...], *, exact: bool
) -> RowSource:
    """Return the source of what is not as it is stored: bits, and rows from bottom to top."""
    shape, dtype = header.shape, header.dtype if header.scale else np.dtype(bool)
    chunk: tuple[int, ...] = shape
    if header.kind == b"P1":
        check_extent(path, stamp.size, header.offset + prod(shape), exact=False)
    else:
        row = prod(shape[1:]) * dtype.itemsize if header.scale else -(-header.width // 8)
        check_extent(path, stamp.size, header.offset + row * header.height, exact=exact)
        fixed = range(2, len(shape))
        strides = dense_strides(shape, dtype.itemsize)
        chunk = auto_chunks(shape, strides, dtype.itemsize, fixed=fixed)
    read = _FloatRows(path, header) if header.scale else _Bits(path, header)
    return BoxSource(
        PNM,
        (path, stamp),
        read,
        grid=ChunkGrid(shape, chunk),
        dtype=dtype,
        name=file_name(path),
        axes=axes,
    )


def _count(file: IO[bytes], header: _Header, size: int) -> int:
    """Return how many images of one header lie behind each other."""
    each = header.offset + prod(header.shape) * header.dtype.itemsize
    if header.kind not in (b"P5", b"P6", b"P7") or size <= each or size % each:
        return 1
    file.seek(0)
    text = file.read(header.offset)
    for number in range(1, size // each):
        file.seek(number * each)
        if file.read(header.offset) != text:
            return 1
    return size // each


def _read_header(path: str, file: IO[bytes]) -> _Header:
    block = file.read(_MOST_HEADER)
    kind = block[:2]
    refuse_if(
        kind not in _KINDS,
        path,
        "a file that begins with P1 to P7, Pf or PF",
        repr(kind),
        _DAMAGED,
    )
    header = _pam_header(path, block) if kind == b"P7" else _plain_header(path, block)
    refuse_if(
        not header.scale and not 0 < header.most < 1 << 16,
        path,
        "a largest value of 1 to 65,535",
        str(header.most),
        _DAMAGED,
    )
    return header


def _plain_header(path: str, block: bytes) -> _Header:
    """Return the header of all but PAM: numbers between blanks and comments."""
    kind = block[:2]
    fields: list[bytes] = []
    place = 2
    while len(fields) < (2 if kind in (b"P1", b"P4") else 3):
        found = _NUMBERS.match(block, place)
        if found is None:
            raise open_error(
                path, "width, height and the largest value", repr(block[:40]), _DAMAGED
            )
        fields.append(found[1])
        place = found.end()
    width, height = (_size(path, field) for field in fields[:2])
    samples = 3 if kind in (b"P3", b"P6", b"PF") else 1
    scale, most = 0.0, 1
    if kind in (b"Pf", b"PF"):
        scale = float(fields[2])
        refuse_if(
            not np.isfinite(scale) or scale == 0, path, "a scale other than 0", str(scale), _DAMAGED
        )
    elif len(fields) == 3:
        most = _size(path, fields[2])
    return _Header(kind, width, height, samples, most, place + 1, scale)


def _pam_header(path: str, block: bytes) -> _Header:
    """Return the header of PAM: a name and a value a line."""
    text, end, _ = block.partition(b"ENDHDR\n")
    refuse_if(not end, path, "a header that ends with ENDHDR", "none", _DAMAGED)
    fields: dict[bytes, bytes] = {}
    for line in text.splitlines()[1:]:
        name, _, value = line.strip().partition(b" ")
        if name and not name.startswith(b"#"):
            fields[name] = value.strip()
    sizes = [_size(path, fields.get(name, b"")) for name in (b"WIDTH", b"HEIGHT", b"DEPTH")]
    width, height, depth = sizes
    most = _size(path, fields.get(b"MAXVAL", b""))
    kind = fields.get(b"TUPLTYPE", b"").decode("ascii", "replace")
    return _Header(b"P7", width, height, depth, most, len(text) + len(end), tuple_type=kind)


def _size(path: str, text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise open_error(path, "a whole number in its header", repr(text[:20]), _DAMAGED)
    return int(text)
