"""TIFF files of several images: each opens, each is what tifffile gives for its series."""

from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.sources.image_files.decode import read_series
from napari_lazyload.sources.image_header import FileHead
from napari_lazyload.sources.tiff import description, ifd, pages, tiled

RNG = np.random.default_rng(5)
ARRAYS = [
    RNG.integers(0, 250, (3, 40, 50)).astype("u1"),
    RNG.integers(0, 250, (64, 80)).astype("u2"),
    RNG.integers(0, 250, (30, 20, 3)).astype("u1"),
]


def write_three(path, **options):
    with tifffile.TiffWriter(path) as tif:
        for array in ARRAYS:
            tif.write(array, photometric="rgb" if array.shape[-1] == 3 else "minisblack", **options)


@pytest.mark.parametrize("large", [1, 1 << 30])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 32)}])
def test_every_series_is_an_image(tmp_path, monkeypatch, large, options):
    monkeypatch.setattr(tiled, "LARGE", large)
    path = tmp_path / "a.tif"
    write_three(path, **options)
    with nl.open_dataset(path) as dataset:
        assert [image.name for image in dataset.images] == ["a.tif", "a.tif 1", "a.tif 2"]
        for image, array in zip(dataset.images, ARRAYS, strict=True):
            np.testing.assert_array_equal(image.data, array)
            np.testing.assert_array_equal(image.data.compute(scheduler="threads"), array)
            chunk = image.source.chunk(0, (0,) * len(image.shape))
            np.testing.assert_array_equal(
                pickle.loads(pickle.dumps(chunk)).load().ravel()[:9], array.ravel()[:9]
            )
        assert [keywords.get("visible", True) for _, keywords, _ in dataset.to_layer_data()] == [
            True,
            False,
            False,
        ]
        assert dataset.meta["original_filename"].tolist() == ["a.tif"]
    with nl.open_dataset(path, scene=1) as dataset:
        (image,) = dataset.images
        np.testing.assert_array_equal(image.data, ARRAYS[1])


