"""What every source promises, as tests to inherit.

A test class of a format inherits `SourceContract`, writes a small file, and says which pixels are
in it; pytest finds the tests by themselves::

    class TestMyFormat(SourceContract):
        def write(self, folder, pixels):
            path = folder / "image.mine"
            my_library.write(path, pixels)
            return path
"""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape, box_slices
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.dataset.opening import open_dataset
from napari_lazyload.loading import cache
from napari_lazyload.sources.registry import open_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Chunk, Source

    Array = np.ndarray[Any, Any]


class SourceContract:
    """Tests that every source passes; a class that inherits them says what is opened.

    Attributes
    ----------
    shape : tuple of int
        Of the pixels that are written, in the order of axes in which the image shows them.
    dtype : str
        Of the pixels, as NumPy writes it.
    options : dict
        Options of `open_dataset`.
    """

    shape: tuple[int, ...] = (3, 20, 30)
    dtype: str = "uint16"
    options: dict[str, Any] = {}  # noqa: RUF012 - read by the tests alone

    def write(self, folder: Path, pixels: Array) -> Path | str:
        """Write pixels into an empty folder, or over what it wrote there; return what to open."""
        raise NotImplementedError

    def pixels(self, seed: int = 0) -> Array:
        """Return the pixels to write, others for another seed."""
        values = np.random.default_rng(seed).integers(0, 100, self.shape)
        return values.astype(self.dtype)

    def expected(self, pixels: Array, _level: int) -> Array | None:
        """Return what a level shows of written pixels; None for a level that is not compared."""
        return pixels if _level == 0 else None

    def source(self, path: Path | str) -> Source:
        """Return the source of what was written: the first image."""
        return open_path(path, **self.options).sources[0]

    # --- the promises

    def test_it_says_what_it_reads(self, tmp_path: Path) -> None:
        """The metadata have the shape and type of the pixels, in native byte order."""
        pixels = self.pixels()
        meta = self.source(self.write(tmp_path, pixels)).meta
        expected = self.expected(pixels, 0)
        assert expected is not None
        assert meta.shape == expected.shape
        assert meta.dtype == expected.dtype
        assert meta.dtype.isnative
        assert len(meta.axes) == len(set(meta.axes)) == expected.ndim
        assert all(len(level.factors) == len(meta.axes) for level in meta.levels)

    def test_every_chunk_is_its_part_of_the_image(self, tmp_path: Path) -> None:
        """A chunk loads as a new array in C order, of the shape and type that the grid says."""
        pixels = self.pixels()
        source = self.source(self.write(tmp_path, pixels))
        for level, index, chunk in _chunks(source):
            bounds = source.meta.levels[level].grid.bounds(index)
            loaded = chunk.load()
            assert loaded.shape == box_shape(bounds)
            assert loaded.dtype == source.meta.dtype
            assert loaded.flags.c_contiguous
            expected = self.expected(pixels, level)
            if expected is not None:
                np.testing.assert_array_equal(loaded, expected[box_slices(bounds)])

    def test_chunks_cover_the_grid(self, tmp_path: Path) -> None:
        """The chunks of a level have all of its pixels, each once."""
        source = self.source(self.write(tmp_path, self.pixels()))
        for level in source.meta.levels:
            indices = level.grid.touched(level.grid.full_box)
            sizes = [prod(box_shape(level.grid.bounds(index))) for index in indices]
            assert sum(sizes) == prod(level.shape)

    def test_a_chunk_and_its_key_are_the_same_after_pickling(self, tmp_path: Path) -> None:
        """A chunk is complete in itself, so that another process reads it."""
        source = self.source(self.write(tmp_path, self.pixels()))
        again = pickle.loads(pickle.dumps(source))
        assert again.token == source.token
        for level, index, chunk in _chunks(source):
            sent = pickle.loads(pickle.dumps(chunk))
            assert sent.key == chunk.key == again.chunk(level, index).key
            assert hash(sent.key) == hash(pickle.loads(pickle.dumps(chunk.key))) == hash(chunk.key)
            np.testing.assert_array_equal(sent.load(), chunk.load())

    def test_chunks_have_keys_of_their_own(self, tmp_path: Path) -> None:
        """Equal keys mean equal pixels."""
        source = self.source(self.write(tmp_path, self.pixels()))
        loaded: dict[Any, Array] = {}
        for _, _, chunk in _chunks(source):
            np.testing.assert_array_equal(loaded.setdefault(chunk.key, chunk.load()), chunk.load())

    def test_the_key_changes_with_the_file(self, tmp_path: Path) -> None:
        """A replaced file gives another key, or is refused: never the old pixels."""
        source = self.source(self.write(tmp_path, self.pixels()))
        chunk = next(chunk for _, _, chunk in _chunks(source))
        before = chunk.key
        self.write(tmp_path, self.pixels(1))
        _touch(tmp_path)
        with suppress(ChunkReadError):  # it may say that the file is not the one that was opened
            assert chunk.key != before

    def test_each_chunk_is_read_once_and_closing_frees_all(self, tmp_path: Path) -> None:
        """Two reads of all levels read each chunk once at most; closing leaves nothing of it."""
        path = self.write(tmp_path, self.pixels())
        cache.shared.drop()
        with open_dataset(path, **self.options) as dataset:
            image = dataset.images[0]
            before = cache.shared.snapshot()["reads"]
            for _ in range(2):
                for number, level in enumerate(image.boxes):
                    for index in image.meta.levels[number].grid.touched(level.box):
                        bounds = image.meta.levels[number].grid.bounds(index)
                        np.asarray(level[box_slices(bounds)])
            count = sum(prod(level.grid.numblocks) for level in image.meta.levels)
            assert 0 < cache.shared.snapshot()["reads"] - before <= count
            assert len(cache.shared) > 0
        assert len(cache.shared) == 0


def _chunks(source: Source) -> Iterator[tuple[int, BlockIndex, Chunk]]:
    """Yield level, index and reference of every chunk."""
    for number, level in enumerate(source.meta.levels):
        for index in level.grid.touched(level.grid.full_box):
            yield number, index, source.chunk(number, index)


def _touch(folder: Path) -> None:
    """Set the time of change of every file a second later: clocks of file systems are coarse."""
    for path in folder.rglob("*"):
        if path.is_file():
            changed = path.stat().st_mtime_ns + 1_000_000_000
            os.utime(path, ns=(changed, changed))
