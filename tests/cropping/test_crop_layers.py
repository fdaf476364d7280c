"""nl.crop of any layer of napari: images, labels, colors, channels, pyramids; dask, zarr, NumPy."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels, Layer, Points, Shapes

import napari_lazyload as nl
from napari_lazyload import sample_data

GRAY = np.arange(6 * 24 * 36).reshape(6, 24, 36).astype("u2")
RGB = np.arange(6 * 24 * 36 * 3).reshape(6, 24, 36, 3).astype("u1")
LABELS = (GRAY // 40).astype("i4")

HELD = {
    "NumPy": lambda pixels: pixels,
    "dask": lambda pixels: da.from_array(pixels, chunks=(2, 9, 13, 3)[: pixels.ndim]),
    "zarr": lambda pixels: zarr.array(pixels, chunks=(2, 9, 13, 3)[: pixels.ndim]),
}


def in_levels(pixels, hold):
    return [hold(np.ascontiguousarray(pixels[:, ::step, ::step])) for step in (1, 2, 4)]


def gray(hold):
    return Image(hold(GRAY), axis_labels="tyx", contrast_limits=(0, 1)), [GRAY]


def labels(hold):
    return Labels(hold(LABELS), axis_labels="tyx"), [LABELS]


def colors(hold):
    return Image(hold(RGB), axis_labels="tyx", rgb=True), [RGB]


def pyramid(hold):
    levels = in_levels(GRAY, hold)
    return Image(levels, axis_labels="tyx", multiscale=True, contrast_limits=(0, 1)), list(
        map(np.asarray, levels)
    )


def color_pyramid(hold):
    levels = in_levels(RGB, hold)
    return Image(levels, axis_labels="tyx", multiscale=True, rgb=True), list(
        map(np.asarray, levels)
    )


def label_pyramid(hold):
    levels = in_levels(LABELS, hold)
    return Labels(levels, axis_labels="tyx", multiscale=True), list(map(np.asarray, levels))


MADE = [gray, labels, colors, pyramid, color_pyramid, label_pyramid]


@pytest.mark.parametrize("hold", HELD.values(), ids=HELD)
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_layers_of_other_plugins(make, hold):
    layer, levels = make(hold)
    for region in ({"t": (1, 4), "y": (4, 20), "x": (8, 36)}, np.s_[1:4, 4:20, 8:]):
        for level, pixels in enumerate(levels):
            step = 2**level
            expected = pixels[1:4, 4 // step : -(-20 // step), 8 // step :]
            told = nl.estimate(layer, region, level)
            result = nl.crop(layer, region, level=level)
            np.testing.assert_array_equal(result, expected, strict=True)
            assert (told.result_nbytes, told.full_nbytes) == (expected.nbytes, pixels.nbytes)
    with pytest.raises(nl.RegionError, match="axis 'z'; the image has 't', 'y', 'x'"):
        nl.crop(layer, {"z": (0, 1)})


def own_layers(path):
    with nl.open_dataset(path) as dataset:
        layers = [Layer.create(*layer) for layer in dataset.to_layer_data()]
        return layers, [[np.asarray(level) for level in image.levels] for image in dataset.images]


def test_layers_of_channels_and_labels_of_this_package(tmp_path):
    layers, (cells, nuclei) = own_layers(
        sample_data.make_ome_zarr(tmp_path / "a.ome.zarr", size=64)
    )
    region = {"z": (3, 9), "y": (10, 40)}
    for number, layer in enumerate(layers[:2]):
        for level, step in enumerate((1, 2, 4)):
            expected = cells[level][number, 3:9, 10 // step : 40 // step]
            np.testing.assert_array_equal(
                nl.crop(layer, region, level=level), expected, strict=True
            )
        with pytest.raises(nl.RegionError, match="axis 'c'; the image has 'z', 'y', 'x'"):
            nl.crop(layer, {"c": (0, 1)})
    np.testing.assert_array_equal(nl.crop(layers[2], region), nuclei[0][3:9, 10:40], strict=True)


def test_layers_of_colors_of_this_package(tmp_path):
    import imagecodecs

    for number, pixels in enumerate(RGB):
        (tmp_path / f"{number}.png").write_bytes(imagecodecs.png_encode(pixels))
    (layer,), _ = own_layers(tmp_path)
    assert layer.rgb
    np.testing.assert_array_equal(
        nl.crop(layer, {"frame": (2, 4), "x": (5, 9)}), RGB[2:4, :, 5:9], strict=True
    )


NONSENSE = {
    "nan": {"y": (float("nan"), 5)},
    "infinite": {"y": (0, float("inf"))},
    "inverted": {"y": (9, 3)},
    "outside": {"y": (100, 200)},
    "no pair": {"y": 5},
    "text": "y",
    "too many": np.s_[:, :, :, :],
}


@pytest.mark.parametrize("region", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("function", [nl.crop, nl.estimate])
def test_regions_that_mean_nothing_are_told_of_any_layer(function, region):
    for make in (gray, color_pyramid):
        layer, _ = make(HELD["dask"])
        with pytest.raises(nl.RegionError, match=r"region|axis"):
            function(layer, region)


def test_a_huge_region_is_clipped():
    layer, _ = gray(HELD["zarr"])
    np.testing.assert_array_equal(
        nl.crop(layer, {"y": (-(10**30), 10**30), "x": (-5, 4)}), GRAY[:, :, :4], strict=True
    )


def test_a_layer_crops_into_an_array_that_is_there():
    layer, _ = colors(HELD["dask"])
    out = np.zeros((2, 24, 36, 3), "f4")
    assert nl.crop(layer, np.s_[1:3], out=out) is out
    np.testing.assert_array_equal(out, RGB[1:3])
    with pytest.raises(nl.RegionError, match=r"shape \(1, 24, 36, 3\), got \(2, 24, 36, 3\)"):
        nl.crop(layer, np.s_[1:2], out=out)


def test_what_has_no_pixels_is_refused(tmp_path, write_folder):
    write_folder(tmp_path)
    shapes = Shapes([np.zeros((4, 2))])
    for other in (
        Points(np.zeros((3, 2))),
        shapes,
        object(),
        "path",
        None,
        nl.open_dataset(tmp_path),
    ):
        with pytest.raises(TypeError, match="expected an image"):
            nl.crop(other, ())
