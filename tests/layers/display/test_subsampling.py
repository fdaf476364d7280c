"""Large images with one level: browsable at every zoom, each level in its place, 3-D in budget."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

import napari_lazyload as nl
from helpers.displays import display_of, shown, turn, until
from napari_lazyload.arrays.derived import overview
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core import coarse_levels
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.loading import cache
from napari_lazyload.testing.sources import RecordingSource

RNG = np.random.default_rng(0)
SIZE = 4096
PLANE = RNG.integers(1, 250, (SIZE, SIZE)).astype("u1")

pytestmark = pytest.mark.usefixtures("no_look_ahead")


@pytest.fixture(autouse=True)
def _large_from_a_few_thousand_pixels(monkeypatch):
    monkeypatch.setattr(coarse_levels, "PLANE_NBYTES", 1 << 20)
    monkeypatch.setattr(coarse_levels, "PLANE_SIDE", 1024)
    monkeypatch.setattr(overview, "CHUNK_NBYTES", 256 << 10)


def plane_source(gates=None, **more):
    return RecordingSource(PLANE, (128, 128), axes="yx", gate=gates, **more)


def zoom(viewer, factor, center=None):
    """Zoom, and let napari look what that shows: a window that is not seen does not draw."""
    viewer.scene.camera.zoom = factor
    if center is not None:
        viewer.scene.camera.center = center
    viewer.window._qt_viewer.canvas.on_draw(None)


def in_view(layer):
    """What a 2-D view has to show: the pixels of its level between the corners."""
    (top, left), (bottom, right) = layer.corner_pixels[:, -2:]
    step = 2**layer.data_level
    return PLANE[::step, ::step][top : bottom + 1, left : right + 1]


def drawn_centers(layer, axis):
    """Where napari draws the centres of the pixels of a 2-D view, in pixels of level 0."""
    tile = layer._transforms["tile2data"]
    half = (
        tile.scale[axis] / 2 - 0.5
    )  # the texture begins half a level-0 pixel before the place of its first pixel
    return tile.translate[axis] + np.arange(shown(layer).shape[axis]) * tile.scale[axis] + half


def test_a_plane_larger_than_the_budget_is_exact_at_every_zoom(viewer, add):
    nl.configure(cache_budget=PLANE.nbytes // 4)
    source = plane_source()
    layer = add(source)
    assert layer.multiscale
    levels = set()
    for factor in (0.1, 0.3, 0.6, 1, 4, 0.6, 0.2):
        zoom(viewer, factor, (SIZE / 3, SIZE / 2))
        assert nl.wait(viewer, 20)
        np.testing.assert_array_equal(shown(layer), in_view(layer))
        assert display_of(layer).strides is None
        assert display_of(layer).notice == ""
        assert display_of(layer).finer_nbytes is None
        assert (
            cache.shared.snapshot()["nbytes"] + cache.shared.snapshot()["lent"] <= PLANE.nbytes // 4
        )
        levels.add(layer.data_level)
    assert {0, 2} <= levels


def test_an_overview_decodes_each_chunk_once_and_a_zoom_only_what_it_shows(viewer, add):
    source = plane_source()
    layer = add(source)
    zoom(viewer, 0.2)
    assert nl.wait(viewer, 20)
    assert layer.data_level == 2
    assert len(source.loads) == len(set(source.loads)) == 32 * 32
    source.loads.clear()
    cache.shared.drop()
    zoom(viewer, 8, (SIZE / 2, SIZE / 2))
    assert nl.wait(viewer, 20)
    (top, left), (bottom, right) = layer.corner_pixels
    rows, columns = range(top // 128, bottom // 128 + 1), range(left // 128, right // 128 + 1)
    assert layer.data_level == 0
    assert set(source.loads) == {(0, (row, column)) for row in rows for column in columns}
    assert len(source.loads) == len(rows) * len(columns) < 64


def test_the_pixels_of_each_level_are_drawn_where_they_belong(viewer, add):
    layer = add(plane_source(), scale=(2, 2))
    for factor in (0.1, 0.25, 4):
        zoom(viewer, factor, (SIZE / 2, SIZE / 2))
        assert nl.wait(viewer, 20)
        step = 2**layer.data_level
        for axis in (0, 1):
            first = layer.corner_pixels[0, axis] * step
            size = shown(layer).shape[axis]
            np.testing.assert_allclose(drawn_centers(layer, axis), first + np.arange(size) * step)


def test_odd_sizes_lie_right_too(viewer, add):
    picture = RNG.integers(1, 250, (2049, 1537)).astype("u1")
    layer = add(RecordingSource(picture, (128, 128), axes="yx"))
    layer.locked_data_level = len(layer.data) - 1
    assert nl.wait(viewer, 20)
    step = 2 ** (len(layer.data) - 1)
    np.testing.assert_array_equal(shown(layer), picture[::step, ::step])
    np.testing.assert_allclose(drawn_centers(layer, 0), np.arange(0, 2049, step))
    np.testing.assert_allclose(drawn_centers(layer, 1), np.arange(0, 1537, step))


def test_no_computed_chunk_is_read_to_stand_in_for_a_view_that_takes_less(viewer, add, gates):
    stack = RNG.integers(1, 250, (3, 2048, 2048)).astype("u1")
    gates.open()
    source = RecordingSource(stack, (1, 128, 128), axes="tyx", gate=gates)
    layer = add(source)
    zoom(viewer, 8, (1024, 1024))
    assert nl.wait(viewer, 20)
    source.loads.clear()
    gates.shut()
    viewer.dims.set_current_step(0, 2)
    turn()
    assert "the previous frame" in viewer.canvas.overlays.text.text
    gates.open()
    assert nl.wait(viewer, 20)
    assert layer.data_level == 0
    (top, left), (bottom, right) = layer.corner_pixels[:, 1:]
    np.testing.assert_array_equal(shown(layer), stack[2, top : bottom + 1, left : right + 1])
    assert len(source.loads) == (bottom // 128 - top // 128 + 1) * (right // 128 - left // 128 + 1)
    assert {index[0] for _, index in source.loads} == {2}


def test_an_overview_in_memory_stands_in_while_the_pixels_come(viewer, add, gates):
    nl.configure(cache_budget=2 * PLANE.nbytes)
    gates.open()
    source = plane_source(gates)
    layer = add(source)
    zoom(viewer, 0.2)
    assert nl.wait(viewer, 20)
    gates.shut()
    zoom(viewer, 8, (SIZE / 2, SIZE / 2))
    turn()
    assert layer.data_level == 0
    nearest = [
        np.clip(np.rint(np.arange(first, last + 1) / 4), 0, SIZE // 4 - 1).astype(int)
        for first, last in layer.corner_pixels.T
    ]
    np.testing.assert_array_equal(shown(layer), PLANE[::4, ::4][np.ix_(*nearest)])
    assert "loading (showing coarser pixels)" in viewer.canvas.overlays.text.text
    gates.open()
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(shown(layer), in_view(layer))


def test_the_dock_says_which_pixels_a_computed_level_has(viewer, add):
    layer = add(plane_source())
    zoom(viewer, 0.2)
    assert nl.wait(viewer, 20)
    assert display_of(layer).level_text == "shows level 2 (computed, every 4th pixel)"
    zoom(viewer, 8, (SIZE / 2, SIZE / 2))
    assert nl.wait(viewer, 20)
    assert display_of(layer).level_text == ""


def test_layer_data_is_exact_and_a_crop_of_it_reads_its_own_chunks(viewer, add):
    source = plane_source()
    layer = add(source)
    zoom(viewer, 0.2)
    assert nl.wait(viewer, 20)
    cache.shared.drop()
    source.loads.clear()
    found = nl.crop(layer, (slice(100, 300), slice(0, 100)))
    np.testing.assert_array_equal(found, PLANE[100:300, :100])
    assert sorted(source.loads) == [(0, (0, 0)), (0, (1, 0)), (0, (2, 0))]
    np.testing.assert_array_equal(
        nl.crop(layer, (slice(100, 300), slice(0, 100)), level=2), PLANE[100:300:4, :100:4]
    )


def test_labels_and_colors(viewer, add):
    numbers = RNG.integers(1, 9, (2048, 2048)).astype("u2")
    labels = add(RecordingSource(numbers, (128, 128), axes="yx", kind="labels"))
    colors = RNG.integers(1, 250, (2048, 2048, 3)).astype("u1")
    picture = add(RecordingSource(colors, (128, 128, 3), axes="yxs"))
    zoom(viewer, 0.2)
    assert nl.wait(viewer, 20)
    assert labels.data_level == picture.data_level == 1
    np.testing.assert_array_equal(np.asarray(labels._slice.image.raw), numbers[::2, ::2])
    np.testing.assert_array_equal(shown(picture), colors[::2, ::2])


def test_a_2d_view_of_a_volume_begins_with_the_plane_that_the_sliders_say(viewer, add, monkeypatch):
    monkeypatch.setattr(coarse_levels, "VOLUME_NBYTES", 1 << 16)
    monkeypatch.setattr(coarse_levels, "VOLUME_SIDE", 32)
    monkeypatch.setattr(coarse_levels, "VOLUME_PLANES", 8)
    stack = RNG.integers(1, 250, (64, 64, 96)).astype("u1")
    source = RecordingSource(stack, (1, 64, 96), axes="zyx")
    layer = add(source)
    assert nl.wait(viewer, 20)
    assert layer.metadata[METADATA_KEY].image.source.meta.levels[-1].shape == (8, 32, 24)
    z = viewer.dims.current_step[0]
    assert set(source.loads) == {(0, (z, 0, 0))}
    np.testing.assert_array_equal(shown(layer), stack[z])


def test_a_volume_in_3d_shows_every_kth_plane_first_and_never_reads_beyond_the_budget(
    viewer, add, monkeypatch
):
    monkeypatch.setattr(coarse_levels, "VOLUME_NBYTES", 1 << 16)
    monkeypatch.setattr(coarse_levels, "VOLUME_SIDE", 32)
    monkeypatch.setattr(coarse_levels, "VOLUME_PLANES", 8)
    stack = RNG.integers(1, 250, (64, 64, 96)).astype("u1")
    nl.configure(cache_budget=stack.nbytes // 2)
    source = RecordingSource(stack, (1, 64, 96), axes="zyx")
    layer = add(source)
    assert nl.wait(viewer, 20)
    cache.shared.drop()
    source.loads.clear()
    viewer.dims.ndisplay = 3
    assert nl.wait(viewer, 20)
    assert sorted(index[0] for _, index in source.loads) == list(range(0, 64, 8))
    np.testing.assert_array_equal(shown(layer), stack[::8, ::2, ::4])
    tile = layer._transforms["tile2data"]
    added = (np.array([64, 64, 96]) / layer.data[-1].shape - 1) / 2  # what napari adds in 3-D
    np.testing.assert_allclose(np.array(tile.translate) + added, 0)
    assert tuple(tile.scale) == (8, 2, 4)
    planes = "1 of 8 along z, 1 of 2 along y, 1 of 4 along x"
    assert display_of(layer).level_text == f"3-D shows level 1 of 0 to 1 (computed, {planes})"
    assert display_of(layer).finer_nbytes == stack.nbytes
    displays_of(layer).show_finer(layer)
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(shown(layer), stack)
    np.testing.assert_allclose(np.array(layer._transforms["tile2data"].translate) + added, 0)


def test_a_large_plane_in_3d_is_its_coarsest_level(viewer, add):
    nl.configure(cache_budget=PLANE.nbytes // 4)
    source = plane_source()
    layer = add(source)
    viewer.add_image(np.zeros((2, 64, 64), "u1"))
    assert nl.wait(viewer, 20)
    viewer.dims.ndisplay = 3
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(shown(layer).reshape(1024, 1024), PLANE[::4, ::4])
    assert display_of(layer).finer_nbytes == PLANE.nbytes


def test_a_chunk_that_cannot_be_read_is_told_at_every_zoom(viewer, add, monkeypatch):
    monkeypatch.setattr("napari.utils.notifications.show_warning", lambda _text: None)
    source = plane_source(failing=[(16, 16)])
    layer = add(source)
    zoom(viewer, 0.2)
    assert nl.wait(viewer, 20)
    assert "cannot be read" in viewer.canvas.overlays.text.text
    assert shown(layer)[:256].all()
    source.failing.clear()
    layer.refresh()
    assert nl.wait(viewer, 20)
    until(lambda: not viewer.canvas.overlays.text.visible)
    np.testing.assert_array_equal(shown(layer), in_view(layer))


def test_the_contrast_is_found_from_the_first_part_and_then_from_the_whole(viewer, add, gates):
    nl.configure(workers=2)
    bright = np.full((2048, 2048), 1000, "u2")
    bright[::128, ::128] = np.arange(256).reshape(16, 16) + 1
    source = RecordingSource(bright, (128, 128), axes="yx", gate=gates)
    layer = add(source)
    assert tuple(layer.contrast_limits) == (0, 65535)
    gates.open()
    until(lambda: layer.contrast_limits[1] == 1000)
    assert nl.wait(viewer, 20)
    assert tuple(layer.contrast_limits) == (1, 1000)


def test_contrast_that_the_user_set_meanwhile_stays(viewer, add, gates):
    layer = add(plane_source(gates))
    until(lambda: display_of(layer)._requests.busy)
    layer.contrast_limits = (3, 77)
    gates.open()
    assert nl.wait(viewer, 20)
    assert tuple(layer.contrast_limits) == (3, 77)


def test_a_volume_of_thick_chunks_shows_few_planes_within_the_budget_and_more_on_request(
    viewer, add, monkeypatch
):
    monkeypatch.setattr(coarse_levels, "VOLUME_NBYTES", 1 << 16)
    monkeypatch.setattr(coarse_levels, "VOLUME_SIDE", 32)
    monkeypatch.setattr(coarse_levels, "VOLUME_PLANES", 16)
    stack = RNG.integers(1, 250, (64, 64, 96)).astype("u1")
    nl.configure(cache_budget=stack.nbytes // 2)
    source = RecordingSource(stack, (16, 16, 16), axes="zyx")
    layer = add(source)
    assert nl.wait(viewer, 20)
    cache.shared.drop()
    source.loads.clear()
    viewer.dims.ndisplay = 3
    assert nl.wait(viewer, 20)
    assert len(source.loads) * 16**3 <= stack.nbytes // 2
    step = display_of(layer).strides[0] * 4
    np.testing.assert_array_equal(shown(layer), stack[::step, ::2, ::4])
    assert f"1 of {step // 4} along z" in display_of(layer).notice
    assert tuple(layer._transforms["tile2data"].scale) == (step, 2, 4)
    assert display_of(layer).finer_nbytes == stack.nbytes
    displays_of(layer).show_finer(layer)
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(shown(layer), stack)


@pytest.mark.parametrize("others", [0, 8])
def test_a_volume_far_beyond_the_budget_is_asked_for_twice_before_it_is_held_in_memory(
    viewer, add, monkeypatch, others
):
    monkeypatch.setattr(coarse_levels, "VOLUME_NBYTES", 1 << 16)
    monkeypatch.setattr(coarse_levels, "VOLUME_SIDE", 32)
    stack = RNG.integers(1, 250, (64, 64, 96)).astype("u1")
    nl.configure(cache_budget=stack.nbytes // 8 * (1 + others))  # each layer has its share
    for _ in range(others):
        add(RecordingSource(stack[:2, :2, :2], (2, 2, 2), axes="zyx"))
    layer = add(RecordingSource(stack, (16, 16, 16), axes="zyx"))
    viewer.dims.ndisplay = 3
    assert nl.wait(viewer, 20)
    assert display_of(layer).finer_nbytes == stack.nbytes
    displays_of(layer).show_finer(layer)
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(shown(layer), stack[:, ::2, ::4])
    assert display_of(layer).finer_nbytes == stack.nbytes
    displays_of(layer).show_finer(layer)
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(shown(layer), stack)


def test_what_napari_saves_and_plugins_take_is_the_image_itself(viewer, add, tmp_path):
    source = plane_source()
    layer = add(source)
    assert nl.wait(viewer, 20)
    np.testing.assert_array_equal(np.asarray(layer.data), PLANE)
    layer.save(
        str(tmp_path / "saved.png"), plugin="napari"
    )  # of any layer with levels, TIFF fails in napari
    np.testing.assert_array_equal(imagecodecs.imread(str(tmp_path / "saved.png")), PLANE)
    np.testing.assert_array_equal(
        np.asarray(layer.data[-1]), PLANE[::4, ::4]
    )  # asked for by its number


def test_a_channel_that_is_saved_is_that_channel(viewer, add):
    pixels = RNG.integers(1, 250, (2, 2048, 1024)).astype("u1")
    source = RecordingSource(
        pixels, (1, 256, 256), axes="cyx", channels=tuple(map(ChannelMeta, "ab"))
    )
    add(source)
    for channel, layer in enumerate(viewer.layers):
        np.testing.assert_array_equal(np.asarray(layer.data), pixels[channel])


def test_of_a_pyramid_napari_takes_the_coarsest_level_that_is_stored(viewer, add):
    half = PLANE[::2, ::2].copy()
    layer = add(RecordingSource([PLANE, half], (128, 128), axes="yx"))
    assert len(layer.data) == 3
    np.testing.assert_array_equal(np.asarray(layer.data), half)
