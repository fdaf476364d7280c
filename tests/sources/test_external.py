"""Files that other libraries read, through stand-ins for these."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections import namedtuple

import dask.array as da
import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.sources import external

PIXELS = np.random.default_rng(0).integers(0, 4000, (1, 2, 3, 30, 40)).astype(">u2")
Sizes = namedtuple("Sizes", "Z Y X")
reads: list[tuple] = []


def _block(block_info=None):
    reads.append(tuple(block_info[None]["chunk-location"]))
    location = tuple(slice(*span) for span in block_info[None]["array-location"])
    return PIXELS[location]


class BioImage:
    """What bioio's class of that name says of itself, as far as it is asked."""

    scenes = ("A", "B")
    dims = types.SimpleNamespace(order="TCZYX")
    physical_pixel_sizes = Sizes(2.0, 0.5, None)
    channel_names = ("DAPI", "GFP")
    reader = object()

    def __init__(self, path):
        self.path, self.scene = path, 0
        if os.path.getsize(path) == 0:
            raise ValueError("no reader for this file")

    def set_scene(self, number):
        self.scene = number

    @property
    def dask_data(self):
        chunks = ((1,), (1, 1), (1, 1, 1), (30,), (40,))
        return (
            da.map_blocks(
                _block, chunks=chunks, dtype=PIXELS.dtype, meta=np.empty((0,) * 5, PIXELS.dtype)
            )
            + self.scene
        )


@pytest.fixture
def bioio(monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", types.SimpleNamespace(BioImage=BioImage))
    external._scenes.cache_clear()
    reads.clear()
    yield
    external._scenes.cache_clear()


@pytest.fixture
def rsciio(monkeypatch):
    def file_reader(path, lazy):
        assert lazy
        axes = [
            {"name": "height", "index_in_array": 0, "scale": 0.5, "offset": 3, "units": "nm"},
            {
                "name": "width",
                "index_in_array": 1,
                "axis": np.array([1.0, 1.25, 1.5]),
                "units": "<undefined>",
            },
        ]
        spectrum = {"data": np.arange(5), "axes": [{"name": "Energy", "index_in_array": 0}]}
        image = {"data": da.from_array(PIXELS[0, 0, 0]), "axes": axes[::-1]}
        return [spectrum, {**image, "metadata": {"General": {"title": "Survey"}}}]

    plugins = [
        {"name": "DigitalMicrograph", "file_extensions": ["dm3", "dm4"], "api": "rsciio.stand_in"}
    ]
    monkeypatch.setitem(sys.modules, "rsciio", types.SimpleNamespace(IO_PLUGINS=plugins))
    monkeypatch.setitem(
        sys.modules, "rsciio.stand_in", types.SimpleNamespace(file_reader=file_reader)
    )
    external._scenes.cache_clear()
    yield
    external._scenes.cache_clear()


class ColorImage(BioImage):
    """A reader whose dask array repeats the first sample, as bioio-czi's does."""

    scenes = ("A",)
    dims = types.SimpleNamespace(order="TYXS")
    channel_names = None
    pixels = np.random.default_rng(0).integers(0, 255, (1, 30, 40, 3), "u1")

    @property
    def dask_data(self):
        return da.from_array(self.pixels[..., :1].repeat(3, axis=-1))

    def get_image_data(self, order, **wanted):
        assert order == "YXS"
        return self.pixels[tuple(wanted[axis] for axis in self.dims.order)]


def test_colors_of_bioio_are_those_that_it_reads_at_once(tmp_path, monkeypatch, bioio):
    monkeypatch.setitem(sys.modules, "bioio", types.SimpleNamespace(BioImage=ColorImage))
    (tmp_path / "a.czi").write_bytes(b"some")
    with nl.open_dataset(tmp_path / "a.czi") as dataset:
        (image,) = dataset.images
        assert (image.axes, image.rgb) == (("y", "x", "s"), True)
        np.testing.assert_array_equal(image.data, ColorImage.pixels[0])
        np.testing.assert_array_equal(image.data[3:7, 5, 1], ColorImage.pixels[0, 3:7, 5, 1])


COLOR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])


