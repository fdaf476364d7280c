"""A view in 3-D while it comes in: the plane before, coarse at once, finer as far as it fits."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl
from helpers.displays import Gates, display_of, shown, turn, until
from napari_lazyload.layers.display import napari_requests, subsampling
from napari_lazyload.layers.display.chunk_requests import ChunkRequests
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.loading import cache
from napari_lazyload.testing.sources import RecordingSource

RNG = np.random.default_rng(0)
FINE = RNG.integers(1, 4000, (3, 16, 32, 48)).astype("u2")
PYRAMID = [FINE, FINE[:, ::2, ::2, ::2].copy(), FINE[:, ::4, ::4, ::4].copy()]

pytestmark = pytest.mark.usefixtures("no_look_ahead")


def pyramid_source(gates=None, **more):
    return RecordingSource(PYRAMID, (1, 4, 16, 16), axes="tzyx", gate=gates, **more)


def tile_scale(layer):
    return tuple(layer._transforms["tile2data"].scale)


def test_the_switch_waits_for_nothing_and_keeps_the_plane_in_its_place(viewer, add, gates):
    gates.open()
    layer = add(pyramid_source(gates), scale=(1, 3, 1, 1))
    viewer.dims.set_current_step(1, 5)
    nl.wait(viewer, 10)
    plane = shown(layer)
    cache.shared.drop()
    gates.shut()
    viewer.dims.ndisplay = 3
    np.testing.assert_array_equal(shown(layer), plane[None])
    assert layer._transforms["tile2data"].translate[1] == 5
    turn()
    assert "loading (showing the previous frame)" in viewer.canvas.overlays.text.text
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), FINE[viewer.dims.current_step[0]])
    assert not viewer.canvas.overlays.text.visible


def test_a_plane_that_is_too_large_for_a_texture_is_thinned_out_in_its_place(
    viewer, add, gates, monkeypatch
):
    monkeypatch.setattr(napari_requests, "MAX_SIDE", 20)
    gates.open()
    layer = add(pyramid_source(gates), scale=(1, 3, 1, 1))
    viewer.dims.set_current_step(1, 5)
    nl.wait(viewer, 10)
    plane, place = shown(layer), layer._transforms["tile2data"]
    expected = place(np.array([0, 0, 3, 6]))
    step = -(-max(plane.shape) // 20)
    cache.shared.drop()
    gates.shut()
    viewer.dims.ndisplay = 3
    np.testing.assert_array_equal(shown(layer), plane[None, ::step, ::step])
    moved = layer._transforms["tile2data"](np.array([0, 0, 3 / step, 6 / step]))
    np.testing.assert_allclose(moved[2:], expected[2:])
    gates.open()
    nl.wait(viewer, 10)


@pytest.mark.parametrize("soon", [True, False])
def test_the_switch_gives_a_moment_to_what_comes_in_one_and_to_nothing_else(
    viewer, add, monkeypatch, soon
):
    add(pyramid_source())
    nl.wait(viewer, 10)
    waited, wait = [], ChunkRequests.wait
    monkeypatch.setattr(
        ChunkRequests,
        "wait",
        lambda reading, frame: (waited.append(frame), wait(reading, frame))[1],
    )
    monkeypatch.setattr(ChunkRequests, "expected_within_budget", lambda *_: soon)
    cache.shared.drop()
    viewer.dims.ndisplay = 3
    assert len(waited) == soon


class Turnstile(Gates):
    """Lets one chunk through, then none until it is opened."""

    def __init__(self):
        super().__init__()
        self._first = True

    def wait(self, seconds):
        if self._first:
            self._first = False
            return True
        return super().wait(seconds)


def test_a_coarse_volume_tells_no_values_while_a_finer_one_comes(viewer, add):
    gate = Turnstile()
    viewer.dims.ndisplay = 3
    layer = add(pyramid_source(gate))
    try:
        until(lambda: shown(layer).shape == PYRAMID[2].shape[1:])
        assert layer._data_view[2, 4, 6] is None
    finally:
        gate.open()
    nl.wait(viewer, 10)
    t = viewer.dims.current_step[0]
    assert layer._data_view[2, 4, 6] == FINE[t, 2, 4, 6]


def test_the_switch_reads_ahead_no_more(viewer, add, monkeypatch):
    nl.configure(look_ahead=4)
    stack = RNG.integers(1, 9, (40, 8, 8, 8)).astype("u1")
    add(RecordingSource(stack, (1, 1, 8, 8), axes="tzyx"))
    nl.wait(viewer, 10)
    wanted, want = [], ChunkRequests.prefetch
    monkeypatch.setattr(
        ChunkRequests,
        "prefetch",
        lambda reading, *what: (wanted.append(what[1]), want(reading, *what))[1],
    )
    for step in (1, 2, 3):
        viewer.dims.set_current_step(0, step)
        nl.wait(viewer, 10)
    assert wanted[-1]
    viewer.dims.ndisplay = 3
    assert wanted[-1] == []


def test_levels_come_coarsest_first_each_once_up_to_the_finest_that_fits(viewer, add):
    source = pyramid_source()
    layer = add(source)
    nl.wait(viewer, 10)
    cache.shared.drop()
    source.loads.clear()
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    t = viewer.dims.current_step[0]
    np.testing.assert_array_equal(shown(layer), FINE[t])
    assert tile_scale(layer) == (1, 1, 1, 1)
    levels = [level for level, _ in source.loads]
    assert levels == sorted(levels, reverse=True)
    assert len(set(source.loads)) == len(source.loads)
    assert display_of(layer).level_text == "3-D shows level 0 of 0 to 2"
    assert display_of(layer).finer_nbytes is None

    nl.configure(cache_budget=FINE[0].nbytes - 1)
    viewer.dims.ndisplay = 2
    nl.wait(viewer, 10)
    source.loads.clear()
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), PYRAMID[1][t])
    assert tile_scale(layer) == (1, 2, 2, 2)
    assert display_of(layer).level_text == "3-D shows level 1 of 0 to 2"
    assert display_of(layer).finer_nbytes == FINE[0].nbytes
    assert 0 not in {level for level, _ in source.loads}

    cache.shared.drop()
    displays_of(layer).show_finer(layer)
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), FINE[t])
    assert [level for level, _ in source.loads].count(
        1
    ) == 4  # what is seen already is not read again
    np.testing.assert_array_equal(np.asarray(layer.data[0]), FINE)


def test_a_level_that_would_be_decoded_beyond_the_budget_is_left_for_a_click(viewer, add):
    nl.configure(cache_budget=2 * FINE[0].nbytes)
    source = RecordingSource(PYRAMID, FINE.shape, axes="tzyx")  # one chunk has all times
    layer = add(source)
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), PYRAMID[1][viewer.dims.current_step[0]])
    assert display_of(layer).finer_nbytes == FINE.nbytes


def test_another_time_keeps_the_volume_before(viewer, add, gates):
    gates.open()
    layer = add(pyramid_source(gates))
    viewer.dims.ndisplay = 3
    viewer.dims.set_current_step(0, 0)
    nl.wait(viewer, 10)
    gates.shut()
    viewer.dims.set_current_step(0, 2)
    np.testing.assert_array_equal(shown(layer), FINE[0])
    turn()
    assert "the previous frame" in viewer.canvas.overlays.text.text
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), FINE[2])


def test_the_card_limits_the_level_too(viewer, add, monkeypatch):
    monkeypatch.setattr(subsampling, "MAX_SIDE", 24)
    layer = add(pyramid_source())
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), PYRAMID[1][viewer.dims.current_step[0]])


def test_a_level_that_the_user_holds_on_to_is_shown(viewer, add):
    layer = add(pyramid_source())
    layer.locked_data_level = 2
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), PYRAMID[2][viewer.dims.current_step[0]])
    assert layer.locked_data_level == 2


def test_a_stack_without_a_pyramid_shows_some_planes_first_where_they_belong(viewer, add, gates):
    stack = RNG.integers(1, 255, (40, 8, 12)).astype("u1")
    gates.open()
    source = RecordingSource(stack, (1, 8, 12), axes="zyx", gate=gates)
    layer = add(source)
    nl.wait(viewer, 10)
    cache.shared.drop()
    source.loads.clear()
    viewer.dims.ndisplay = 3
    until(lambda: display_of(layer).strides is not None or display_of(layer).settled)
    nl.wait(viewer, 10)
    first = [index[0] for _, index in source.loads[:8]]
    assert sorted(first) == list(range(0, 40, 5))
    assert len(source.loads) == 40
    np.testing.assert_array_equal(shown(layer), stack)
    assert tile_scale(layer) == (1, 1, 1)
    assert not viewer.canvas.overlays.text.visible


def test_a_chunk_that_fails_is_blank_in_a_volume_and_told(viewer, add, monkeypatch):
    monkeypatch.setattr("napari.utils.notifications.show_warning", lambda _text: None)
    source = pyramid_source(failing=[(1, 0, 0, 0)])
    layer = add(source)
    viewer.dims.set_current_step(0, 1)
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    found = shown(layer)
    assert not found[:4, :16, :16].any()
    assert found[4:].all()
    assert "cannot be read" in viewer.canvas.overlays.text.text
    source.failing.clear()
    layer.refresh()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), FINE[1])


def test_colors_come_in_3d_too(viewer, add, gates):
    colors = RNG.integers(1, 255, (8, 12, 10, 3)).astype("u1")
    gates.open()
    layer = add(RecordingSource(colors, (1, 12, 10, 3), axes="zyxs", gate=gates))
    nl.wait(viewer, 10)
    cache.shared.drop()
    gates.shut()
    viewer.dims.ndisplay = 3
    assert shown(layer).shape[0] == 1
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), colors)


def test_the_budget_makes_room_for_the_volume_and_gets_it_back(viewer, add):
    layer = add(pyramid_source())
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    assert cache.shared.snapshot()["lent"] == FINE[0].nbytes
    viewer.layers.remove(layer)
    assert cache.shared.snapshot()["lent"] == 0


def test_layers_share_one_memory_budget(viewer, add):
    budget = 2 * FINE[0].nbytes
    nl.configure(cache_budget=budget)
    first = add(pyramid_source())
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    t = viewer.dims.current_step[0]
    np.testing.assert_array_equal(shown(first), FINE[t])
    others = [add(pyramid_source()) for _ in range(3)]
    turn()
    nl.wait(viewer, 10)
    for layer in (first, *others):
        np.testing.assert_array_equal(shown(layer), PYRAMID[1][t])
    held = cache.shared.snapshot()["lent"]
    assert 0 < held < budget
    for layer in others:
        layer.visible = False
    turn()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(first), FINE[t])
    nl.configure(cache_budget=budget - 1)  # what it holds is more than half of it: the rest goes
    others[0].visible = True
    others[0].visible = False
    turn()
    assert cache.shared.snapshot()["lent"] == FINE[0].nbytes
    viewer.layers.remove(others[0])
    nl.configure(cache_budget=budget)
    others[1].visible = True
    turn()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(others[1]), FINE[t])


def test_back_to_2d_shows_the_plane_at_once(viewer, add, gates):
    gates.open()
    layer = add(pyramid_source(gates))
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    gates.shut()
    viewer.dims.ndisplay = 2
    viewer.window._qt_viewer.canvas.on_draw(
        None
    )  # a window that is not seen does not draw: napari looks at the level
    assert layer.data_level == 0
    t, z = viewer.dims.current_step[:2]
    (top, left), (bottom, right) = layer.corner_pixels[:, 2:]
    np.testing.assert_array_equal(shown(layer), FINE[t, z, top : bottom + 1, left : right + 1])


@pytest.mark.parametrize("axes", ["yx", "yxs"])
def test_a_single_picture_in_3d_is_the_picture(viewer, add, axes):
    picture = RNG.integers(1, 255, (20, 30, 3)[: len(axes)]).astype("u1")
    layer = add(RecordingSource(picture, (8, 8, 3)[: len(axes)], axes=axes))
    viewer.add_image(np.zeros((4, 20, 30), "u1"))
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer).reshape(picture.shape), picture)
    viewer.dims.ndisplay = 2
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), picture)


def test_a_pointer_that_has_not_moved_since_2d_spoils_nothing(viewer, add, gates):
    gates.open()
    numbers = np.arange(6 * 16 * 16, dtype="u2").reshape(6, 16, 16)
    source = RecordingSource(numbers, (1, 8, 8), axes="zyx", kind="labels", gate=gates)
    add(
        source, features={"index": [1, 2], "name": ["one", "two"]}
    )  # napari looks for these along the pointer's ray
    nl.wait(viewer, 10)
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (2, 8, 8)
    gates.shut()
    viewer.dims.ndisplay = 3
    turn()
    gates.open()
    nl.wait(viewer, 10)
    turn()  # what is raised there fails the test
    np.testing.assert_array_equal(np.asarray(viewer.layers[0]._slice.image.raw), numbers)


def test_labels_in_3d(viewer, add):
    numbers = RNG.integers(1, 9, (4, 8, 8)).astype("u2")
    layer = add(RecordingSource(numbers, (1, 8, 8), axes="zyx", kind="labels"))
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(np.asarray(layer._slice.image.raw), numbers)
