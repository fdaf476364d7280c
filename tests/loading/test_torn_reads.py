"""Files that are replaced or written while they are read: no old pixels, and no mixture."""

from __future__ import annotations

import os
import shutil

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

import napari_lazyload as nl
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.loading.cache import TORN_READS, ChunkCache

OLD = np.full((20, 30), 7, "u1")
NEW = np.full((20, 30), 9, "u1")


def as_folder(path, pixels):
    path.mkdir()
    (path / "a.png").write_bytes(imagecodecs.png_encode(pixels, level=0))
    (path / "b.png").write_bytes(imagecodecs.png_encode(pixels, level=0))


def as_npy(path, pixels):
    np.save(f"{path}.npy", pixels)
    os.rename(f"{path}.npy", path)


def as_tiff(path, pixels):
    tifffile.imwrite(path, pixels)


def as_zarr(path, pixels):
    zarr.create_array(str(path), shape=(20, 30), chunks=(20, 30), dtype="u1", compressors=None)[
        ...
    ] = pixels


def files_in(path):
    if os.path.isfile(path):
        return [str(path)]
    return [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no time of the last change of a file")
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("name", "write"),
    [("a", as_folder), ("a.npy", as_npy), ("a.tif", as_tiff), ("a.zarr", as_zarr)],
)
def test_a_copy_that_keeps_size_and_time_is_read(tmp_path, name, write, in_place):
    """As ``cp -p`` and ``rsync -t`` make them."""
    path = tmp_path / name
    write(path, OLD)
    write(tmp_path / f"new {name}", NEW)
    image = nl.open_dataset(path).images[0]
    assert (np.asarray(image.data) == 7).all()
    for file in files_in(path):
        new = str(tmp_path / f"new {name}") + file[len(str(path)) :]
        stat = os.stat(file)
        assert os.path.getsize(new) == stat.st_size
        if in_place:
            shutil.copyfile(new, file)
        else:
            os.replace(new, file)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (np.asarray(image.data) == 9).all()


class Written:
    """A chunk of a file that is written: another key each time that is looked at."""

    path = "a.raw"

    def __init__(self, keys, results):
        self.keys, self.results, self.reads = list(keys), list(results), 0

    @property
    def key(self):
        key = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        if key is None:
            raise nl.ChunkReadError("gone", "a.raw")
        return ChunkKey("a.raw", key, ())

    def load(self):
        self.reads += 1
        return self.results.pop(0).copy()


def test_what_changed_while_it_was_read_is_read_again():
    torn = OLD.copy()
    torn[10:] = 9
    chunk = Written([1, 2, 2], [torn, NEW])
    np.testing.assert_array_equal(ChunkCache().read(chunk), NEW)
    assert chunk.reads == 2


def test_what_does_not_change_is_read_once_and_looked_at_twice():
    chunk = Written([1, 1, "never"], [OLD])
    np.testing.assert_array_equal(ChunkCache().read(chunk), OLD)
    assert (chunk.reads, chunk.keys) == (1, ["never"])


def test_what_is_gone_or_another_after_its_read_may_be_torn():
    with pytest.raises(nl.ChunkReadError, match="gone"):
        ChunkCache().read(Written([1, None], [OLD]))


def test_a_tiled_file_that_is_rewritten_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    from napari_lazyload.sources.tiff import tiled

    path = tmp_path / "a.tif"
    monkeypatch.setattr(tiled, "LARGE", 1000)
    options = {"tile": (16, 16), "compression": "zlib"}
    tifffile.imwrite(path, np.zeros((64, 64), "u2"), **options)
    image = nl.open_dataset(path).images[0]
    load = tiled.TileChunk.load

    def rewritten(chunk):
        pixels = load(chunk)
        tifffile.imwrite(path, np.arange(64 * 64, dtype="u2").reshape(64, 64), **options)
        return pixels

    monkeypatch.setattr(tiled.TileChunk, "load", rewritten)
    with pytest.raises(nl.ChunkReadError, match="open it again"):
        np.asarray(image.data[:16, :16])


def test_what_never_rests_is_an_error():
    chunk = Written(range(99), [OLD] * 99)
    with pytest.raises(nl.ChunkReadError, match=r"it is being written\. Retry when it is done"):
        ChunkCache().read(chunk)
    assert chunk.reads == TORN_READS
