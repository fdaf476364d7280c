"""JPEG XL: header and pixels, as a bare codestream or in boxes.

Source: ISO/IEC 18181-1, section 9.2 (field types U32, Bool, Enum) and annex D (SizeHeader,
ImageMetadata with its orientation, preview and animation headers, BitDepth, ExtraChannelInfo,
ColourEncoding). Bits are read from the lowest of each byte upwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_files.iso_boxes import file_boxes
from napari_lazyload.sources.image_header import (
    ParsedHeader,
    damaged,
    expand_gray_alpha,
    flat_picture,
    itemsize_of,
    shown_samples,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

BOX_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
STREAM_SIGNATURE = b"\xff\x0a"

#: Bytes of codestream that hold any sensible header; names of extra channels are the longest part.
_HEADER_BYTES = 4096

_Choice = tuple[int, int]
"""An offset and a number of bits to read and to add to it."""

_SIZE = ((1, 9), (1, 13), (1, 18), (1, 30))
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ALPHA, _SPOT, _CFA = 0, 2, 5
_GRAY = 1


class _Bits:
    """A reader of fields of bits."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise damaged("a JPEG XL header that does not end", "a header")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def flag(self) -> bool:
        """Return the next bit."""
        return bool(self.take(1))

    def choice(self, *choices: _Choice) -> int:
        """Return a U32: two bits choose among four offsets with their number of bits."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


class _Fields(NamedTuple):
    """Size and pixel type."""

    height: int
    width: int
    bits: int
    real: bool
    samples: int
    animated: bool


def read_header(head: FileHead) -> ParsedHeader:
    """Parse size, orientation, bit depth, channels and color space."""
    fields = _parse(_Bits(_codestream(head)))
    itemsize = itemsize_of(fields.bits)
    dtype = np.dtype(f"u{itemsize}")
    if fields.real:
        dtype = np.dtype(f"f{max(itemsize, 2)}")
    metadata: dict[str, Any] = {"bits": fields.bits}
    if fields.animated:
        metadata["note"] = "an animation; its first frame is shown"
    height, width, samples = fields.height, fields.width, fields.samples
    info = flat_picture("jpegxl", height, width, shown_samples(samples), dtype, metadata=metadata)
    packed = height * width * samples * dtype.itemsize
    return ParsedHeader(info, packed, detail=fields.animated)


def _codestream(head: FileHead) -> bytes:
    """Return the beginning of the codestream, without its two signature bytes."""
    if head.data.startswith(STREAM_SIGNATURE):
        return head.at(2, _HEADER_BYTES)
    parts = b""
    for kind, begin, end in file_boxes(head):
        if kind in (b"jxlc", b"jxlp"):
            start = begin + 4 if kind == b"jxlp" else begin  # behind the number of the part
            parts += head.at(start, min(end - start, _HEADER_BYTES))
            if len(parts) >= _HEADER_BYTES or kind == b"jxlc":
                break
    if not parts.startswith(STREAM_SIGNATURE):
        raise damaged("a JPEG XL file without a codestream", "a jxlc box")
    return parts[2:]


def _parse(bits: _Bits) -> _Fields:
    """Read the fields up to the color space."""
    height, width = _size(bits)
    if bits.flag():  # everything at its default: 8 bits, RGB, no alpha
        return _Fields(height, width, 8, False, 3, False)
    animated = False
    if bits.flag():
        orientation = 1 + bits.take(3)
        if orientation > 4:  # the decoder turns the picture
            height, width = width, height
        if bits.flag():
            _size(bits)
        if bits.flag():
            _preview(bits)
        animated = bits.flag()
        if animated:
            _animation(bits)
    depth, real = _depth(bits)
    bits.flag()
    extra = [_extra_channel(bits) for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12)))]
    bits.flag()  # XYB or not: what is decoded has the color space below
    gray = False
    if not bits.flag():
        bits.flag()
        gray = bits.choice(*_ENUM) == _GRAY
    return _Fields(height, width, depth, real, (1 if gray else 3) + (_ALPHA in extra), animated)


def _size(bits: _Bits) -> tuple[int, int]:
    """Return height and width from a SizeHeader."""
    small = bits.flag()
    height = _side(bits, small)
    ratio = bits.take(3)
    if not ratio:
        return height, _side(bits, small)
    numerator, denominator = _RATIOS[ratio - 1]
    return height, height * numerator // denominator


def _side(bits: _Bits, small: bool) -> int:
    """Return one side: a small one in multiples of eight pixels."""
    return 8 * (1 + bits.take(5)) if small else bits.choice(*_SIZE)


def _preview(bits: _Bits) -> None:
    """Skip a PreviewHeader."""
    eighths = ((16, 0), (32, 0), (1, 5), (33, 9))
    choices = eighths if bits.flag() else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.choice(*choices)
    if not bits.take(3):
        bits.choice(*choices)


def _animation(bits: _Bits) -> None:
    """Skip an AnimationHeader."""
    bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
    bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
    bits.flag()


def _depth(bits: _Bits) -> tuple[int, bool]:
    """Return bits per sample, and whether samples are real numbers."""
    if not bits.flag():
        return bits.choice((8, 0), (10, 0), (12, 0), (1, 6)), False
    depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)
    return depth, True


def _extra_channel(bits: _Bits) -> int:
    """Return the kind of an extra channel."""
    if bits.flag():
        return _ALPHA
    kind = bits.choice(*_ENUM)
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
    if kind == _ALPHA:
        bits.flag()
    elif kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
    return kind


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the image, or the first frame of an animation; `page` is 0."""
    import imagecodecs

    index = 0 if header.detail else None
    array: npt.NDArray[Any] = imagecodecs.jpegxl_decode(data, index=index)
    return expand_gray_alpha(array)
