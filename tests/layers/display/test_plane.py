"""A view in 2-D while its chunks come in: something at once, exact in the end, marked between."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import napari_lazyload as nl
from helpers.displays import display_of, shown, turn, until
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.layers.display import layer_display as display_module
from napari_lazyload.layers.display import plane, time_budget
from napari_lazyload.layers.display.chunk_requests import ChunkRequests
from napari_lazyload.layers.display.frame import Frame, block_indices
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.read_box import read_block
from napari_lazyload.testing.sources import RecordingSource

RNG = np.random.default_rng(0)
STACK = RNG.integers(1, 4000, (20, 32, 48)).astype("u2")
FINE = RNG.integers(1, 4000, (6, 64, 64)).astype("u2")
PYRAMID = [FINE, FINE[:, ::2, ::2].copy(), FINE[:, ::4, ::4].copy()]

pytestmark = pytest.mark.usefixtures("no_look_ahead")


def stack_source(gates=None, **more):
    return RecordingSource(STACK, (1, 32, 48), axes="zyx", gate=gates, **more)


def pyramid_source(gates=None, **more):
    return RecordingSource(PYRAMID, (1, 16, 16), axes="tyx", gate=gates, **more)


def zoom(viewer, factor):
    """Zoom, and let napari look what that shows: a window that is not seen does not draw."""
    viewer.scene.camera.zoom = factor
    viewer.window._qt_viewer.canvas.on_draw(None)


def show_fine(viewer, layer):
    """Zoom in so far that the finest level is asked for."""
    zoom(viewer, 40)
    assert layer.data_level == 0


def test_a_step_does_not_wait_for_a_slow_read_and_keeps_the_frame_before_marked(viewer, add, gates):
    gates.open()
    layer = add(stack_source(gates))
    nl.wait(viewer, 10)
    before = shown(layer)
    gates.shut()
    viewer.dims.set_current_step(0, 3)
    np.testing.assert_array_equal(shown(layer), before)
    turn()
    np.testing.assert_array_equal(shown(layer), before)
    assert "loading (showing the previous frame)" in viewer.canvas.overlays.text.text
    assert not display_of(layer).settled
    assert layer.get_value((3, 4, 5)) == "loading"
    gates.open()
    assert nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), STACK[3])
    assert not viewer.canvas.overlays.text.visible
    assert layer.get_value((3, 4, 5)) == STACK[3, 4, 5]


def test_what_everybody_else_reads_is_exact_while_the_view_is_not(viewer, add, gates):
    gates.open()
    layer = add(stack_source(gates))
    nl.wait(viewer, 10)
    gates.shut()
    viewer.dims.set_current_step(0, 3)
    found = []
    reader = threading.Thread(target=lambda: found.append(np.asarray(layer.data)))
    reader.start()
    turn()
    assert not found
    gates.open()
    reader.join()
    np.testing.assert_array_equal(found[0], STACK)


def test_a_frame_that_is_there_is_shown_at_once_and_read_no_more(viewer, add, gates):
    gates.open()
    source = stack_source(gates)
    layer = add(source)
    for step in (1, 2):
        viewer.dims.set_current_step(0, step)
        nl.wait(viewer, 10)
    source.loads.clear()
    gates.shut()
    viewer.dims.set_current_step(0, 1)
    np.testing.assert_array_equal(shown(layer), STACK[1])
    assert display_of(layer).settled
    assert source.loads == []


def test_views_that_have_passed_are_not_read(viewer, add, gates, monkeypatch):
    monkeypatch.setattr(scheduler, "SETTLE_SECONDS", 0.5)
    nl.configure(workers=4)
    gates.open()
    source = stack_source(gates)
    layer = add(source)
    nl.wait(viewer, 10)
    gates.shut()
    source.loads.clear()
    for step in range(1, 13):
        viewer.dims.set_current_step(0, step)
        turn(1)
    until(lambda: (0, (12, 0, 0)) in source.loads, "the last view found no free thread")
    assert len(source.loads) <= 3
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), STACK[12])
    assert len(source.loads) <= 3


def test_tiles_come_in_over_a_coarser_level(viewer, add, gates):
    gates.open()
    source = pyramid_source(gates)
    layer = add(source)
    zoom(viewer, 0.2)
    nl.wait(viewer, 10)
    coarse = layer.data_level
    assert coarse > 0
    cache.shared.drop()
    gates.shut()
    source.loads.clear()
    show_fine(viewer, layer)
    step = viewer.dims.current_step[0]
    (top, left), (bottom, right) = layer.corner_pixels[:, 1:]
    expected = np.repeat(np.repeat(PYRAMID[coarse][step], 1 << coarse, 0), 1 << coarse, 1)
    expected = expected[top : bottom + 1, left : right + 1]
    np.testing.assert_array_equal(shown(layer), expected)
    turn()
    assert "loading (showing coarser pixels)" in viewer.canvas.overlays.text.text
    assert layer.get_value((step, 32, 32)) == (0, "loading")
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), FINE[step, top : bottom + 1, left : right + 1])
    assert not viewer.canvas.overlays.text.visible
    assert layer.get_value((step, 32, 32)) == (0, FINE[step, 32, 32])


def test_the_coarse_level_of_another_frame_is_read_before_its_tiles(viewer, add, gates):
    nl.configure(workers=1)
    source = pyramid_source()
    layer = add(source)
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    source.loads.clear()
    viewer.dims.set_current_step(0, 5)
    nl.wait(viewer, 10)
    assert source.loads[0] == (2, (5, 0, 0))
    assert {level for level, _ in source.loads[1:]} == {0}
    nl.configure(coarse_first=False)
    source.loads.clear()
    viewer.dims.set_current_step(0, 4)
    nl.wait(viewer, 10)
    until(lambda: (2, (4, 0, 0)) in source.loads)
    assert source.loads[0][0] == 0


def test_a_coarse_level_that_failed_is_read_again_with_the_next_view(viewer, add):
    source = pyramid_source()
    layer = add(source)
    show_fine(viewer, layer)
    step = viewer.dims.current_step[0] - 1
    source.failing.add(
        (step, 0, 0)
    )  # its coarsest level as a whole, and a corner of the finest one
    viewer.dims.set_current_step(0, step)
    nl.wait(viewer, 10)
    assert (2, (step, 0, 0)) in source.loads
    source.failing.clear()
    source.loads.clear()
    layer.refresh()
    nl.wait(viewer, 10)
    assert (2, (step, 0, 0)) in source.loads


def test_a_coarse_picture_is_kept_for_the_next_view_which_reads_what_was_replaced(viewer, add):
    layer = add(pyramid_source())
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    view = display_of(layer)._view
    coarse = view._coarse
    layer.refresh()
    assert view._coarse is coarse
    coarse.mark_missing(block_indices(coarse.source, coarse.level, coarse.box)[0])
    layer.refresh()
    assert view._coarse is coarse
    until(lambda: coarse.complete)


def test_a_coarse_level_of_many_chunks_is_not_read_for_each_view(viewer, add, monkeypatch):
    monkeypatch.setattr(plane, "MOST_COARSE", 3)  # of 4 at the coarsest level
    source = RecordingSource(PYRAMID, (1, 8, 8), axes="tyx")
    layer = add(source)
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    source.loads.clear()
    viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % 6)
    nl.wait(viewer, 10)
    assert {level for level, _ in source.loads} == {0}


def test_each_chunk_of_a_view_is_read_once_and_no_other(viewer, add):
    source = pyramid_source()
    layer = add(source)
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    source.loads.clear()
    viewer.dims.set_current_step(0, 5)
    nl.wait(viewer, 10)
    assert len(source.loads) == len(set(source.loads))
    (top, left), (bottom, right) = layer.corner_pixels[:, 1:]
    rows, columns = range(top // 16, bottom // 16 + 1), range(left // 16, right // 16 + 1)
    tiles = {(0, (5, row, column)) for row in rows for column in columns}
    assert set(source.loads) == tiles | {(2, (5, 0, 0))}


def test_layers_load_at_the_same_time(viewer, add, gates):
    nl.configure(workers=4)
    channels = tuple(map(ChannelMeta, "abcd"))
    pixels = RNG.integers(1, 100, (3, 4, 8, 8)).astype("u1")
    gates.open()
    source = RecordingSource(pixels, (1, 1, 8, 8), axes="tcyx", gate=gates, channels=channels)
    add(source)
    nl.wait(viewer, 10)
    gates.shut()
    source.loads.clear()
    viewer.dims.set_current_step(0, 2)
    until(lambda: len(source.loads) == 4, "not all channels are being read")
    gates.open()
    nl.wait(viewer, 10)
    for channel, layer in enumerate(viewer.layers):
        np.testing.assert_array_equal(shown(layer), pixels[2, channel])


def test_all_layers_of_one_step_wait_together_no_longer_than_one(viewer, add, gates, monkeypatch):
    waited = []
    gates.open()
    for _ in range(4):
        add(stack_source(gates))
    nl.wait(viewer, 10)
    gates.shut()
    monkeypatch.setattr(
        time_budget.FrameBudget, "remaining", counted(time_budget.FrameBudget.remaining, waited)
    )
    viewer.dims.set_current_step(0, 4)
    assert len(waited) >= 2
    assert sum(waited) <= 2 * time_budget.WAIT_SECONDS
    gates.open()
    nl.wait(viewer, 10)


def counted(left, waited):
    def asked(self):
        waited.append(left(self))
        return waited[-1]

    return asked


def test_colors_and_labels_are_shown_as_they_come(viewer, add, gates):
    colors = RNG.integers(1, 255, (4, 16, 16, 3)).astype("u1")
    numbers = RNG.integers(1, 9, (4, 16, 16)).astype("u2")
    gates.open()
    layer = add(RecordingSource(colors, (1, 8, 8, 3), axes="tyxs", gate=gates))
    labels = add(RecordingSource(numbers, (1, 8, 8), axes="tyx", gate=gates, kind="labels"))
    nl.wait(viewer, 10)
    before = shown(layer)
    gates.shut()
    viewer.dims.set_current_step(0, 3)
    np.testing.assert_array_equal(shown(layer), before)
    assert labels.get_value((3, 1, 1)) is None
    assert layer.get_value((3, 1, 1)) == "loading"
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), colors[3])
    assert labels.get_value((3, 1, 1)) == numbers[3, 1, 1]
    np.testing.assert_array_equal(np.asarray(labels._slice.image.raw), numbers[3])


def test_a_thick_slice_is_projected_as_napari_does(viewer, add):
    layer = add(stack_source())
    layer.projection_mode = "max"
    viewer.dims.set_point(0, 8)
    viewer.dims.thickness = (4, 0, 0)
    nl.wait(viewer, 10)
    expected = viewer.add_image(STACK, projection_mode="max", visible=True)
    np.testing.assert_array_equal(shown(layer), shown(expected))


def test_a_chunk_that_comes_late_is_not_shown_in_another_view(viewer, add, gates):
    gates.open()
    layer = add(stack_source(gates))
    nl.wait(viewer, 10)
    viewer.dims.set_current_step(0, 7)
    nl.wait(viewer, 10)
    gates.shut()
    viewer.dims.set_current_step(0, 3)
    turn()
    viewer.dims.set_current_step(0, 7)
    np.testing.assert_array_equal(shown(layer), STACK[7])
    gates.open()
    until(lambda: status.shared.state(layer.data.source.token, 0, (3, 0, 0)) == "loaded")
    turn()
    np.testing.assert_array_equal(shown(layer), STACK[7])
    assert display_of(layer).notice == ""


@pytest.mark.parametrize("fault", ["fails", "raises", "shape"])
def test_a_source_with_faults_leaves_blanks_and_the_slider_alive(viewer, add, fault, monkeypatch):
    monkeypatch.setattr("napari.utils.notifications.show_warning", lambda _text: None)
    source = pyramid_source()
    layer = add(source)
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    row, column = (corner // 16 for corner in layer.corner_pixels[0, 1:])
    bad = (5, row, column)
    if fault == "fails":
        source.failing.add(bad)
    else:
        chunk = source.chunk
        source.chunk = lambda level, index: (
            Broken(fault) if (level, index) == (0, bad) else chunk(level, index)
        )
    viewer.dims.set_current_step(0, 5)
    nl.wait(viewer, 10)
    found = shown(layer)
    assert not found[:16, :16].any()
    assert found[16:, 16:].all()
    (error,) = display_of(layer).failures
    assert isinstance(error, nl.ChunkReadError)
    assert "cannot be read" in viewer.canvas.overlays.text.text
    viewer.dims.set_current_step(0, 4)
    nl.wait(viewer, 10)
    assert not viewer.canvas.overlays.text.visible


class Broken:
    """A chunk of a source that does not keep its promises."""

    def __init__(self, fault):
        self.key = ("broken", id(self))
        self._fault = fault

    def load(self):
        if self._fault == "raises":
            raise KeyError("what the source never said")
        return np.zeros((1, 3, 3), "u2")


def test_a_read_that_hangs_holds_up_neither_the_slider_nor_the_other_reads(
    viewer, add, gates, monkeypatch
):
    monkeypatch.setattr(scheduler, "STALL_SECONDS", 0.1)
    nl.configure(workers=2)
    hanging = add(stack_source(gates))
    fine = add(stack_source())
    for step in range(1, 8):
        viewer.dims.set_current_step(0, step)
        until(lambda step=step: display_of(fine).settled, "a hanging read took the last thread")
        np.testing.assert_array_equal(shown(fine), STACK[step])
    assert not display_of(hanging).settled


def test_a_budget_smaller_than_one_chunk_still_shows_every_frame(viewer, add):
    nl.configure(cache_budget=100)
    layer = add(stack_source())
    for step in (3, 4):
        viewer.dims.set_current_step(0, step)
        assert nl.wait(viewer, 10)
        strides = display_of(layer).strides
        rows, columns = (1, 1) if strides is None else strides[1:]
        np.testing.assert_array_equal(shown(layer), STACK[step, ::rows, ::columns])
    assert cache.shared.nbytes <= 100


def test_a_hidden_layer_reads_nothing_and_comes_back(viewer, add, gates):
    source = stack_source(gates)
    layer = add(source)
    turn()
    layer.visible = False
    gates.open()
    until(lambda: display_of(layer)._requests.busy is False)
    source.loads.clear()
    viewer.dims.set_current_step(0, 5)
    turn()
    assert source.loads == []
    layer.visible = True
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), STACK[5])


def test_cancelled_loading_says_so_and_goes_on_when_asked_again(viewer, add, gates):
    nl.configure(workers=1)
    gates.open()
    source = pyramid_source(gates)
    layer = add(source)
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    gates.shut()
    viewer.dims.set_current_step(0, 5)
    display_of(layer).cancel()
    gates.open()
    until(lambda: not display_of(layer)._requests.busy)
    turn(20)
    assert "not loaded" in viewer.canvas.overlays.text.text
    assert not display_of(layer).settled
    layer.refresh()
    nl.wait(viewer, 10)
    assert shown(layer).all()
    assert display_of(layer).notice == ""


def test_chunks_that_come_together_are_one_event(viewer, add, monkeypatch):
    layer = add(stack_source())
    nl.wait(viewer, 10)
    display, posted = display_of(layer), []
    monkeypatch.setattr(display, "_post", lambda function, *_: posted.append(function))
    for times in (1, 2):
        for _ in range(3):
            display._refresh_soon(finished=False)
        assert posted == [display._refresh] * times
        display._refresh()


def test_a_view_that_takes_long_is_shown_anew_less_and_less_often(viewer, add):
    layer = add(stack_source())
    nl.wait(viewer, 10)
    display = display_of(layer)
    for age, least in ((0, 0), (display_module.SELDOM_SECONDS * 2, 0.9 / 2), (60, 0.9)):
        display._asked_at = time.monotonic() - age
        display._view.shown_state = ()
        display._refresh()
        left = display._next_refresh - time.monotonic()
        assert left > least * display_module.SELDOM_SECONDS
    viewer.dims.set_current_step(0, 3)
    assert time.monotonic() - display._asked_at < 60


def test_a_layer_that_is_removed_reads_no_further(viewer, add, gates):
    nl.configure(workers=2)
    source = RecordingSource(FINE, (1, 16, 16), axes="tyx", gate=gates)
    layer = add(source)
    until(lambda: len(source.loads) == 2)
    viewer.layers.remove(layer)
    gates.open()
    until(lambda: not scheduler.shared.snapshot()["running"])
    assert len(source.loads) == 2


def test_two_layers_of_one_source_read_each_chunk_once(viewer, add):
    source = stack_source()
    one, two = add(source), add(source)
    source.loads.clear()
    viewer.dims.set_current_step(0, 4)
    nl.wait(viewer, 10)
    assert source.loads == [(0, (4, 0, 0))]
    np.testing.assert_array_equal(shown(one), shown(two))


def test_the_layer_that_napari_loads_progressively_itself_is_left_to_it(viewer, add):
    source = pyramid_source(metadata={"progressive_loader": True})
    layer = add(source)
    assert not display_of(layer).hooked
    assert "_slice_request_class" not in vars(layer._slicing_state)


def test_new_data_of_another_source_is_shown(viewer, add):
    layer = add(stack_source())
    nl.wait(viewer, 10)
    other = RecordingSource(STACK[::-1].copy(), (1, 32, 48), axes="zyx")
    layer.data = nl.Image(other).data
    viewer.dims.set_current_step(0, 2)
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), STACK[::-1][2])
    layer.data = STACK
    np.testing.assert_array_equal(shown(layer), STACK[2])


def test_the_status_bar_says_loading_and_then_the_value(viewer, add, gates):
    gates.open()
    layer = add(stack_source(gates))
    nl.wait(viewer, 10)
    viewer.mouse_over_canvas = True
    gates.shut()
    viewer.dims.set_current_step(0, 3)
    viewer.cursor.position = (3, 4, 5)
    viewer.update_status_from_cursor()
    assert viewer.status["value"] == "loading"
    gates.open()
    nl.wait(viewer, 10)
    until(lambda: viewer.status["value"] == str(STACK[3, 4, 5]))
    assert layer.get_value((3, 4, 5)) == STACK[3, 4, 5]


def test_contrast_limits_are_there_before_the_first_picture_is_drawn(add, monkeypatch):
    monkeypatch.setattr("napari_lazyload.layers.display.time_budget.WAIT_SECONDS", 10)
    pixels = np.arange(100, 164, dtype="u2").reshape(1, 8, 8)
    layer = add(RecordingSource(pixels, (1, 8, 8)))  # no turn of the event loop since
    assert tuple(layer.contrast_limits) == (100, 163)


def test_a_view_that_takes_long_stands_in_whole_and_is_read_once_the_window_had_its_turn(
    viewer, add, gates, monkeypatch
):
    gates.open()
    source = pyramid_source(gates)
    layer = add(source)
    show_fine(viewer, layer)
    nl.wait(viewer, 10)
    monkeypatch.setattr(ChunkRequests, "expected_within_budget", lambda *_: False)
    (top, left), (bottom, right) = layer.corner_pixels[:, 1:]
    read_block(source, 0, (3, top // 16, left // 16))
    source.loads.clear()
    painted = []
    monkeypatch.setattr(Frame, "_paint_chunk", lambda *_: painted.append("a chunk"))
    viewer.dims.set_current_step(0, 3)
    assert (source.loads, painted) == ([], [])
    assert shown(layer).any()
    assert display_of(layer).notice.startswith("loading")
    monkeypatch.undo()
    assert nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), FINE[3, top : bottom + 1, left : right + 1])


def test_of_views_in_one_turn_the_last_one_is_read(viewer, add, gates, monkeypatch):
    gates.open()
    source = stack_source(gates)
    layer = add(source)
    nl.wait(viewer, 10)
    monkeypatch.setattr(ChunkRequests, "expected_within_budget", lambda *_: False)
    source.loads.clear()
    for step in (3, 4, 5):
        viewer.dims.set_current_step(0, step)
    assert nl.wait(viewer, 10)
    assert source.loads == [(0, (5, 0, 0))]
    np.testing.assert_array_equal(shown(layer), STACK[5])
    viewer.dims.set_current_step(0, 7)
    viewer.layers.clear()
    turn()
    assert len(source.loads) == 1
