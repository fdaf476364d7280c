"""Crops of drawn shapes: which pixels are kept, for any transforms of shapes and image."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Layer

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping.target import LayerTarget
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop import geometry
from napari_lazyload.layers.crop.crop_layer import CROP_KEY
from napari_lazyload.layers.crop.export_source import as_opened, masked_layer, origin, to_write
from napari_lazyload.layers.crop.mask import inside, shapes_mask
from napari_lazyload.layers.crop.named_regions import forget, keep, kept_names, kept_region
from napari_lazyload.testing.sources import RecordingSource

TRIANGLE = np.array([(4, 3), (4, 33), (34, 3)], float)


def pixels(shape, dtype="u2"):
    return (np.arange(np.prod(shape)) % 60000 + 1).reshape(shape).astype(dtype)


@pytest.fixture
def viewer():
    return ViewerModel()


def triangle_of(box):
    """Centres inside of the triangle, by its three sides; those on a side are left open."""
    (y0, y1), (x0, x1) = box
    y, x = np.mgrid[y0:y1, x0:x1]
    within = (y > 4) & (x > 3) & (y + x < 37)
    on = (y >= 4) & (x >= 3) & (y + x <= 37) & ~within
    return within, on


def test_the_pixels_whose_center_is_inside_are_kept(viewer):
    layer = viewer.add_image(pixels((3, 40, 50)))
    shapes = viewer.add_shapes([TRIANGLE], shape_type="polygon")
    mask = shapes_mask(viewer, shapes, layer)
    assert mask.axes == (1, 2)
    found = inside(mask, LayerTarget(layer), 0, ((0, 3), (4, 35), (3, 34)))
    assert found.shape == (1, 31, 31)
    within, on = triangle_of(((4, 35), (3, 34)))
    np.testing.assert_array_equal(found[0] & ~on, within)


def test_the_mask_follows_the_shape_through_transforms(viewer):
    layer = viewer.add_image(
        pixels((40, 50)), scale=(2, 0.5), rotate=30, translate=(5, -3), shear=[0.2]
    )
    drawn = np.array([layer.data_to_world(point) for point in TRIANGLE])
    shapes = viewer.add_shapes(
        [drawn / 4 - 1], shape_type="polygon", scale=(4, 4), translate=(4, 4)
    )
    found = inside(shapes_mask(viewer, shapes, layer), LayerTarget(layer), 0, ((0, 40), (0, 50)))
    within, on = triangle_of(((0, 40), (0, 50)))
    np.testing.assert_array_equal(found & ~on, within)


def test_an_ellipse_is_round_and_shapes_are_put_together(viewer):
    layer = viewer.add_image(pixels((40, 50)))
    box = np.array([(5, 5), (5, 25), (25, 25), (25, 5)], float)
    shapes = viewer.add_shapes([box, np.add(box, (0, 24))], shape_type="ellipse")
    shapes.selected_data = {0, 1}
    found = inside(shapes_mask(viewer, shapes, layer), LayerTarget(layer), 0, ((0, 40), (0, 50)))
    y, x = np.mgrid[0:40, 0:50]
    far = np.minimum(np.hypot(y - 15, x - 15), np.hypot(y - 15, x - 39))
    np.testing.assert_array_equal(found[abs(far - 10) > 0.1], (far < 10)[abs(far - 10) > 0.1])


def test_a_coarse_level_has_a_coarse_mask(viewer):
    finest = pixels((40, 48))
    layer = viewer.add_image(
        [finest, finest[::2, ::4].copy()], multiscale=True, contrast_limits=(0, 1)
    )
    shapes = viewer.add_shapes([TRIANGLE], shape_type="polygon")
    found = inside(shapes_mask(viewer, shapes, layer), LayerTarget(layer), 1, ((2, 18), (0, 9)))
    centers_y, centers_x = np.meshgrid(
        np.arange(2, 18) * 2 + 0.5, np.arange(9) * 4 + 1.5, indexing="ij"
    )
    np.testing.assert_array_equal(
        found, (centers_y > 4) & (centers_x > 3) & (centers_y + centers_x < 37)
    )


def test_a_shape_across_the_planes_is_told(viewer):
    layer = viewer.add_image(pixels((10, 40, 50)))
    shapes = viewer.add_shapes([np.insert(TRIANGLE, 0, (1, 4, 6), axis=1)], shape_type="polygon")
    with pytest.raises(RegionError, match="lies in no plane of"):
        shapes_mask(viewer, shapes, layer)


@pytest.mark.parametrize(
    "wrap", [np.asarray, lambda a: da.from_array(a, chunks=7)], ids=["numpy", "dask"]
)
def test_a_masked_layer_reads_nothing_and_is_zero_outside(viewer, wrap):
    data = pixels((3, 40, 50))
    layer = viewer.add_image(wrap(data), scale=(1, 0.5, 0.5), axis_labels=("t", "y", "x"))
    mask = shapes_mask(viewer, viewer.add_shapes([TRIANGLE * 0.5], shape_type="polygon"), layer)
    region = np.s_[1:3, 4:35, 3:34]
    new = masked_layer(layer, region, 0, mask)
    assert nl.is_lazy(new)
    kept = inside(mask, LayerTarget(layer), 0, ((1, 3), (4, 35), (3, 34)))
    np.testing.assert_array_equal(new.data, np.where(kept, data[region], 0), strict=True)
    np.testing.assert_allclose(new.translate, (1, 2, 1.5))
    assert new.metadata[CROP_KEY]["mask"]["axes"] == ["y", "x"]


def test_a_masked_lazy_crop_reads_its_chunks_once(viewer):
    source = RecordingSource(pixels((3, 40, 50)), (1, 20, 25), axes="tyx")
    layer = viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    mask = shapes_mask(viewer, viewer.add_shapes([TRIANGLE], shape_type="polygon"), layer)
    source.loads.clear()
    new = masked_layer(layer, np.s_[1:2, 4:35, 3:34], 0, mask)
    assert source.loads == []
    np.testing.assert_array_equal(
        nl.crop(new, ()) > 0, inside(mask, LayerTarget(layer), 0, ((1, 2), (4, 35), (3, 34)))
    )
    assert len(source.loads) == len(set(source.loads)) <= 4


# --- what a file is made of


def lazy_layer(**meta):
    source = RecordingSource(
        pixels((3, 2, 20, 30)), (1, 1, 20, 30), axes="tcyx", scale=(1.0, 1.0, 0.5, 0.5), **meta
    )
    return Image(source)


def test_an_image_is_written_as_its_file_has_it():
    image = lazy_layer()
    layer = Layer.create(*layer_data(image)[0])
    found, region, level = to_write(layer, np.s_[0:1, 0:2, 3:9, 4:8], 0, None)
    assert found.source is image.source
    assert (region, level) == (np.s_[0:1, 0:2, 3:9, 4:8], 0)


def test_a_channel_is_written_as_a_channel_of_its_image():
    from napari_lazyload.core.metadata import ChannelMeta

    image = lazy_layer(channels=(ChannelMeta("a"), ChannelMeta("b")))
    layer = Layer.create(*layer_data(image)[1])
    found, region, _ = to_write(layer, np.s_[0:1, 3:9, 4:8], 0, None)
    assert found.source is image.source
    assert region == np.s_[0:1, 1:2, 3:9, 4:8]
    part = Layer.create(
        layer.data[1:, 2:], {"metadata": layer.metadata, "scale": layer.scale}, "image"
    )
    assert origin(part).region(np.s_[0:1, 3:9, 4:8]) == np.s_[1:2, 1:2, 5:11, 4:8]


@pytest.mark.parametrize(
    "moved",
    [
        {"scale": (1, 1, 1, 2)},
        {"translate": (0, 0, 1, 0)},
        {"rotate": 20},
        {"units": ("s", "pixel", "um", "um")},
    ],
    ids=lambda moved: next(iter(moved)),
)
def test_a_layer_that_was_moved_is_written_as_it_lies_now(moved):
    layer = Layer.create(*layer_data(lazy_layer())[0])
    assert as_opened(layer, origin(layer))
    for name, value in moved.items():
        setattr(layer, name, np.eye(4) if name == "rotate" else value)
    if "rotate" in moved:
        turned = np.eye(4)
        turned[2:, 2:] = ((0, -1), (1, 0))
        layer.rotate = turned
    assert to_write(layer, np.s_[0:1, 0:2, 3:9, 4:8], 0, None)[0] is layer


def test_other_layers_have_no_origin():
    assert origin(ImageLayer(pixels((4, 5)))) is None
    layer = Layer.create(*layer_data(lazy_layer())[0])
    layer.data = pixels((3, 2, 20, 30))
    assert origin(layer) is None


# --- named regions


def test_a_region_is_kept_with_its_layer(viewer):
    layer = viewer.add_image(pixels((3, 40, 50)))
    mask = shapes_mask(viewer, viewer.add_shapes([TRIANGLE], shape_type="polygon"), layer)
    keep(layer, "a", np.s_[0:1, 4:35, 3:34], mask)
    keep(layer, "b", np.s_[0:2, 1:2, 1:2])
    assert kept_names(layer) == ["a", "b"]
    ranges, again = kept_region(layer, "a")
    assert ranges == [(0, 1), (4, 35), (3, 34)]
    np.testing.assert_array_equal(
        inside(again, LayerTarget(layer), 0, tuple(ranges)),
        inside(mask, LayerTarget(layer), 0, tuple(ranges)),
        strict=True,
    )
    assert kept_region(layer, "b") == ([(0, 2), (1, 2), (1, 2)], None)
    forget(layer, "a")
    with pytest.raises(RegionError, match="no region called 'a' any more"):
        kept_region(layer, "a")
    layer.data = pixels((40, 50))
    with pytest.raises(RegionError, match="it has 3 axes, the layer 2"):
        kept_region(layer, "b")


# --- other layers


def test_a_region_of_one_layer_lies_at_the_same_place_in_another(viewer):
    layer = viewer.add_image(pixels((4, 40, 50)), scale=(1, 2, 2), translate=(0, 10, 0))
    same = viewer.add_image(pixels((4, 40, 50)), scale=(1, 2, 2), translate=(0, 10, 0))
    finer = viewer.add_image(pixels((4, 80, 100)), scale=(1, 1, 1), translate=(0, 9.5, -0.5))
    flat = viewer.add_image(pixels((40, 50)), scale=(2, 2), translate=(10, 0))
    region = np.s_[1:3, 5:20, 7:9]
    assert geometry.ranges_elsewhere(viewer, layer, region, same) == {
        0: (1, 3),
        1: (5, 20),
        2: (7, 9),
    }
    assert geometry.ranges_elsewhere(viewer, layer, region, finer) == {
        0: (1, 3),
        1: (10, 40),
        2: (14, 18),
    }
    assert geometry.ranges_elsewhere(viewer, layer, region, flat) == {0: (5, 20), 1: (7, 9)}


def test_what_has_no_place_is_told(viewer):
    layer = viewer.add_image(pixels((40, 50)))
    shapes = viewer.add_shapes([np.array([(1, 1), (1, 5), (5, 5), (5, 1)], float)])
    shapes.translate = (np.nan, 0)
    with pytest.raises(RegionError, match="not a number, or infinitely far away"):
        geometry.rectangle_ranges(viewer, shapes, layer)
    shapes.translate = (1e300, 0)
    found = geometry.rectangle_ranges(viewer, shapes, layer)
    with pytest.raises(RegionError, match="outside"):
        geometry.clipped([found[0], found[1]], LayerTarget(layer))
    shapes.translate = (0, 0)
    flat = ImageLayer(pixels((40, 50)), affine=np.diag((0, 1, 1)))
    with pytest.raises(RegionError, match="squeezed flat"):
        geometry.rectangle_ranges(viewer, shapes, flat)


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        (
            {"scale": (0.5, 2), "translate": (3, 4), "units": ("um", "um")},
            [(3, 0.5, "μm"), (4, 2, "μm")],
        ),
        ({"scale": (-0.5, 2)}, [(0, -0.5, "pixel"), (0, 2, "pixel")]),
        (
            {"scale": (0.5, 2), "translate": (3, 4), "rotate": 90},
            [(0, 0.5, "pixel"), (0, 2, "pixel")],
        ),
    ],
    ids=["placed", "mirrored", "turned"],
)
def test_pixels_have_places_in_world_units(keywords, expected):
    found = geometry.axis_scales(ImageLayer(pixels((40, 50)), **keywords))
    for (offset, size, unit), (wanted_offset, wanted_size, wanted_unit) in zip(
        found, expected, strict=True
    ):
        assert (offset, size) == pytest.approx((wanted_offset, wanted_size))
        assert unit.replace("\u00b5", "\u03bc") == wanted_unit  # pint's micro sign, by its version