def test_colors_of_rosettasciio_are_read_at_once(tmp_path, monkeypatch, rsciio):
    samples = np.random.default_rng(0).integers(0, 255, (5, 6, 4), "u1")

    def file_reader(path, lazy):
        if lazy:
            raise ValueError("Lazy loading of RGBA images is not supported.")
        axes = [{"name": name, "index_in_array": at} for at, name in enumerate(("height", "width"))]
        return [{"data": samples.view(COLOR)[..., 0], "axes": axes}]

    stand_in = types.SimpleNamespace(file_reader=file_reader)
    monkeypatch.setitem(sys.modules, "rsciio.stand_in", stand_in)
    (tmp_path / "a.dm3").write_bytes(b"some")
    with nl.open_dataset(tmp_path / "a.dm3") as dataset:
        (image,) = dataset.images
        assert (image.axes, image.rgb) == (("y", "x", "s"), True)
        np.testing.assert_array_equal(image.data, samples)


@pytest.mark.parametrize("packed", [False, True])
def test_packed_archives_are_not_mapped(tmp_path, monkeypatch, rsciio, packed):
    """A map of packed bytes would show them as pixels."""
    asked = []

    def file_reader(path, lazy):
        asked.append(lazy)
        axes = [{"name": name, "index_in_array": at} for at, name in enumerate(("height", "width"))]
        return [{"data": np.load(path)["data"], "axes": axes}]

    plugin = {"name": "PantaRhei", "file_extensions": ["prz"], "api": "rsciio.stand_in"}
    monkeypatch.setitem(sys.modules, "rsciio", types.SimpleNamespace(IO_PLUGINS=[plugin]))
    stand_in = types.SimpleNamespace(file_reader=file_reader)
    monkeypatch.setitem(sys.modules, "rsciio.stand_in", stand_in)
    save = np.savez_compressed if packed else np.savez
    with open(tmp_path / "a.prz", "wb") as file:
        save(file, data=PIXELS[0, 0, 0])
    with nl.open_dataset(tmp_path / "a.prz") as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS[0, 0, 0])
    assert asked == [not packed]


@pytest.mark.usefixtures("bioio")
def test_scenes_of_bioio_are_images(tmp_path):
    path = tmp_path / "a.czi"
    path.write_bytes(b"anything")
    with nl.open_dataset(path) as dataset:
        assert reads == []
        first, second = dataset.images
        assert (first.axes, first.shape, first.dtype) == (
            ("c", "z", "y", "x"),
            (2, 3, 30, 40),
            np.uint16,
        )
        assert first.chunks == ((1, 1), (1, 1, 1), (30,), (40,))
        assert (first.scale, first.units) == (
            (1, 2, 0.5, 1),
            (None, "micrometer", "micrometer", None),
        )
        assert dataset.meta["scene"].tolist() == ["A", "B"]
        np.testing.assert_array_equal(second.data[1, 2], PIXELS[0, 1, 2] + 1)
        assert reads == [(0, 1, 2, 0, 0)]
        np.testing.assert_array_equal(first.data, PIXELS[0])
        names = [keywords["name"] for _, keywords, _ in dataset.to_layer_data()]
        assert names == ["a.czi A DAPI", "a.czi A GFP", "a.czi B DAPI", "a.czi B GFP"]
        chunk = first.source.chunk(0, (0, 0, 0, 0))
        assert len(pickle.dumps(chunk)) < 1000
        os.utime(path, ns=(1, 1))
        with pytest.raises(nl.ChunkReadError, match="open it again"):
            chunk.load()
    path.write_bytes(b"")
    with pytest.raises(
        nl.SourceOpenError,
        match=r"expected a file that bioio can read, found .*no reader for this file",
    ):
        nl.open_dataset(path)


@pytest.mark.usefixtures("rsciio")
def test_signals_of_rosettasciio_are_images(tmp_path):
    path = tmp_path / "a.dm4"
    path.write_bytes(b"anything")
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert (image.axes, image.scale, image.translate) == (("y", "x"), (0.5, 0.25), (3, 1))
        assert image.units == ("nm", None)
        np.testing.assert_array_equal(image.data, PIXELS[0, 0, 0])
        assert dataset.meta.iloc[0][["scene", "reader"]].tolist() == ["Survey", "DigitalMicrograph"]
    (tmp_path / "a.mib").write_bytes(b"anything")
    with pytest.raises(nl.SourceOpenError, match="a suffix that rosettasciio knows, found 'mib'"):
        nl.open_dataset(tmp_path / "a.mib")


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("a.nd2", "bioio", "bioio"), ("a.dm3", "rsciio", "rosettasciio")]
)
def test_without_the_library_the_error_names_the_extra(tmp_path, monkeypatch, name, module, extra):
    (tmp_path / name).write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(nl.MissingDependencyError, match=rf"napari-lazyload\[{extra}\]"):
        nl.open_dataset(tmp_path / name)
