"""Stores of the field's own writers come back bit by bit; tested where these are installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr

import napari_lazyload as nl

PIXELS = np.random.default_rng(0).integers(0, 60000, (2, 3, 5, 64, 48), np.uint16)
MASKS = np.random.default_rng(1).integers(0, 9, (5, 64, 48), np.uint8)


@pytest.fixture(autouse=True)
def _quiet_writers():
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of libraries that write; what this package says is asserted below
        yield


def check(path, image, finest):
    np.testing.assert_array_equal(image.data.compute(scheduler="sync"), finest)
    if path.is_dir():
        for level, array in zip(image.levels, image.source.arrays, strict=True):
            stored = zarr.open_array(path, path=array.path, mode="r")
            np.testing.assert_array_equal(level.compute(scheduler="sync"), stored[...])


@pytest.mark.parametrize(("version", "zarr_format"), [("0.4", 2), ("0.5", 3)])
def test_ome_zarr_py(tmp_path, version, zarr_format):
    writer = pytest.importorskip(
        "ome_zarr.writer", reason="ome-zarr is not installed (dependency group writers)"
    )
    from ome_zarr.format import format_from_version

    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    written = format_from_version(version)
    writer.write_image(
        PIXELS, group, fmt=written, axes="tczyx", storage_options={"chunks": (1, 1, 5, 32, 32)}
    )
    colors = [{"label-value": 1, "rgba": [255, 0, 0, 255]}]
    writer.write_labels(
        MASKS, group, name="cells", fmt=written, axes="zyx", label_metadata={"colors": colors}
    )
    with nl.open_dataset(path) as dataset:
        image, labels = dataset.images
        assert len(image.levels) > 2
        check(path, image, PIXELS)
        check(path, labels, MASKS)
        assert labels.meta.display["colormap"][1] == (1, 0, 0, 1)
        assert dataset.notes == ()


@pytest.mark.parametrize("name", ["0.4", "0.5", "0.5 sharded", "0.6", "0.5.ozx"])
def test_ngff_zarr(tmp_path, name):
    writer = pytest.importorskip(
        "ngff_zarr", reason="ngff-zarr is not installed (dependency group writers)"
    )
    version = name[:3]
    path = tmp_path / ("a.ozx" if name.endswith("ozx") else "a.zarr")
    scale, place = (
        {"t": 1, "c": 1, "z": 2.0, "y": 0.5, "x": 0.5},
        {"t": 0, "c": 0, "z": 5.0, "y": 6.0, "x": 7.0},
    )
    image = writer.to_ngff_image(PIXELS, dims=list("tczyx"), scale=scale, translation=place)
    options = {"chunks_per_shard": 2} if "sharded" in name else {}
    writer.to_ngff_zarr(
        str(path),
        writer.to_multiscales(image, scale_factors=[2], chunks=32),
        version=version,
        **options,
    )
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        check(path, image, PIXELS)
        assert (image.scale, image.translate) == (tuple(scale.values()), tuple(place.values()))
        # Its levels lie with their corners on each other, as their translations say.
        assert image.meta.levels[1].offsets is None
        assert dataset.notes == ()
