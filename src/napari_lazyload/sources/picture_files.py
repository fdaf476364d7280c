"""Bytes of picture files: the head for the header parsers, everything for the decoders, never a handle kept open."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from napari_lazyload.sources.picture_info import TruncatedError

if TYPE_CHECKING:
    from types import TracebackType

#: What one read of a header asks for; nearly all headers fit.
HEAD_BYTES = 4096

# O_NONBLOCK lets a named pipe with a picture's suffix answer "empty" instead of waiting for a writer for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Head:
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
            # a short read of a regular file is its end; a file system that reads in pieces pays one more read
            self.complete = len(data) < HEAD_BYTES and self.size == len(data)
        self.data = data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
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
        return self.data if self.complete else self.need(self.size)

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
