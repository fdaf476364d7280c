"""Where labels lie, over images of other axes and other sizes, as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

import napari_lazyload as nl
from helpers.ome_stores import pyramid, write_group, write_image


@pytest.fixture
def path(tmp_path):
    """An image of two channels, half a micrometre a pixel."""
    return write_image(
        tmp_path / "a.zarr", pyramid((4, 2, 6, 16, 20)), "tczyx", scale=(1, 1, 2, 0.5, 0.5)
    )


def labels_in(path, pixels, axes, *, scale=None, **entry):
    """Write the labels of an image, and return them as it opens, with its notes."""
    write_group(path / "labels", {"labels": ["cells"]})
    write_image(path / "labels" / "cells", [pixels], axes, scale=scale, entry=entry)
    with nl.open_dataset(path) as dataset:
        layers = [Layer.create(*one) for one in dataset.to_layer_data()]
        return dataset.images[-1], layers, dataset.notes


def test_labels_have_no_more_axes_than_the_layers_of_the_channels_that_they_lie_over(path):
    pixels = pyramid((4, 1, 6, 16, 20), 1)[0]
    image, layers, _ = labels_in(path, pixels, "tczyx")
    assert [layer.axis_labels for layer in layers] == [("t", "z", "y", "x")] * 3
    assert (image.shape, layers[-1].name, layers[-1].blending) == (
        pixels.shape,
        "a cells",
        "translucent",
    )
    np.testing.assert_array_equal(np.asarray(layers[-1].data), pixels[:, 0])


def test_labels_of_each_channel_are_a_layer_each(path):
    pixels = pyramid((4, 2, 6, 16, 20), 1)[0]
    _, layers, _ = labels_in(path, pixels, "tczyx")
    assert [layer.name for layer in layers[2:]] == ["a cells channel 0", "a cells channel 1"]
    np.testing.assert_array_equal(np.asarray(layers[-1].data), pixels[:, 1])


@pytest.mark.parametrize(
    ("shape", "axes", "scale", "translate"),
    [
        ((6, 16, 20), "zyx", (2, 0.5, 0.5), (0, 0, 0)),
        ((4, 1, 6, 16, 20), "tczyx", (1, 1, 2, 0.5, 0.5), (0, 0, 0, 0, 0)),
        ((8, 10), "yx", (1, 1), (0.25, 0.25)),
        ((1, 16, 20), "zyx", (12, 0.5, 0.5), (5, 0, 0)),
    ],
)
def test_labels_that_do_not_say_where_they_lie_are_laid_over_the_image(
    path, shape, axes, scale, translate
):
    with pytest.warns(
        nl.LazyLoadWarning, match="a cells: does not say where it lies; it is laid over the image"
    ):
        image, _, _ = labels_in(path, np.ones(shape, "u2"), axes, datasets=[{"path": "0"}])
    assert (image.scale, image.translate) == (scale, translate)
    assert set(image.units[-2:]) == {"micrometer"}


@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 6, 16, 20), "tzyx"), ((4, 1, 6, 16, 20), "tczyx")]
)
def test_labels_without_axes_have_those_of_the_image(path, shape, axes):
    write_group(path / "labels", {"labels": ["cells"]})
    write_image(path / "labels" / "cells", [np.ones(shape, "u2")], "abcde"[: len(shape)])
    write_group(path / "labels" / "cells", {"multiscales": [{"datasets": [{"path": "0"}]}]})
    with pytest.warns(nl.LazyLoadWarning, match="laid over"), nl.open_dataset(path) as dataset:
        assert "".join(dataset.images[-1].axes) == axes


def test_labels_that_viewers_cannot_lay_over_the_image_are_said(path):
    with pytest.warns(
        nl.LazyLoadWarning,
        match="axes z, t, y, x, and the image t, z, y, x; viewers count axes from the",
    ):
        labels_in(path, np.ones((6, 4, 16, 20), "u2"), "ztyx")


def test_labels_of_an_image_with_a_slider_for_its_channels_have_one_too(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((2, 40, 16, 20), 1), "tcyx")
    with pytest.warns(nl.LazyLoadWarning, match="a: its 40 channels are one layer with a slider"):
        _, layers, notes = labels_in(path, pyramid((2, 1, 16, 20), 1)[0], "tcyx")
    assert [layer.axis_labels for layer in layers] == [("t", "c", "y", "x")] * 2
    assert len(notes) == 1


def test_an_image_without_a_place_leaves_its_labels_where_they_are(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((16, 20), 1), version="0.3")
    write_group(path / "labels", {"labels": ["cells"]}, "0.3")
    write_image(path / "labels" / "cells", pyramid((16, 20), 1), version="0.3")
    with nl.open_dataset(path) as dataset:
        assert dataset.images[1].scale == (1, 1)
        assert dataset.notes == ()


@pytest.mark.parametrize("axes", ["tyx", "yx", "tzyx"])
def test_labels_of_fewer_axes_follow_the_sliders_of_the_image(path, axes):
    pixels = pyramid(tuple({"t": 4, "z": 6, "y": 16, "x": 20}[axis] for axis in axes), 1)[0]
    scale = [{"t": 1, "z": 2}.get(axis, 0.5) for axis in axes]
    _, layers, notes = labels_in(path, pixels, axes, scale=scale)
    viewer = ViewerModel()
    for layer in layers:
        viewer.add_layer(layer)
    assert not notes
    for step in np.ndindex(4, 6):
        viewer.dims.set_current_step((0, 1), step)
        chosen = tuple(step["tz".index(axis)] for axis in axes[:-2])
        shown = np.asarray(layers[-1]._slice.image.raw)
        np.testing.assert_array_equal(shown, pixels[chosen])


def test_labels_of_the_other_version_of_zarr_are_shown(tmp_path):
    pixels = pyramid((6, 16, 20), 1)[0]
    for version, other in (("0.4", "0.5"), ("0.5", "0.4")):
        path = write_image(tmp_path / version, [pixels], "zyx", version=version)
        write_group(path / "labels", {"labels": ["cells"]}, other)
        write_image(path / "labels" / "cells", [pixels // 9], "zyx", version=other)
        with nl.open_dataset(path) as dataset:
            assert [image.kind for image in dataset.images] == ["image", "labels"]
            np.testing.assert_array_equal(dataset.images[1].data.compute(), pixels // 9)


def test_a_broken_group_of_labels_is_said(path):
    (path / "labels").mkdir()
    (path / "labels" / "zarr.json").write_text("{broken")
    with pytest.warns(nl.LazyLoadWarning, match="its labels are left out: .*expected JSON"):
        dataset = nl.open_dataset(path)
    with dataset:
        assert len(dataset.images) == 1


def test_labels_beyond_what_a_float_counts_keep_their_colors_and_properties(path):
    ids = [2**53 + 1, 2**53 + 2, 2**63 + 5]
    write_group(path / "labels", {"labels": ["cells"]})
    colors = [{"label-value": one, "rgba": [10 * n, 0, 0, 255]} for n, one in enumerate(ids)]
    properties = [{"label-value": one, "area": n, "box": [n]} for n, one in enumerate(ids)]
    pixels = np.array(ids * 4, "u8").reshape(4, 3)
    about = {"colors": colors, "properties": [*properties, {"label-value": "x"}]}
    write_image(path / "labels" / "cells", [pixels], "yx", **{"image-label": about})
    with nl.open_dataset(path) as dataset:
        display = dataset.images[-1].meta.display
    assert [display["colormap"][one] for one in ids] == [
        (10 * n / 255, 0.0, 0.0, 1.0) for n in range(3)
    ]
    assert display["features"] == {"index": ids, "area": [0, 1, 2], "box": ["[0]", "[1]", "[2]"]}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_that_the_metadata_lack_are_those_that_the_array_names(tmp_path, version):
    pixels = pyramid((2, 3, 16, 20), 1)[0]
    path = write_image(tmp_path / "a.zarr", [pixels], "tcyx", version=version, entry={"axes": []})
    if version == "0.4":
        (path / "0" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["t", "c", "y", "x"]}')
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].axes == ("t", "c", "y", "x")
