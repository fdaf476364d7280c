"""FITS images that are compressed by tiles: the pixels of astropy, and only the tiles needed."""

from __future__ import annotations

import gzip
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import napari_lazyload as nl

fits = pytest.importorskip("astropy.io.fits")

RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 900, (5, 40, 60))


def written(path, pixels, **options):
    unit = fits.CompImageHDU(pixels, **options)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, overwrite=True)
    with fits.open(path) as units:
        return np.array(units[1].data)


KINDS = {
    "RICE_1": ("i2", "u2", "i4", "f4", "f8"),
    "GZIP_1": ("i2", "u2", "i4", "f4", "f8"),
    "GZIP_2": ("i2", "u2", "i4", "f4", "f8"),
    "PLIO_1": ("i2", "i4"),
    "HCOMPRESS_1": ("i2", "i4", "f4"),
}


@pytest.mark.parametrize(
    ("kind", "dtype"), [(kind, dtype) for kind, dtypes in KINDS.items() for dtype in dtypes]
)
def test_it_is_what_astropy_reads(tmp_path, kind, dtype):
    pixels = (WHOLE * 0.37).astype(dtype)
    tile = (20, 30) if kind == "HCOMPRESS_1" else (2, 13, 17)
    stack = pixels[0] if kind == "HCOMPRESS_1" else pixels
    expected = written(tmp_path / "a.fits.fz", stack, compression_type=kind, tile_shape=tile)
    image = nl.open_dataset(tmp_path / "a.fits.fz").images[0]
    assert image.shape == expected.shape
    found = np.asarray(image.data)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == image.dtype == expected.dtype.newbyteorder("=")
    for index in (np.s_[..., 3:19, 5], np.s_[..., -3:, ::7], np.s_[-1], np.s_[..., 1:2]):
        np.testing.assert_array_equal(image.data[index], expected[index])


def test_values_are_scaled_as_the_header_says(tmp_path):
    path = tmp_path / "a.fits"
    written(path, WHOLE.astype("i2"))
    with fits.open(path, mode="update", do_not_scale_image_data=True) as units:
        units[1].header.update(BSCALE=0.25, BZERO=3.0, CDELT1=0.5, CUNIT1="mm", OBJECT="cell")
    with fits.open(path) as units:
        expected = np.array(units[1].data)
    dataset = nl.open_dataset(path)
    np.testing.assert_array_equal(dataset.images[0].data, expected)
    assert dataset.images[0].scale[-1] == 0.5
    assert dataset.images[0].units[-1] == "millimeter"
    assert dataset.meta["OBJECT"].tolist() == ["cell"]
    stored = nl.open_dataset(path, scaled=False).images[0]
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored.data, WHOLE)


def test_threads_and_pickles_read_the_same(tmp_path):
    expected = written(tmp_path / "a.fits", WHOLE.astype("i2"), tile_shape=(1, 40, 60))
    image = nl.open_dataset(tmp_path / "a.fits").images[0]
    again = pickle.loads(pickle.dumps(image.levels[0]))
    np.testing.assert_array_equal(again, expected)
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(lambda z: np.asarray(image.data[z]), [0, 1, 2, 3, 4] * 4))
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, expected[number % 5])


def test_tiles_that_are_not_needed_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_lazyload.sources.binary.fits_tiles.BAND", 1)
    path = tmp_path / "a.fits"
    expected = written(path, WHOLE.astype("i2"), compression_type="GZIP_1", tile_shape=(1, 40, 60))
    block = bytearray(path.read_bytes())
    last = block.rindex(b"\x1f\x8b\x08")
    block[last + 10 : last + 40] = b"\xff" * 30
    path.write_bytes(block)
    image = nl.open_dataset(path).images[0]
    np.testing.assert_array_equal(image.data[:4], expected[:4])
    with pytest.raises(nl.ChunkReadError, match="expected pixels by astropy, found data that"):
        np.asarray(image.data[4])


def test_small_tiles_are_read_together_and_chunks_are_whole_tiles(tmp_path):
    written(tmp_path / "a.fits", np.zeros((3000, 1200), "i2"))
    image = nl.open_dataset(tmp_path / "a.fits").images[0]
    assert image.chunks == ((873, 873, 873, 381), (1200,))
    written(tmp_path / "b.fits", np.zeros((3000, 1200), "i2"), tile_shape=(700, 500))
    image = nl.open_dataset(tmp_path / "b.fits").images[0]
    assert image.chunks == ((700, 700, 700, 700, 200), (1000, 200))


@pytest.mark.parametrize("size", ["-3", "2.5", "T"])
def test_a_tile_of_no_size_is_refused(tmp_path, size):
    path = tmp_path / "a.fits"
    written(path, WHOLE.astype("i2"))
    block = path.read_bytes()
    card = b"ZTILE1  =                   60"
    assert card in block
    path.write_bytes(block.replace(card, b"ZTILE1  = " + size.encode().rjust(20)))
    with pytest.raises(nl.SourceOpenError, match="sizes of tiles along 3 axes"):
        nl.open_dataset(path)


def test_a_tile_that_no_memory_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_lazyload.sources.binary.fits_tiles.MOST_PACKED", 4000)
    written(tmp_path / "a.fits", WHOLE.astype("i2"), tile_shape=(1, 40, 60))
    with pytest.raises(nl.SourceOpenError, match="in one compressed tile"):
        nl.open_dataset(tmp_path / "a.fits")


def test_an_image_of_more_tiles_than_there_are_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    written(path, WHOLE.astype("i2"))
    block = path.read_bytes()
    card = b"ZNAXIS2 =                   40"
    assert card in block
    path.write_bytes(block.replace(card, b"ZNAXIS2 =           4000000000"))
    said = r"expected 20,000,000,000 compressed tiles, which cover the image, found 200"
    with pytest.raises(nl.SourceOpenError, match=said):
        nl.open_dataset(path)


def test_compressed_twice_says_how_to_unpack_it(tmp_path):
    written(tmp_path / "a.fits", WHOLE.astype("i2"))
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    with pytest.raises(nl.SourceOpenError, match="compressed by tiles in a compressed file"):
        nl.open_dataset(tmp_path / "a.fits.gz")
