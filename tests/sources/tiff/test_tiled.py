"""Large TIFF files and pyramids, read tile by tile: the same pixels as tifffile gives."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.sources.binary.strided import StridedFileSource
from napari_lazyload.sources.folder import open_tiff
from napari_lazyload.sources.tiff import tiled
from napari_lazyload.sources.tiff.tiled import TiledSource


def values(shape, dtype="u2", seed=0):
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


@pytest.fixture(autouse=True)
def _small_pages_are_large(monkeypatch):
    monkeypatch.setattr(tiled, "LARGE", 1000)
    monkeypatch.setattr(tiled, "_GROUPED", 20_000)


def write_pyramid(path, finest, **options):
    coarser = [finest[..., ::2, ::2], finest[..., ::4, ::4]]
    with tifffile.TiffWriter(path) as tif:
        tif.write(finest, subifds=2, tile=(32, 48), **options)
        for level in coarser:
            tif.write(level, subfiletype=1, tile=(32, 48), compression=options.get("compression"))
    return [finest, *coarser]


COLORS = values((200, 150, 3), "u1")
CASES = {
    "tiles": (values((150, 203)), {"tile": (32, 16)}),
    "tiles, big-endian": (
        values((3, 150, 203), ">f4"),
        {"tile": (32, 16), "byteorder": ">", "photometric": "minisblack"},
    ),
    "strips, packed": (
        values((4, 150, 203)),
        {"rowsperstrip": 7, "compression": "zlib", "predictor": True, "photometric": "minisblack"},
    ),
    "one strip": (values((150, 203)), {"rowsperstrip": 150, "compression": "lzw"}),
    "colours": (COLORS, {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}),
    "colours as JPEG": (COLORS, {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg"}),
    "samples apart": (
        np.moveaxis(COLORS, -1, 0),
        {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 9, "compression": "lzw"},
    ),
    "stack of colours": (
        np.stack([COLORS] * 3),
        {"photometric": "rgb", "compression": "zstd", "rowsperstrip": 33},
    ),
    "bits": (
        values((150, 203), "?"),
        {"photometric": "minisblack", "compression": "packbits", "rowsperstrip": 10},
    ),
    "in place": (values((5, 150, 203), "<i4"), {}),
    "in place, big-endian": (values((5, 150, 203)), {"byteorder": ">", "imagej": True}),
    "BigTIFF": (values((5, 150, 203)), {"bigtiff": True, "tile": (64, 64)}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_tifffile_reads(tmp_path, name):
    array, options = CASES[name]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, **options)
    expected = tifffile.imread(path)
    if name == "samples apart":
        expected = np.moveaxis(expected, 0, -1)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert isinstance(
            image.source, StridedFileSource if name.startswith("in place") else TiledSource
        )
        assert image.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(image.data, expected)
        np.testing.assert_array_equal(image.data.compute(scheduler="threads"), expected)
        part = tuple(
            slice(size // 3, size // 3 + max(1, size // 4))
            for size in image.shape[: image.spatial_ndim]
        )
        np.testing.assert_array_equal(nl.crop(image, part), expected[part])
        assert len(pickle.dumps(image.source.chunk(0, (0,) * len(image.shape)))) < 1500
        assert dataset.meta["original_filename"].tolist() == ["a.tif"]
        assert dataset.kind == "picture"
        assert image.rgb == ("colours" in name or name == "samples apart")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_pyramid_of_ome_has_its_levels_and_scale(tmp_path, compression):
    path = tmp_path / "a.ome.tif"
    meta = {
        "axes": "TCYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "µm",
    }
    levels = write_pyramid(path, values((2, 3, 160, 240)), metadata=meta, compression=compression)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert image.axes == ("t", "c", "y", "x")
        assert image.scale == (1, 1, 0.25, 0.5)
        assert [level.shape for level in image.levels] == [level.shape for level in levels]
        for found, expected in zip(image.levels, levels, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert image.source.meta.levels[2].factors == (1, 1, 4, 4)
        ((shown, keywords, _),) = dataset.to_layer_data()
        assert keywords["multiscale"]
        assert len(shown) == 3


def test_a_window_reads_its_own_tiles(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    array = values((640, 640))
    tifffile.imwrite(path, array, tile=(64, 64), compression="zlib")
    monkeypatch.setattr(tiled, "_GROUPED", 1)
    numbers = []
    original = tiled._decoded
    monkeypatch.setattr(
        tiled, "_decoded", lambda file, page, at: (numbers.append(at), original(file, page, at))[1]
    )
    with nl.open_dataset(path) as dataset:
        assert numbers == []
        window = dataset.images[0].data[70:130, 200:300]
        np.testing.assert_array_equal(window, array[70:130, 200:300])
        assert sorted(numbers) == [13, 14, 23, 24]


def test_small_plain_files_are_pictures_as_before(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", values((3, 10, 10)), compression="zlib", photometric="minisblack"
    )
    with nl.open_dataset(tmp_path / "a.tif") as dataset:
        assert type(dataset.images[0].source).__name__ == "PictureSource"


@pytest.mark.parametrize("nodata", [None, "7"])
def test_tiles_that_are_left_out_are_blank_or_what_the_file_says(tmp_path, nodata):
    path = tmp_path / "a.tif"
    tags = [] if nodata is None else [(42113, "s", 0, nodata, True)]  # GDAL's
    tiles = [None if number % 2 else np.full((64, 64), number, "u1") for number in range(8)]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=(128, 256),
        dtype="u1",
        tile=(64, 64),
        compression="zlib",
        extratags=tags,
    )
    expected = tifffile.imread(path)
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, expected)
    assert (expected == int(nodata or 0)).any()


def test_jpeg_whose_tables_stand_apart(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.tif"
    image.fromarray(COLORS).save(path, compression="jpeg")
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.jpegtables
    with nl.open_dataset(path) as dataset:
        assert isinstance(dataset.images[0].source, TiledSource)
        np.testing.assert_array_equal(dataset.images[0].data, tifffile.imread(path))


def test_a_tile_that_is_cut_short_is_an_error(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values((150, 203)), tile=(64, 64))
    size = path.stat().st_size - 100
    os.truncate(path, size)
    with nl.open_dataset(path) as dataset:
        np.asarray(dataset.images[0].data[:64, :64])
        with pytest.raises(nl.ChunkReadError, match=f"found a file of {size:,} bytes"):
            np.asarray(dataset.images[0].data[140:, 200:])


def test_damaged_cut_and_replaced_files(tmp_path):
    path = tmp_path / "a.tif"
    array = values((150, 203))
    tifffile.imwrite(path, array, tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        first, last, counts = page.dataoffsets[0], page.dataoffsets[-1], page.databytecounts
    content = bytearray(path.read_bytes())
    content[first + 2 : first + 200] = bytes(198)
    stat = path.stat()
    path.write_bytes(content)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        chunk = image.source.chunk(0, (0, 0))
        with pytest.raises(
            nl.ChunkReadError, match=r"expected an undamaged TIFF file, found tiles of page 0"
        ):
            np.asarray(image.data[:10, :10])
        np.testing.assert_array_equal(image.data[140:, 200:], array[140:, 200:])
        os.utime(path, ns=(1, stat.st_mtime_ns + 1))
        with pytest.raises(nl.ChunkReadError, match="open it again"):
            np.asarray(image.data[140:, 200:])
        with pytest.raises(nl.ChunkReadError, match="open it again"):
            chunk.load()  # as a task of dask, which had its key before
    if last > first:
        os.truncate(path, last + counts[-1] - 1)
    with pytest.raises((nl.ChunkReadError, nl.SourceOpenError), match=r"expected .* found"):
        np.asarray(nl.open_dataset(path).images[0].data)


def test_a_file_that_is_no_tiff_is_told_by_the_reader_of_pictures(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(50))
    with pytest.raises(nl.SourceOpenError, match=r"expected .* found"):
        nl.open_dataset(tmp_path / "a.tif")
    assert not open_tiff.takes_listed_tiff(str(tmp_path))


def test_a_large_page_is_one_by_default(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert tiled.LARGE == 16 << 20
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((4100, 4100), "u1"), compression="zlib", rowsperstrip=16
    )
    image = nl.open_dataset(tmp_path / "a.tif").images[0]
    assert image.chunks == ((240,) * 17 + (20,), (4100,))