def test_their_names_tell_them_apart(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for name, size in (("first", 0.5), ("second", 2), ("second", 3)):
            tif.write(
                ARRAYS[1],
                metadata={
                    "axes": "YX",
                    "Name": name,
                    **{
                        f"PhysicalSize{axis}{more}": value
                        for axis in "XY"
                        for more, value in (("", size), ("Unit", "nm"))
                    },
                },
            )
    with nl.open_dataset(path) as dataset:
        assert [image.name for image in dataset.images] == [
            "a.ome.tif",
            "a.ome.tif second",
            "a.ome.tif second (2)",
        ]
        assert [image.scale for image in dataset.images] == [(0.5, 0.5), (2, 2), (3, 3)]
        assert dataset.images[0].units == ("nanometer", "nanometer")
        assert "note" not in dataset.images[0].metadata
    with nl.open_dataset(path, scene="a.ome.tif second") as dataset:
        assert dataset.images[0].scale == (2, 2)


def test_a_slide_has_its_pyramid_and_its_thumbnail(tmp_path):
    path = tmp_path / "a.svs"
    slide = RNG.integers(0, 250, (512, 512, 3)).astype("u1")
    with tifffile.TiffWriter(path) as tif:
        options = {"photometric": "rgb", "metadata": None}
        tif.write(
            slide,
            tile=(128, 128),
            description="Aperio Image\n512x512 |AppMag = 20|MPP = 0.4990",
            **options,
        )
        tif.write(slide[:100, :100], description="Aperio thumbnail", **options)
        tif.write(slide[::4, ::4], tile=(128, 128), description="Aperio 128x128", **options)
    with nl.open_dataset(path) as dataset:
        whole, thumbnail = dataset.images
        assert [level.shape for level in whole.levels] == [(512, 512, 3), (128, 128, 3)]
        np.testing.assert_array_equal(whole.levels[0], slide)
        np.testing.assert_array_equal(whole.levels[1], slide[::4, ::4])
        assert (whole.scale, whole.units) == ((0.499, 0.499), ("micrometer", "micrometer"))
        assert thumbnail.name == "a.svs Thumbnail"
        np.testing.assert_array_equal(thumbnail.data, slide[:100, :100])


@pytest.mark.parametrize("suffix", pages.SUFFIXES)
def test_every_suffix_opens_alone_and_in_a_folder(tmp_path, suffix):
    folder = tmp_path / "f"
    folder.mkdir()
    for number in range(2):
        tifffile.imwrite(tmp_path / "a.tif", ARRAYS[0][number], compression="zlib", metadata=None)
        (tmp_path / "a.tif").rename(folder / f"{number}{suffix}")
    if suffix != ".ndpi":  # there, offsets have 64 bits
        with nl.open_dataset(folder / f"1{suffix}") as dataset:
            np.testing.assert_array_equal(dataset.images[0].data, ARRAYS[0][1])
        with nl.open_dataset(folder) as dataset:
            np.testing.assert_array_equal(dataset.images[0].data, ARRAYS[0][:2])
    assert suffix in nl.supported_formats()["tiff"]["suffixes"]


def test_of_very_many_the_first_open_and_the_rest_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(description, "MOST_SERIES", 2)
    path = tmp_path / "a.tif"
    write_three(path)
    with pytest.warns(nl.LazyLoadWarning, match="2 of 3 images are opened"):
        dataset = nl.open_dataset(path)
    assert len(dataset.images) == 2
    dataset.close()


def test_in_a_folder_the_first_series_is_shown_and_said(tmp_path):
    for name in ("a.tif", "b.tif"):
        write_three(tmp_path / name)
    with pytest.warns(nl.LazyLoadWarning, match="3 series of images; the first is shown"):
        dataset = nl.open_dataset(tmp_path)
    (image,) = dataset.images
    np.testing.assert_array_equal(image.data[1], ARRAYS[0])
    dataset.close()


def test_a_damaged_series_behind_the_first_costs_none_but_itself(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    write_three(path)
    describe = description._describe

    def broken(tif, number, size):
        if number == 1:
            raise ValueError("damaged")
        return describe(tif, number, size)

    monkeypatch.setattr(description, "_describe", broken)
    with pytest.warns(nl.LazyLoadWarning, match="2 of 3 images are opened"):
        dataset = nl.open_dataset(path)
    np.testing.assert_array_equal(dataset.images[1].data, ARRAYS[2])
    dataset.close()
    assert len(read_series(str(path))) == 2


def test_types_that_are_none_are_refused_when_opening(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ARRAYS[1].astype("i2"), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages.first.tags["SampleFormat"].overwrite(9)
    with pytest.raises(
        nl.SourceOpenError, match=r"expected whole numbers, or floats .* found samples of 16 bits"
    ):
        nl.open_dataset(path)


def test_more_planes_than_there_can_be_are_refused(tmp_path):
    xml = (
        '<?xml version="1.0"?><OME '
        'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="50" SizeY="40" '
        'SizeZ="2000000000" SizeC="1" '
        'SizeT="1"><TiffData/></Pixels></Image></OME>'
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, ARRAYS[0][0], description=xml, metadata=None)
    with pytest.raises(
        nl.SourceOpenError, match="found OME-XML that describes 2,000,000,000 planes"
    ):
        nl.open_dataset(path)


def test_of_an_imagej_stack_the_first_directories_are_read_alone(tmp_path, monkeypatch):
    def walk(_head):
        raise AssertionError

    monkeypatch.setattr(description, "check_chain", walk)
    tifffile.imwrite(tmp_path / "a.tif", ARRAYS[0], imagej=True, metadata={"axes": "ZYX"})
    with nl.open_dataset(tmp_path / "a.tif") as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, ARRAYS[0])
    tifffile.imwrite(
        tmp_path / "b.tif", ARRAYS[0], imagej=True, metadata={"axes": "ZYX"}, compression="zlib"
    )
    with FileHead(str(tmp_path / "b.tif")) as head, pytest.raises(AssertionError):
        description.read_header(head)


OPENED = {
    "plain": ({"metadata": None}, 10, 0),
    "plain and large": ({"metadata": None}, 400, 0),
    "plain, large, in tiles": ({"metadata": None, "tile": (64, 64), "compression": "zlib"}, 400, 0),
    "axes": ({"metadata": {"axes": "YX"}}, 10, 1),
    "OME, large": ({"ome": True, "tile": (64, 64)}, 400, 1),
    "ImageJ": ({"imagej": True, "metadata": {"axes": "ZYX"}}, (3, 10), 1),
    "pages": ({"compression": "zlib", "photometric": "minisblack"}, (3, 10), 1),
    "pages, large": ({"compression": "zlib", "photometric": "minisblack"}, (3, 400), 1),
}


@pytest.mark.parametrize("name", OPENED)
def test_a_file_is_described_once(tmp_path, monkeypatch, name):
    """Opening reads the header once; tifffile opens a file at most once, the table included."""
    options, size, expected = OPENED[name]
    shape = (size, size) if isinstance(size, int) else (size[0], size[1], size[1])
    pixels = RNG.integers(0, 250, shape).astype("u1")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    monkeypatch.setattr(tiled, "LARGE", 1000)
    heads, files = [], []
    opened, parsed = FileHead.__init__, tifffile.TiffFile.__init__
    monkeypatch.setattr(
        FileHead,
        "__init__",
        lambda head, *args, **more: (heads.append(args), opened(head, *args, **more))[1],
    )
    monkeypatch.setattr(
        tifffile.TiffFile,
        "__init__",
        lambda tif, *args, **more: (files.append(args), parsed(tif, *args, **more))[1],
    )
    with nl.open_dataset(path) as dataset:
        assert len(dataset.images) == 1
        assert [len(heads), len(files)] == [1, expected]
        assert "Compression" in dataset.meta
        assert [len(heads), len(files)] == [1, 1]
        np.testing.assert_array_equal(dataset.images[0].data, pixels)


def test_the_tiles_of_a_plain_file_are_those_that_tifffile_finds(tmp_path):
    path = str(tmp_path / "a.tif")
    for pixels in (ARRAYS[1], ARRAYS[2]):
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        for options in ({"tile": (16, 32)}, {"rowsperstrip": 7}, {}):
            more = {"photometric": photometric, "metadata": None, "compression": "zlib"}
            tifffile.imwrite(path, pixels, **more, **options)
            with FileHead(path) as head:
                (grid,) = tiled.plain_grid(head, ifd.read_plain(head))
            with tifffile.TiffFile(path) as tif:
                assert (grid,) == tiled.series_grids(tif.series[0])


def many_pages(path, count):
    """Write pages of one pixel: each its directory and its pixel, one behind the other."""
    tags = [(256, 3, 1), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0)]
    tags += [(277, 3, 1), (278, 3, 1), (279, 4, 1)]
    nbytes = 2 + 12 * len(tags) + 4 + 2
    blocks = [b"II*\0" + struct.pack("<I", 8)]
    for number in range(count):
        at = 8 + number * nbytes
        entries = [(*tag, 1, value) for *tag, value in tags]
        entries[5] = (273, 4, 1, at + nbytes - 2)
        block = struct.pack("<H", len(tags))
        for tag, kind, one, value in entries:
            block += struct.pack("<HHII", tag, kind, one, value)
        following = 0 if number == count - 1 else at + nbytes
        blocks.append(block + struct.pack("<I", following) + bytes([number % 251, 0]))
    path.write_bytes(b"".join(blocks))


def test_sixty_thousand_pages_cost_a_look_at_each_directory(tmp_path, monkeypatch):
    count = 60_000
    many_pages(tmp_path / "a.tif", count)
    reads, read, handle = [], os.read, tifffile.FileHandle.read
    monkeypatch.setattr(os, "read", lambda *args: reads.append(0) or read(*args))
    monkeypatch.setattr(
        tifffile.FileHandle, "read", lambda *args, **more: reads.append(0) or handle(*args, **more)
    )
    image = nl.open_dataset(tmp_path / "a.tif").images[0]
    assert image.shape == (count, 1, 1)
    assert len(reads) < 5 * count + 100  # of which tifffile has four, from a buffer
    reads.clear()
    assert image.data[count - 2, 0, 0].compute() == (count - 2) % 251
    assert len(reads) < 20
