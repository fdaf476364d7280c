"""Where a crop is taken from and where it lies, for any transforms of the layers; without Qt."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer, Shapes

from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping.crop import crop
from napari_lazyload.cropping.target import LayerTarget, layer_transform
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop import geometry
from napari_lazyload.layers.crop.crop_layer import CROP_KEY, can_be_lazy, crop_layer, lazy_crop
from napari_lazyload.layers.crop.outline import drawing_layer
from napari_lazyload.testing.sources import RecordingSource

# napari says so of each tilted layer; a crop of one is as tilted.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")


def pixels(shape, dtype="u2"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def box_shape(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], float)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def stack(viewer):
    return viewer.add_image(pixels((4, 50, 60)), axis_labels=("t", "y", "x"))


# --- random transforms

numbers = st.floats(-1, 1, width=32)


@st.composite
def transforms(draw, ndim=3):
    """Arguments of a layer: scale of either sign, shear, rotation, affine; with a safe inverse."""
    sizes = st.floats(0.05, 20) | st.floats(-20, -0.05)
    affine = np.eye(ndim + 1)
    affine[:-1] += (
        draw(
            st.lists(numbers, min_size=ndim * (ndim + 1), max_size=ndim * (ndim + 1)).map(
                lambda values: np.reshape(values, (ndim, ndim + 1))
            )
        )
        * 0.6
    )
    rotate, _ = np.linalg.qr(
        np.reshape(draw(st.lists(numbers, min_size=ndim**2, max_size=ndim**2)), (ndim, ndim))
        + 2 * np.eye(ndim)
    )
    assume(abs(np.linalg.det(affine)) > 0.05)
    triangle = draw(
        st.lists(numbers, min_size=ndim * (ndim - 1) // 2, max_size=ndim * (ndim - 1) // 2)
    )
    shear = np.eye(ndim)
    shear[np.triu_indices(ndim, 1)] = triangle
    if draw(st.booleans()):
        shear = shear.T
    return {
        "scale": draw(st.lists(sizes, min_size=ndim, max_size=ndim)),
        "translate": draw(st.lists(st.floats(-1000, 1000), min_size=ndim, max_size=ndim)),
        "rotate": rotate,
        "shear": shear,
        "affine": affine,
    }


def corners(shape):
    return (
        np.array(np.meshgrid(*[(-0.5, 0, size - 1, size - 0.5) for size in shape]))
        .reshape(len(shape), -1)
        .T
    )


@given(transforms())
def test_the_matrix_is_the_layers_own_transform(keywords):
    layer = ImageLayer(np.zeros((4, 5, 6)), **keywords)
    matrix = layer_transform(layer)
    for point in corners((4, 5, 6)):
        np.testing.assert_allclose(
            matrix[:-1, :-1] @ point + matrix[:-1, -1],
            layer.data_to_world(point),
            rtol=1e-9,
            atol=1e-12,
        )


@given(transforms(), st.integers(0, 2), st.tuples(*[st.integers(0, 3)] * 3))
def test_a_crop_lies_where_its_pixels_were(keywords, level, start):
    factors = [(1, 1, 1), (1, 2, 2), (2, 4, 8)][level]
    finest = np.zeros((8, 32, 64), "u1")
    levels = [finest, finest[:, ::2, ::2].copy(), finest[::2, ::4, ::8].copy()]
    source = RecordingSource(
        levels, (1, 8, 8), axes="zyx", factors=[(1, 1, 1), (1, 2, 2), (2, 4, 8)]
    )
    layer = ImageLayer(
        list(Image(source).boxes), multiscale=True, contrast_limits=(0, 1), **keywords
    )
    region = tuple(slice(a * f, a * f + f) for a, f in zip(start, factors, strict=True))
    new = crop_layer(layer, crop(layer, region, level=level), region, level)
    assert new.data.shape == (1, 1, 1)
    for point in corners(new.data.shape):
        # The pixels at level 0 that this point of the level covers: edges lie on edges.
        expected = (point + start) * factors + (np.array(factors) - 1) / 2
        back = layer.world_to_data(new.data_to_world(point))
        np.testing.assert_allclose(back, expected, rtol=0, atol=1e-6)
    low = layer.world_to_data(new.data_to_world((-0.5, -0.5, -0.5)))
    np.testing.assert_allclose(low, [part.start - 0.5 for part in region], rtol=0, atol=1e-6)


@settings(max_examples=30)
@given(transforms(), transforms())
def test_a_shape_around_some_pixels_takes_those_pixels(mine, others):
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((6, 50, 60), "u1"), contrast_limits=(0, 1), **mine)
    inside = np.array([(z, y, x) for z in (1.6, 3.4) for y in (9.6, 20.4) for x in (4.6, 40.4)])
    # A path, for a rectangle must lie in a plane; its vertices go through the world to the other
    # layer.
    path = np.array([viewer_shapes_data(layer, others, point) for point in inside])
    shapes = viewer.add_layer(Shapes([path], shape_type="path", ndim=3, **others))
    assert geometry.rectangle_ranges(viewer, shapes, layer) == {0: (2, 4), 1: (10, 21), 2: (5, 41)}


def viewer_shapes_data(layer, keywords, point):
    return Shapes(ndim=3, **keywords).world_to_data(layer.data_to_world(point))


# --- rectangles

EDGES = {
    "along the borders": ((9.5, 19.5), (10, 20)),
    "a little over": ((9.4, 19.6), (9, 21)),
    "a little under": ((9.6, 19.4), (10, 20)),
    "through centres": ((10, 19), (10, 20)),
    "float noise": ((9.5 - 1e-9, 19.5 + 1e-9), (10, 20)),
    "within a pixel": ((9.7, 10.2), (10, 11)),
    "a line": ((10, 10), (10, 11)),
    "a line on a border": ((9.5, 9.5), (10, 11)),
    "before the image": ((-20, -10), (-20, -9)),
}


@pytest.mark.parametrize(("edges", "expected"), EDGES.values(), ids=EDGES)
def test_every_pixel_that_is_met_is_taken(viewer, stack, edges, expected):
    low, high = edges
    shapes = viewer.add_shapes([box_shape(low, 5, high, 9)])
    found = geometry.rectangle_ranges(viewer, shapes, stack)
    assert found == {1: expected, 2: (5, 10)}


def test_a_rectangle_of_the_whole_world_counts_along_its_own_axes(viewer, stack):
    corners3d = np.insert(box_shape(9.6, 4.6, 20.4, 40.4), 0, 2, axis=1)
    shapes = viewer.add_shapes([corners3d])
    assert geometry.rectangle_ranges(viewer, shapes, stack) == {1: (10, 21), 2: (5, 41)}
    upright = viewer.add_shapes([corners3d[:, [1, 0, 2]] / (10, 1, 1)])
    assert geometry.rectangle_ranges(viewer, upright, stack) == {0: (1, 3), 2: (5, 41)}


def test_a_shape_of_more_axes_than_the_image(viewer, stack):
    viewer.add_image(np.zeros((2, 3, 50, 60)))
    shapes = viewer.add_shapes(
        [np.insert(np.insert(box_shape(9.6, 4.6, 20.4, 40.4), 0, 2, axis=1), 0, 1, axis=1)]
    )
    assert geometry.rectangle_ranges(viewer, shapes, stack) == {1: (10, 21), 2: (5, 41)}


def test_a_polygon_and_an_ellipse_are_their_boxes(viewer, stack):
    polygon = viewer.add_shapes([np.array([(10, 5), (25, 30), (12, 45)])], shape_type="polygon")
    assert geometry.rectangle_ranges(viewer, polygon, stack) == {1: (10, 26), 2: (5, 46)}
    ellipse = viewer.add_shapes([box_shape(10, 5, 25, 45)], shape_type="ellipse")
    assert geometry.rectangle_ranges(viewer, ellipse, stack) == {1: (10, 26), 2: (5, 46)}


def test_the_selected_shapes_count_else_the_last(viewer, stack):
    shapes = viewer.add_shapes(
        [box_shape(1, 1, 3, 3), box_shape(10, 10, 12, 12), box_shape(20, 20, 22, 22)]
    )
    shapes.selected_data = {0, 1}
    assert geometry.rectangle_ranges(viewer, shapes, stack)[1] == (1, 13)
    shapes.selected_data = set()
    assert geometry.rectangle_ranges(viewer, shapes, stack)[1] == (20, 23)


def test_no_shape_is_told(viewer, stack):
    shapes = viewer.add_shapes(name="nothing here")
    with pytest.raises(RegionError, match="'nothing here' holds no rectangle yet"):
        geometry.rectangle_ranges(viewer, shapes, stack)


def test_a_rotated_image_gives_the_box_around_the_rectangle(viewer):
    layer = viewer.add_image(pixels((50, 60)), rotate=90)
    shapes = viewer.add_shapes([box_shape(-40.4, 9.6, -5.6, 20.4)])
    # Turned by a right angle: the world's rows are the image's columns backwards, its columns the
    # image's rows.
    assert geometry.rectangle_ranges(viewer, shapes, layer) == {0: (10, 21), 1: (6, 41)}
    layer.rotate = 45
    (y0, y1), (x0, x1) = geometry.rectangle_ranges(viewer, shapes, layer).values()
    for vertex in shapes.data[0]:
        y, x = layer.world_to_data(vertex)
        assert y0 - 0.5 <= y <= y1 - 0.5
        assert x0 - 0.5 <= x <= x1 - 0.5


def test_layers_of_different_units_meet_in_the_viewers(viewer):
    layer = viewer.add_image(pixels((4, 50, 60)), scale=(1, 0.5, 0.5), units=("s", "um", "um"))
    shapes = viewer.add_shapes([box_shape(9.6, 4.6, 20.4, 40.4) * 0.5e-3], units=("mm", "mm"))
    assert geometry.rectangle_ranges(viewer, shapes, layer) == {1: (10, 21), 2: (5, 41)}


def test_units_that_do_not_go_together_are_left_alone(viewer):
    layer = viewer.add_image(pixels((50, 60)), units=("um", "um"))
    shapes = viewer.add_shapes([box_shape(9.6, 4.6, 20.4, 40.4)], units=("s", "s"))
    assert geometry.rectangle_ranges(viewer, shapes, layer) == {0: (10, 21), 1: (5, 41)}


# --- the view and the sliders


def look(viewer, center, zoom, size):
    viewer.canvas.size = size
    viewer.scene.camera.center = center
    viewer.scene.camera.zoom = zoom


def test_the_view_is_what_the_canvas_shows(viewer, stack):
    look(viewer, (20, 30), 10, (100, 200))
    assert geometry.view_ranges(viewer, stack) == {1: (15, 26), 2: (20, 41)}
    stack.scale, stack.translate = (1, 2, 0.5), (0, 1, 10)
    assert geometry.view_ranges(viewer, stack) == {1: (7, 13), 2: (20, 61)}


def test_the_view_of_other_axes(viewer, stack):
    viewer.dims.order = (1, 2, 0)  # x down, t across
    look(viewer, (30, 2), 10, (100, 20))
    assert geometry.view_ranges(viewer, stack) == {2: (25, 36), 0: (1, 4)}


def test_the_view_of_one_field_of_the_grid(viewer, stack):
    viewer.add_image(pixels((4, 50, 60)))
    viewer.canvas.grid.spacing = 0
    viewer.canvas.grid.shape = (1, 2)
    viewer.canvas.grid.enabled = True
    look(viewer, (20, 30), 10, (100, 400))
    assert geometry.view_ranges(viewer, stack) == {1: (15, 26), 2: (20, 41)}


def test_no_view_in_3d(viewer, stack):
    viewer.dims.ndisplay = 3
    with pytest.raises(RegionError, match="switch to 2-D"):
        geometry.view_ranges(viewer, stack)


def test_the_sliders_give_the_frame_that_napari_shows(viewer, stack):
    viewer.dims.set_point(0, 3)
    assert geometry.shown_ranges(viewer, stack) == {0: (3, 4)}
    stack.scale, stack.translate = (0.5, 1, 1), (1, 0, 0)
    viewer.dims.set_point(0, 2.5)
    assert geometry.shown_ranges(viewer, stack) == {0: (3, 4)}
    viewer.dims.ndisplay = 3
    assert geometry.shown_ranges(viewer, stack) == {}


def test_sliders_outside_a_layer(viewer, stack):
    viewer.add_image(pixels((9, 5, 5)))
    viewer.dims.set_point(0, 8)
    ((start, stop),) = geometry.shown_ranges(viewer, stack).values()
    assert (start, stop) == (8, 9)
    with pytest.raises(RegionError, match=r"outside .* along t it is 8 to 9, the image 0 to 4"):
        geometry.clipped([(start, stop), (0, 5), (0, 5)], LayerTarget(stack))


def test_a_layer_of_fewer_axes_than_the_viewer(viewer, stack):
    flat = viewer.add_image(pixels((50, 60)))
    assert geometry.displayed_axes(viewer, flat) == (0, 1)
    assert geometry.shown_ranges(viewer, flat) == {}
    look(viewer, (20, 30), 10, (100, 200))
    assert geometry.view_ranges(viewer, flat) == {0: (15, 26), 1: (20, 41)}


def test_clipping(stack):
    assert (
        geometry.clipped([(-3, 2), (40, 99), (5, 9)], LayerTarget(stack)) == np.s_[0:2, 40:50, 5:9]
    )
    with pytest.raises(RegionError, match="empty: along y, 9 to 9 holds no pixel"):
        geometry.clipped([(0, 4), (9, 9), (5, 9)], LayerTarget(stack))
    with pytest.raises(RegionError, match=r"outside .* along x it is -9 to 0, the image 0 to 60"):
        geometry.clipped([(0, 4), (0, 9), (-9, 0)], LayerTarget(stack))


# --- the new layer


def cropped(layer, region, level=0, dtype=None):
    return crop_layer(layer, crop(layer, region, level=level, dtype=dtype), region, level)


def test_an_image_keeps_its_looks():
    layer = ImageLayer(
        pixels((4, 50, 60)),
        name="cells",
        axis_labels=("t", "y", "x"),
        blending="additive",
        colormap="magma",
        contrast_limits=(5, 70),
        gamma=0.7,
        interpolation2d="cubic",
        iso_threshold=30,
        metadata={"plugin": object()},
        opacity=0.6,
        projection_mode="max",
        rendering="iso",
        units=("s", "um", "um"),
        visible=False,
    )
    layer.contrast_limits_range = (0, 1000)
    new = cropped(layer, np.s_[1:2, 10:20, 5:9])
    assert new.name == "cells crop"
    assert new.colormap == layer.colormap
    assert new.contrast_limits == [5, 70]
    assert new.contrast_limits_range == [0, 1000]
    for name in (
        "axis_labels",
        "blending",
        "gamma",
        "interpolation2d",
        "iso_threshold",
        "opacity",
        "projection_mode",
    ):
        assert getattr(new, name) == getattr(layer, name)
    assert new.rendering == layer.rendering
    assert new.units == layer.units
    assert new.visible
    np.testing.assert_array_equal(new.data, layer.data[1:2, 10:20, 5:9])
    assert list(new.metadata) == [CROP_KEY]


def test_a_crop_says_where_it_came_from(tmp_path):
    source = RecordingSource(pixels((4, 50, 60)), (1, 50, 60), axes="tyx", name="cells")
    layer = Layer.create(*layer_data(Image(source))[0])
    new = cropped(layer, np.s_[1:2, 10:20, 5:9], dtype="f4")
    made = json.loads(json.dumps(new.metadata[CROP_KEY]))
    assert made == {
        "layer": "cells",
        "path": None,
        "image": "cells",
        "level": 0,
        "region": {"t": [1, 2], "y": [10, 20], "x": [5, 9]},
        "level_box": [[1, 2], [10, 20], [5, 9]],
        "dtype": "float32",
    }
    again = crop(layer, made["region"], level=made["level"], dtype=made["dtype"])
    np.testing.assert_array_equal(again, new.data, strict=True)


def test_colors_stay_colors():
    layer = ImageLayer(pixels((4, 50, 60, 3), "u1"), rgb=True, gamma=1.0)
    new = cropped(layer, np.s_[1:2, 10:20, 5:9])
    assert new.rgb
    assert new.data.shape == (1, 10, 4, 3)
    np.testing.assert_allclose(new.translate, (1, 10, 5))
    assert new.metadata[CROP_KEY]["level_box"] == [[1, 2], [10, 20], [5, 9], [0, 3]]


def test_labels_stay_labels_of_the_same_colors():
    layer = Labels(pixels((4, 50, 60), "i4") % 7, scale=(1, 2, 2), name="nuclei", opacity=0.4)
    layer.new_colormap(3)
    new = cropped(layer, np.s_[1:2, 10:20, 5:9])
    assert isinstance(new, Labels)
    assert new.opacity == 0.4
    np.testing.assert_array_equal(new.get_color(3), layer.get_color(3))
    layer.show_selected_label = True
    assert not new.show_selected_label
    layer.colormap = {1: "red", None: "blue"}
    direct = cropped(layer, np.s_[1:2, 10:20, 5:9])
    np.testing.assert_array_equal(direct.get_color(1), layer.get_color(1))


@pytest.mark.parametrize(
    "wrap", [np.asarray, lambda a: da.from_array(a, chunks=5)], ids=["numpy", "dask"]
)
def test_a_coarse_level_of_a_layer_from_elsewhere(wrap):
    finest = pixels((9, 48))
    layer = ImageLayer(
        [wrap(finest), wrap(finest[:, ::4])],
        multiscale=True,
        scale=(2, 0.5),
        contrast_limits=(0, 9),
    )
    new = cropped(layer, np.s_[2:5, 9:21], level=1)
    np.testing.assert_array_equal(new.data, finest[2:5, 8:24:4])
    np.testing.assert_allclose(new.scale, (2, 2))
    np.testing.assert_allclose(new.translate, (4, (8 + 1.5) * 0.5))


def test_the_file_says_what_a_coarse_pixel_spans():
    finest = pixels((37, 50))
    source = RecordingSource([finest, finest[::2, ::2].copy()], (8, 8), factors=[(1, 1), (2, 2)])
    data, keywords, _ = layer_data(Image(source))[0]
    assert LayerTarget(ImageLayer(data, **keywords)).level_factors(1) == (2, 2)
    foreign = ImageLayer([np.asarray(level) for level in data], multiscale=True)
    assert LayerTarget(foreign).level_factors(1) == (37 / 19, 2)


def test_a_lazy_crop_reads_nothing_and_is_shown_as_lazy_layers_are():
    source = RecordingSource(pixels((4, 50, 60)), (1, 50, 60), axes="tyx", scale=(1.0, 0.5, 0.5))
    layer = Layer.create(*layer_data(Image(source), dataset=None)[0])
    loads = len(source.loads)
    region = np.s_[1:3, 10:20, 5:9]
    assert can_be_lazy(layer, 0)
    data = lazy_crop(layer, region, 0)
    assert isinstance(data, LazyArray)
    assert len(source.loads) == loads
    new = crop_layer(layer, data, region, 0)
    assert new.metadata[METADATA_KEY].image is layer.metadata[METADATA_KEY].image
    assert new.metadata[METADATA_KEY].dataset is None
    np.testing.assert_array_equal(new.data, source.arrays[0][region])
    np.testing.assert_allclose(new.translate, (1, 5, 2.5))
    cast = lazy_crop(layer, region, 0, np.dtype("f4"))
    np.testing.assert_array_equal(cast, source.arrays[0][region].astype("f4"), strict=True)


# --- the layer to draw on


@settings(max_examples=30)
@given(transforms(2), st.floats(-5, 5), st.floats(0.5, 3))
def test_a_rectangle_drawn_upright_lies_along_the_pixels(keywords, shift, size):
    full = np.eye(4)
    full[1:, 1:] = keywords.pop("affine")
    rotate = np.eye(3)
    rotate[1:, 1:] = keywords.pop("rotate")
    scale, translate = [size, *keywords.pop("scale")], [shift, *keywords.pop("translate")]
    shear = np.eye(3)
    shear[1:, 1:] = keywords.pop("shear")
    viewer = ViewerModel()
    layer = viewer.add_image(
        np.zeros((4, 50, 60)),
        scale=scale,
        translate=translate,
        rotate=rotate,
        shear=shear,
        affine=full,
    )
    shapes = drawing_layer(viewer, layer)
    assert shapes.ndim == 2
    shapes.add(box_shape(9.6, 4.6, 20.4, 40.4))
    assert geometry.rectangle_ranges(viewer, shapes, layer) == {1: (10, 21), 2: (5, 41)}
    assert drawing_layer(viewer, layer, shapes) is shapes


def test_a_tilted_image_is_drawn_on_in_its_own_world(viewer):
    rotate = (0, 20, 10)
    layer = viewer.add_image(
        np.zeros((4, 50, 60)), rotate=rotate, units=("um",) * 3, axis_labels=("z", "y", "x")
    )
    shapes = drawing_layer(viewer, layer)
    assert shapes.ndim == 3
    assert shapes.units == layer.units
    assert shapes.axis_labels == layer.axis_labels
    shapes.add(np.insert(box_shape(9.6, 4.6, 20.4, 40.4), 0, 2, axis=1))
    assert geometry.rectangle_ranges(viewer, shapes, layer) == {1: (10, 21), 2: (5, 41)}


def test_other_displayed_axes_need_another_layer_to_draw_on(viewer, stack):
    flat = drawing_layer(viewer, stack)
    assert flat.ndim == 2
    viewer.dims.order = (1, 0, 2)
    whole = drawing_layer(viewer, stack, flat)
    assert whole.ndim == 3
    viewer.layers.remove(whole)
    assert drawing_layer(viewer, stack, whole) is not whole
