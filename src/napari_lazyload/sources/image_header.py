"""What an image file is, known from its header, and what every image format shares.

The nouns: a :class:`PictureInfo` is the public answer, a :class:`ParsedHeader` is that answer plus
what the decoder of the same format wants to know, and a :class:`PictureError` is a refusal that
names no path yet (`pictures` adds it).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

BOOL = np.dtype(np.bool_)
UINT8 = np.dtype(np.uint8)
UINT16 = np.dtype(np.uint16)

#: An image that unpacks to no more than this is never called a bomb, however small its file is.
BOMB_FLOOR = 2**27

#: Unpacked bytes per byte of file above which a larger file is called a bomb; for codecs without a
#: bound of their own.
BOMB_RATIO = 20_000

#: The largest expansion of deflate (a stream of 258-byte matches of two bits each).
DEFLATE_RATIO = 1032


class PictureError(ValueError):
    """A file that is not the image it should be: what was found, what was expected, what to do.

    Parameters
    ----------
    found : str
        What the file holds.
    expected : str, optional
        What it should hold.
    hint : str, optional
        What the user can do.
    """

    def __init__(self, found: str, expected: str = "", hint: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.hint = hint


class TruncatedError(PictureError):
    """A file that ends before its picture does."""

    def __init__(self, found: str, expected: str = "a complete file") -> None:
        hint = "copy or export the file again, or wait until it is written"
        super().__init__(found, expected, hint)


def damaged(found: str, expected: str) -> PictureError:
    """Return the refusal of a file that no program could have meant."""
    return PictureError(found, expected, "the file is damaged: export it again")


class PageLocation(NamedTuple):
    """Where a page of a set of files is: no other page is there.

    Parameters
    ----------
    path : str
        The file that holds it; empty for the one that was opened.
    offset : int
        Of its directory or its pixels; 0 where it is missing.
    """

    path: str
    offset: int


class PageLocations(NamedTuple):
    """Where the pages of a set of files are.

    Parameters
    ----------
    paths : sequence of str
        Of each page; see `PageLocation`.
    offsets : sequence of int
        Of each page.
    """

    paths: Sequence[str]
    offsets: Sequence[int]

    def of(self, page: int) -> PageLocation | None:
        """Return where a page is, None where there is no such page."""
        if not 0 <= page < len(self.offsets):
            return None
        return PageLocation(self.paths[page], self.offsets[page])


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """An image file, from its header alone.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole decoded file as it is shown, after EXIF orientation: pages first, then y,
        x, and color samples last where there are any.
    dtype : numpy.dtype
        Data type in native byte order.
    format : str
        "png", "jpeg", "tiff", ...: known from the contents, not by the suffix.
    axes : tuple of str
        One name for each dimension of `shape`: "y", "x", "s" (color samples), "page", "t", "z",
        "c", ...
    rgb : bool
        The last axis holds three or four color samples.
    pages : int
        Number of planes that can be decoded alone: the product of ``shape[:page_ndim]``.
    page_ndim : int
        Number of leading axes that count pages; ``shape[page_ndim:]`` is what one decode gives.
    metadata : Mapping
        Small extras, present where known: ``bits`` (per stored sample), ``orientation`` (EXIF,
        already applied), ``colormap`` (TIFF palette, (n, 3)), ``scale`` (y, x) with ``unit``,
        ``axis_scale`` (by axis) and ``axis_units`` (where it is another), ``channels`` (of
        `ChannelMeta`), ``contrast_limits``, ``resolution`` (pixels per metre, y and x),
        ``description``, ``images`` and ``series`` (how many there are, and the name of this one),
        ``white_is_zero``, ``missing`` (planes that are described and not there), and ``note`` (what
        is not shown). Not part of equality.
    levels : int
        Resolutions that are stored. Not part of equality.
    files : frozenset of str
        The files that hold its pages, where they are several. Not part of equality.
    places : PageLocations or None
        Where its pages are, if other files hold some, or might. Not part of equality.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    format: str
    axes: tuple[str, ...]
    rgb: bool
    pages: int = 1
    page_ndim: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)
    levels: int = field(default=1, compare=False)
    files: frozenset[str] = field(default=frozenset(), compare=False)
    places: PageLocations | None = field(default=None, compare=False)

    @property
    def page_shape(self) -> tuple[int, ...]:
        """Shape of one decoded page."""
        return self.shape[self.page_ndim :]

    @property
    def nbytes(self) -> int:
        """Size of the whole decoded file in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def page_nbytes(self) -> int:
        """Size of one decoded page in bytes."""
        return math.prod(self.page_shape) * self.dtype.itemsize


class ParsedHeader(NamedTuple):
    """A parsed header: the public part, and what the decoder of the same format needs.

    Parameters
    ----------
    info : PictureInfo
        The public part.
    packed : int
        Number of bytes that the decoder has to unpack for one page, before palettes and bits are
        expanded.
    ratio : float
        The most that this codec can expand a byte of file, or the ratio from which on it is not
        believed.
    floor : int
        Number of unpacked bytes that are accepted whatever the ratio.
    detail : object
        Private to the format's module.
    """

    info: PictureInfo
    packed: int
    ratio: float = BOMB_RATIO
    floor: int = BOMB_FLOOR
    detail: Any = None


def flat_picture(
    kind: str,
    height: int,
    width: int,
    samples: int,
    dtype: npt.DTypeLike,
    *,
    metadata: Mapping[str, Any],
) -> PictureInfo:
    """Describe an image of one page.

    Parameters
    ----------
    kind : str
        Name of the format.
    height, width : int
        Size in pixels, as shown.
    samples : int
        Samples per decoded pixel; 1 means that there is no sample axis.
    dtype : dtype
        Data type of the decoded samples.
    metadata : Mapping
        Extras of the file.
    """
    check_size(height, width)
    shape: tuple[int, ...] = (height, width)
    axes: tuple[str, ...] = ("y", "x")
    rgb = samples in (3, 4)
    if samples > 1:
        shape = (*shape, samples)
        axes = (*axes, "s" if rgb else "c")
    return PictureInfo(shape, np.dtype(dtype), kind, axes, rgb, metadata=metadata)


def animated(frame: PictureInfo, frames: int) -> PictureInfo:
    """Describe an animation of frames like this one."""
    shape, axes = (frames, *frame.shape), ("t", *frame.axes)
    return replace(frame, shape=shape, axes=axes, pages=frames, page_ndim=1)


def itemsize_of(bits: int) -> int:
    """Return the bytes of the smallest integer type with so many bits: 1, 2 or 4."""
    if bits <= 8:
        return 1
    return 2 if bits <= 16 else 4


def shown_samples(samples: int) -> int:
    """Return the number of samples that `expand_gray_alpha` leaves."""
    return {2: 4}.get(samples, samples)


def check_size(height: int, width: int) -> None:
    """Raise PictureError for an image without pixels."""
    if height < 1 or width < 1:
        raise damaged(f"a header that declares {width} x {height} pixels", "an image with pixels")


def check_plausible(header: ParsedHeader, source: FileHead) -> None:
    """Raise PictureError where a file cannot hold what its header declares.

    Nothing has been allocated yet: this is the guard against decompression bombs, and it finds most
    truncated files. The size of the file is asked for only where the declared size is worth it.
    """
    if header.packed <= header.floor or header.packed <= header.ratio * source.size:
        return
    shape = " x ".join(map(str, header.info.shape))
    declared = f"a header that declares {shape} ({header.packed:,} bytes unpacked)"
    raise PictureError(
        f"{declared} in a file of {source.size:,} bytes",
        "a file large enough for the size in its header",
        "it is cut short, damaged or a decompression bomb: copy or export it again",
    )


def expand_gray_alpha(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Repeat gray three times and keep alpha: (y, x, 2) becomes (y, x, 4); others stay."""
    if array.ndim != 3 or array.shape[2] != 2:
        return array
    result = np.empty((*array.shape[:-1], 4), array.dtype)
    result[..., :3] = array[..., :1]
    result[..., 3] = array[..., 1]
    return result


