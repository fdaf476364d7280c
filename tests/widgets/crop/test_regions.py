"""Regions of the crop dock: boxes, world units, masks, kept ones, several layers, the outline."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from napari.layers import Layer
from qtpy.QtCore import QPoint, Qt

from helpers.crops import pixels, take_box
from napari_lazyload.arrays.image import Image
from napari_lazyload.core.region import random_region
from napari_lazyload.cropping.target import Target
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop.crop_layer import CROP_KEY
from napari_lazyload.layers.crop.outline import OUTLINE_KEY
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets.crop.output import LAZY
from napari_lazyload.widgets.crop.region_source import CENTER, KEPT, NUMBERS, RANDOM, VIEW, WHOLE

TRIANGLE = np.array([(5, 5), (5, 35), (35, 5)], float)


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], float)


def run(dock, qtbot):
    dock.crop()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)


def outline_of(viewer):
    return next((layer for layer in viewer.layers if OUTLINE_KEY in layer.metadata), None)


# --- boxes


def test_a_box_in_the_middle(dock, viewer, layer):
    dock.form.region.value = CENTER
    dock.form.box_size.value = "10"
    viewer.dims.set_point(0, 2)
    dock.refresh()
    assert dock.plan.region == np.s_[2:3, 15:25, 20:30]
    assert not dock.form.seed.native.isVisibleTo(dock)
    dock.form.frames.value = WHOLE
    dock.form.box_size.value = "8 x 12"
    dock.refresh()
    assert dock.plan.region == np.s_[0:6, 16:24, 19:31]
    for text in ("2, 8, 12", "t=2 y=8, x = 12", "2x8x12"):
        dock.form.box_size.value = text
        dock.refresh()
        assert dock.plan.region == np.s_[2:4, 16:24, 19:31], text


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "a", "1.5", "q=3", "1,2,3,4", "nan", "9" * 400 + "e9"]
)
def test_a_size_that_is_none_is_told(dock, text):
    dock.form.region.value = CENTER
    dock.form.box_size.value = text
    dock.refresh()
    assert dock.plan is None
    assert (
        "A size is one whole number of pixels, one for each of the last axes (64 x 64)"
        in dock.form.message.text()
    )
    assert not dock.form.crop.enabled


def test_a_huge_size_is_the_whole_image(dock):
    dock.form.region.value = CENTER
    dock.form.box_size.value = "9" * 400
    dock.refresh()
    assert dock.plan.region[1:] == np.s_[0:40, 0:50]


def test_a_random_box_is_that_of_its_seed(dock):
    dock.form.region.value = RANDOM
    dock.form.box_size.value = "2, 10, 10"
    seen = set()
    for seed in range(5):
        dock.form.seed.value = seed
        dock.refresh()
        expected = random_region(("t", "y", "x"), (6, 40, 50), {"t": 2, "y": 10, "x": 10}, seed)
        assert dock.plan.region == tuple(slice(*pair) for pair in expected.values())
        seen.add(str(dock.plan.region))
    assert len(seen) > 2
    assert dock.form.seed.native.isVisibleTo(dock)


# --- numbers


def test_numbers_in_world_units(dock, layer):
    layer.scale, layer.translate, layer.units = (1, 0.5, -2), (0, 10, 0), ("s", "um", "um")
    take_box(dock, (1, 4), (15, 25), (0, 10))
    dock.form.in_world.value = True
    boxes = dock.form.rows._boxes
    assert [(start.value, stop.value) for start, stop in boxes] == [
        (0.5, 3.5),
        (17.25, 22.25),
        (1, -19),
    ]
    boxes[1][0].value = 12.3  # within pixel 5, which reaches from 12.25 to 12.75
    boxes[1][1].value = 12.75
    boxes[2][1].value = -3  # the border of pixels 1 and 2
    dock.refresh()
    assert dock.plan.region == np.s_[1:4, 5:6, 0:2]
    assert boxes[1][0].value == 12.25
    layer.translate = (0, 0, 0)
    dock.refresh()
    assert dock.plan.region == np.s_[1:4, 5:6, 0:2]
    assert dock.form.rows._boxes[1][0].value == 2.25
    dock.form.in_world.value = False
    assert [(start.value, stop.value) for start, stop in dock.form.rows._boxes] == [
        (1, 4),
        (5, 6),
        (0, 2),
    ]


def test_sliders_make_the_region(dock):
    take_box(dock, (1, 4), (15, 25), (0, 10))
    dock.form.rows._sliders[1].setValue((3, 9))
    dock.refresh()
    assert dock.plan.region == np.s_[1:4, 3:9, 0:10]
    dock.form.rows._sliders[2].setValue((50, 50))
    dock.refresh()
    assert dock.plan.region == np.s_[1:4, 3:9, 49:50]


def test_what_is_half_typed_is_no_region(dock, viewer, qtbot):
    viewer.window._qt_window.show()
    take_box(dock, (1, 4), (15, 25), (0, 10))
    field = dock.form.rows._boxes[1][1].native
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, "3")
    assert dock.form.rows.ranges()[1] == (15, 25)
    qtbot.keyClicks(field, "0")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert dock.form.rows.ranges()[1] == (15, 30)


# --- masks


def test_a_polygon_is_its_box_and_masked_on_request(dock, viewer, source, qtbot):
    shapes = viewer.add_shapes([TRIANGLE], shape_type="polygon")
    dock.form.region.value = shapes
    dock.form.frames.value = WHOLE
    dock.refresh()
    assert dock.form.masked.native.isVisibleTo(dock)
    assert dock.plan.mask is None
    run(dock, qtbot)
    np.testing.assert_array_equal(
        viewer.layers["cells crop"].data, source.arrays[0][:, 5:36, 5:36], strict=True
    )
    viewer.layers.remove("cells crop")
    dock.form.masked.value = True
    run(dock, qtbot)
    new = viewer.layers["cells crop"]
    y, x = np.mgrid[5:36, 5:36]
    off, on = (y + x > 40), (y == 5) | (x == 5) | (y + x == 40)
    expected = np.where(off, 0, source.arrays[0][:, 5:36, 5:36])
    np.testing.assert_array_equal(new.data[:, ~on], expected[:, ~on])
    assert new.metadata[CROP_KEY]["mask"]["axes"] == ["y", "x"]
    dock.form.output.kind.value = LAZY
    dock.crop()
    np.testing.assert_array_equal(viewer.layers["cells crop [1]"].data, new.data, strict=True)


def test_an_upright_rectangle_needs_no_mask(dock, viewer, layer):
    shapes = viewer.add_shapes([rectangle(9.6, 4.6, 20.4, 40.4)])
    dock.form.region.value = shapes
    dock.form.masked.value = True
    dock.refresh()
    assert not dock.form.masked.native.isVisibleTo(dock)
    assert dock.plan.mask is None
    turned = np.eye(3)
    turned[1:, 1:] = ((0.8, -0.6), (0.6, 0.8))
    layer.rotate = turned
    dock.refresh()
    assert dock.form.masked.native.isVisibleTo(dock)
    assert dock.plan.mask is not None


# --- kept regions


def test_a_region_is_kept_and_picked_again(dock, viewer, layer):
    take_box(dock, (1, 4), (15, 25), (30, 50))
    dock.form.name.value = "nest"
    dock.form.keep.native.click()
    assert dock.form.region.value == f"{KEPT}nest"
    assert dock.form.message.text() == "Kept 'nest' with 'cells'."
    take_box(dock, (0, 1), (0, 2), (0, 3))
    other = viewer.add_image(pixels((9, 8)), name="other")
    dock.form.layer.value = other
    assert f"{KEPT}nest" not in dock.form.region.choices
    dock.form.layer.value = layer
    dock.form.region.value = f"{KEPT}nest"
    dock.refresh()
    assert dock.plan.region == np.s_[1:4, 15:25, 30:50]
    dock.form.rows._boxes[1][1].value = 30  # from here on it is another one
    assert dock.form.region.value == NUMBERS
    dock.form.region.value = f"{KEPT}nest"
    dock.form.forget.native.click()
    assert f"{KEPT}nest" not in dock.form.region.choices
    assert dock.form.message.text() == "Forgot 'nest'."
    dock.form.forget.native.click()
    assert dock.form.message.text() == "Pick a kept region, or type its name."


def test_a_region_without_a_name_gets_one_and_keeps_its_mask(dock, viewer):
    dock.form.region.value = viewer.add_shapes([TRIANGLE], shape_type="polygon")
    dock.form.masked.value = True
    dock.refresh()
    mask = dock.plan.mask
    dock.keep_region()
    assert dock.form.name.value == "region 1"
    viewer.layers.pop()
    dock.form.region.value = f"{KEPT}region 1"
    dock.refresh()
    assert dock.plan.mask == mask


# --- several layers


@pytest.mark.parametrize("choice", [VIEW, CENTER])
def test_a_refresh_describes_each_layer_once(dock, viewer, layer, monkeypatch, choice):
    pyramid = [np.zeros((6, 40, 50), "u1"), np.zeros((6, 20, 25), "u1")]
    other = viewer.add_image(pyramid, multiscale=True, name="pyramid")
    viewer.layers.selection = {layer, other}
    dock.form.several.value = True
    dock.form.layer.value = other
    dock.form.region.value = choice
    dock.refresh()  # the outline is a new layer, which the dock takes in
    described = []
    made = Target.__init__
    monkeypatch.setattr(
        Target, "__init__", lambda self, *args: described.append(self) or made(self, *args)
    )
    dock.refresh()
    assert [plan.layer.name for plan in dock.plans] == ["pyramid", "cells"]
    assert dock.form.level.native.count() == 2
    assert described == [plan.target for plan in dock.plans]


def test_selected_layers_are_cropped_together(dock, viewer, layer, source, qtbot):
    labels = viewer.add_labels(pixels((6, 40, 50), "i4") % 5, name="nuclei")
    colors = viewer.add_image(
        pixels((6, 80, 100, 3), "u1"), rgb=True, scale=(1, 0.5, 0.5), name="photo"
    )
    colors.translate = (0, -0.25, -0.25)
    viewer.add_image(pixels((6, 40, 50)), name="not this")
    viewer.layers.selection = {layer, labels, colors}
    dock.form.layer.value = layer
    take_box(dock, (1, 4), (15, 25), (30, 50))
    assert dock.form.several.native.text() == "All 3 selected layers"
    assert dock.form.several.native.isVisibleTo(dock)
    dock.form.several.value = True
    dock.refresh()
    assert dock.form.cost.text().startswith(
        "3 layers. Level 0, uint16: 3 x 10 x 20 and others\nResult 11 KiB"
    )
    run(dock, qtbot)
    assert dock.form.message.text() == "Added 'cells crop', 'nuclei crop', 'photo crop'."
    np.testing.assert_array_equal(
        viewer.layers["cells crop"].data, source.arrays[0][1:4, 15:25, 30:50]
    )
    np.testing.assert_array_equal(viewer.layers["nuclei crop"].data, labels.data[1:4, 15:25, 30:50])
    np.testing.assert_array_equal(viewer.layers["photo crop"].data, colors.data[1:4, 30:50, 60:100])
    assert viewer.layers.index("nuclei crop") == viewer.layers.index("nuclei") + 1
    assert set(viewer.layers.selection) == {
        viewer.layers[f"{name} crop"] for name in ("cells", "nuclei", "photo")
    }


def test_what_one_of_the_layers_cannot_do_is_told(dock, viewer, layer):
    labels = viewer.add_labels(pixels((6, 40, 50), "i4") % 5, name="nuclei")
    viewer.layers.selection = {layer, labels}
    dock.form.layer.value = layer
    dock.form.several.value = True
    take_box(dock, (1, 4), (15, 25), (30, 50))
    dock.form.dtype.value = "float32"
    dock.refresh()
    assert (
        "'nuclei' holds labels, which are whole numbers: they cannot become float32"
        in dock.form.message.text()
    )
    dock.form.dtype.value = "uint32"
    labels.translate = (0, 500, 0)
    dock.refresh()
    assert "lies outside 'nuclei'" in dock.form.message.text()


def test_channels_are_cropped_together(viewer, qtbot):
    from napari_lazyload.core.metadata import ChannelMeta
    from napari_lazyload.widgets.crop.dock import CropDock

    source = RecordingSource(
        pixels((2, 3, 20, 30)),
        (1, 1, 20, 30),
        axes="tcyx",
        channels=(ChannelMeta("a"), ChannelMeta("b"), ChannelMeta("c")),
    )
    layers = [viewer.add_layer(Layer.create(*data)) for data in layer_data(Image(source))]
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    viewer.layers.selection = set(layers)
    dock.form.outline.value = False
    dock.form.several.value = True
    take_box(dock, (1, 2), (5, 15), (0, 30))
    run(dock, qtbot)
    for number, layer in enumerate(layers):
        new = viewer.layers[f"{layer.name} crop"]
        np.testing.assert_array_equal(new.data, source.arrays[0][1:2, number, 5:15], strict=True)
        assert new.blending == "additive"


def test_axes_of_a_turned_volume_have_the_names_of_the_sliders(viewer, qtbot):
    from napari_lazyload.widgets.crop.dock import CropDock

    affine = np.array([[0, 0, 1.5, -10], [2, 0, 0, 5], [0, 3, 0, 7], [0, 0, 0, 1]])
    source = RecordingSource(pixels((20, 30, 40)), (1, 30, 40), axes="zyx", affine=affine)
    layer = viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    sliders = viewer.dims.axis_labels
    assert sliders != ("z", "y", "x")
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.form.outline.value = False
    assert [name for name, _ in dock.form.rows._axes] == list(sliders)
    dock.form.region.value = CENTER
    dock.form.box_size.value = ", ".join(f"{name}={4 + axis}" for axis, name in enumerate(sliders))
    run(dock, qtbot)
    new = viewer.layers[f"{layer.name} crop"]
    assert new.axis_labels == sliders
    np.testing.assert_array_equal(new.data, source.arrays[0][8:12, 12:17, 17:23], strict=True)
    first = np.array(layer.data_to_world((8, 12, 17)))
    np.testing.assert_allclose(new.data_to_world((0, 0, 0)), first)


# --- what a type loses, and what each level costs


def test_what_a_type_loses_is_said_first(dock):
    take_box(dock, (1, 4), (15, 25), (30, 50))
    assert not dock.form.warning.isVisibleTo(dock)
    dock.form.dtype.value = "uint8"
    dock.refresh()
    assert dock.form.warning.text() == "As uint8, values above 255 wrap around."
    assert dock.form.warning.isVisibleTo(dock)
    assert dock.form.crop.enabled
    dock.form.dtype.value = "float64"
    dock.refresh()
    assert dock.form.warning.text() == ""


def test_each_level_tells_its_cost(viewer, qtbot):
    from napari_lazyload.widgets.crop.dock import CropDock

    finest = pixels((4, 32, 32))
    source = RecordingSource(
        [finest, finest[:, ::2, ::2].copy()], (1, 8, 8), axes="tyx", factors=[(1, 1, 1), (1, 2, 2)]
    )
    viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    loads = len(source.loads)
    take_box(dock, (0, 2), (0, 32), (0, 16))
    combo = dock.form.level.native
    assert [combo.itemText(number) for number in (0, 1)] == [
        "0: 4 x 32 x 32, 2.0 KiB",
        "1: 4 x 16 x 16, 512 B",
    ]
    take_box(dock, (0, 1), (0, 32), (0, 16))
    assert combo.itemText(1) == "1: 4 x 16 x 16, 256 B"
    assert combo.itemData(1, Qt.ItemDataRole.ToolTipRole).endswith(
        "Reads 256 B in 2 chunks, of 2.0 KiB"
    )
    assert dock.form.level.choices == (0, 1)
    assert len(source.loads) == loads


# --- the outline


@pytest.fixture
def outlined(dock, viewer):
    dock.form.outline.value = True
    viewer.layers.selection = {viewer.layers["cells"]}
    take_box(dock, (1, 4), (15, 25), (30, 50))
    return dock


def test_the_region_is_outlined(outlined, viewer, layer):
    shown = outline_of(viewer)
    assert viewer.layers.selection.active is layer
    (vertices,) = shown.data
    np.testing.assert_allclose(
        sorted(map(tuple, vertices)), [(14.5, 29.5), (14.5, 49.5), (24.5, 29.5), (24.5, 49.5)]
    )
    assert shown.opacity == 1
    viewer.dims.set_point(0, 5)
    outlined.refresh()
    assert shown.opacity < 1  # the slider stands beside the region
    viewer.dims.set_point(0, 2)
    outlined.refresh()
    assert outline_of(viewer) is shown
    assert shown.opacity == 1
    assert not shown.editable
    assert shown not in outlined.form.region.choices
    layer.scale, layer.translate = (1, 2, 2), (0, 5, 5)
    outlined.refresh()
    np.testing.assert_allclose(
        shown.data_to_world((14.5, 29.5)), layer.data_to_world((0, 14.5, 29.5))[1:]
    )
    outlined.form.region.value = VIEW
    outlined.refresh()
    assert outline_of(viewer) is None
    assert viewer.layers.selection.active is layer


def test_the_outline_of_a_tilted_layer_and_in_3d_is_the_box(outlined, viewer, layer):
    tilted = np.eye(3)
    tilted[:2, :2] = ((0.8, -0.6), (0.6, 0.8))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non-orthogonal slicing", UserWarning)
        layer.rotate = tilted
        outlined.refresh()
        viewer.dims.ndisplay = 3
        outlined.refresh()
    shown = outline_of(viewer)
    assert shown.ndim == 3
    assert len(shown.data) == 12
    corners = {tuple(point) for line in shown.data for point in line}
    assert corners == {(t, y, x) for t in (0.5, 3.5) for y in (14.5, 24.5) for x in (29.5, 49.5)}
    np.testing.assert_allclose(
        shown.data_to_world((0.5, 14.5, 29.5)), layer.data_to_world((0.5, 14.5, 29.5))
    )


def test_the_outline_goes_with_what_showed_it(outlined, viewer, layer):
    viewer.layers.remove(outline_of(viewer))
    assert not outlined.form.outline.value
    outlined.refresh()
    assert outline_of(viewer) is None
    outlined.form.outline.value = True
    outlined.refresh()
    assert outline_of(viewer) is not None
    viewer.window.remove_dock_widget(outlined)
    assert list(viewer.layers) == [layer]


def test_a_rectangle_that_is_its_own_box_needs_no_outline(outlined, viewer, layer):
    outlined.form.region.value = viewer.add_shapes([rectangle(9.6, 4.6, 20.4, 40.4)])
    outlined.refresh()
    assert outline_of(viewer) is None
    outlined.form.region.value = viewer.add_shapes([TRIANGLE], shape_type="polygon")
    outlined.refresh()
    assert outline_of(viewer) is not None


# --- the dock itself


def test_nothing_is_too_wide_and_all_of_it_has_a_name(dock, viewer, qtbot):
    viewer.window._qt_window.show()
    dock.form.more.header.click()
    dock.form.in_world.value = True
    dock.form.region.value = RANDOM
    for kind in ("layer", LAZY, ".ome.zarr", ".npy"):
        dock.form.output.kind.value = kind
        dock.refresh()
        assert dock.minimumSizeHint().width() <= 340, kind
    form, output = dock.form, dock.form.output
    fields = (form.box_size, form.seed, form.name, output.kind, output.path, output.browse)
    assert all(field.native.accessibleName() for field in fields)
    buttons = (
        form.draw,
        form.keep,
        form.forget,
        form.crop,
        form.copy,
        form.several,
        form.masked,
        form.outline,
    )
    assert all(button.native.text() for button in buttons)
    assert all(slider.accessibleName() for slider in form.rows._sliders)


def test_the_button_says_what_it_makes(dock):
    for kind, text in (("layer", "Crop"), (LAZY, "Add lazy layer"), (".ome.tif", "Save")):
        dock.form.output.kind.value = kind
        take_box(dock, (1, 4), (15, 25), (0, 10))
        assert dock.form.crop.text == text


def test_a_lazy_layer_is_a_result_that_reads_nothing(dock, viewer, source):
    dock.form.output.kind.value = LAZY
    take_box(dock, (3, 6), (15, 25), (0, 10))
    loads = len(source.loads)
    dock.form.crop.native.click()
    new = viewer.layers["cells crop"]
    assert len(source.loads) == loads  # the slider stands beside it, so that nothing of it is shown
    assert not isinstance(new.data, np.ndarray)
    assert dock.form.message.text() == "Added 'cells crop'."
    np.testing.assert_array_equal(new.data, source.arrays[0][3:6, 15:25, 0:10], strict=True)


def test_the_tab_key_goes_from_top_to_bottom(dock, viewer, qtbot):
    viewer.window._qt_window.show()
    dock.form.more.header.click()
    dock.form.output.kind.value = ".ome.zarr"
    take_box(dock, (1, 4), (15, 25), (0, 10))
    qtbot.wait(50)
    form, widget, places = dock.form, dock.form.layer.native, []
    while widget is not form.copy.native:
        if (
            widget.isVisible()
            and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
            and dock.isAncestorOf(widget)
        ):
            at = widget.mapTo(dock, QPoint(0, widget.height() // 2))
            places.append((round(at.y() / 12), at.x()))
        widget = widget.nextInFocusChain()
    assert len(places) >= 20
    assert places == sorted(places)