#: What one read of a header asks for; nearly all headers fit.
HEAD_BYTES = 4096

# O_NONBLOCK lets a named pipe with an image's suffix answer "empty" instead of waiting for a
# writer for ever.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class FileHead:
    """The beginning of a file, and more of it where a header goes on.

    Parameters
    ----------
    path : str
        The file.
    data : bytes, optional
        What has been read of its beginning; read from the file by default.
    complete : bool, optional
        `data` is the whole file.
    """

    __slots__ = ("_fd", "_size", "complete", "data", "path")

    def __init__(self, path: str, data: bytes | None = None, *, complete: bool = False) -> None:
        self.path = path
        self.complete = complete
        self._fd = -1
        self._size = -1
        if data is None:
            self._fd = os.open(path, _FLAGS)
            try:
                data = os.read(self._fd, HEAD_BYTES)
            except BaseException:
                self.close()
                raise
            # a short read of a regular file is its end; a file system that reads in pieces pays
            # one more read
            self.complete = len(data) < HEAD_BYTES and self.size == len(data)
        self.data = data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file where it was opened."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def size(self) -> int:
        """Size of the whole file in bytes."""
        if self._size < 0:
            if self.complete:
                self._size = len(self.data)
            else:
                self._size = os.fstat(self._descriptor()).st_size
        return self._size

    def need(self, end: int) -> bytes:
        """Return the beginning of the file, at least `end` bytes of it.

        Raises
        ------
        TruncatedError
            The file is shorter.
        """
        if len(self.data) >= end:
            return self.data
        if not self.complete:
            wanted = min(max(end, 16 * len(self.data)), self.size)
            self.data = self._read(0, wanted)
            self.complete = len(self.data) >= self.size
        if len(self.data) < end:
            msg = f"a file that ends after {len(self.data):,} bytes, inside its header"
            raise TruncatedError(msg)
        return self.data

    def all(self) -> bytes:
        """Return the whole file."""
        return self.need(self.size)

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer where the file ends."""
        if offset + length <= len(self.data) or self.complete:
            return self.data[offset : offset + length]
        return self._read(offset, length)

    def tail(self, length: int) -> bytes:
        """Return the last `length` bytes, or the whole file where it is shorter."""
        if self.complete:
            return self.data[-length:]
        return self._read(max(self.size - length, 0), length)

    def _descriptor(self) -> int:
        if self._fd < 0:
            self._fd = os.open(self.path, _FLAGS)
        return self._fd

    def _read(self, offset: int, length: int) -> bytes:
        fd = self._descriptor()
        length = min(length, max(self.size - offset, 0))
        os.lseek(fd, offset, os.SEEK_SET)
        data = os.read(fd, length)
        while len(data) < length:
            piece = os.read(fd, length - len(data))
            if not piece:
                break
            data += piece
        return data
