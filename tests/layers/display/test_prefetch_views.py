"""What is read before the slider comes to it."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl
from helpers.displays import display_of, shown, turn, until
from napari_lazyload.loading import scheduler
from napari_lazyload.testing.sources import RecordingSource

RNG = np.random.default_rng(0)
STACK = RNG.integers(1, 4000, (40, 16, 24)).astype("u2")
HYPER = RNG.integers(1, 4000, (9, 9, 9, 8, 8)).astype("u2")


def stack_source(gates=None):
    return RecordingSource(STACK, (1, 16, 24), axes="zyx", gate=gates)


def go(viewer, *steps, axis=0):
    for step in steps:
        viewer.dims.set_current_step(axis, step)
        nl.wait(viewer, 10)


def read(source):
    return {index[0] for _, index in source.loads}


def quiet():
    until(lambda: (state := scheduler.shared.snapshot())["queued_prefetch"] + state["running"] == 0)


def test_the_next_frames_in_the_direction_of_the_slider_are_there_before_it(viewer, add, gates):
    gates.open()
    source = stack_source(gates)
    layer = add(source)
    go(viewer, 5, 6, 7)
    until(lambda: {8, 9} <= read(source))
    quiet()
    gates.shut()
    viewer.dims.set_current_step(0, 8)
    np.testing.assert_array_equal(shown(layer), STACK[8])
    assert display_of(layer).settled
    assert len(source.loads) == len(set(source.loads))


def test_turning_round_reads_the_other_way(viewer, add):
    nl.configure(look_ahead=2)
    source = stack_source()
    add(source)
    go(viewer, 5, 10, 11, 12)
    quiet()
    assert 9 not in read(source)
    go(viewer, 11, 10)
    until(lambda: {9, 8} <= read(source))
    quiet()
    assert not set(range(15, 19)) & read(source)


def test_what_is_read_ahead_is_dropped_when_the_slider_jumps(viewer, add, gates):
    nl.configure(workers=2, look_ahead=1)
    gates.open()
    source = stack_source(gates)
    layer = add(source)
    go(viewer, 5, 6)
    quiet()
    assert max(read(source) - {19, 20}) == 7
    nl.configure(look_ahead=8)
    gates.shut()
    viewer.dims.set_current_step(0, 7)  # there already
    until(lambda: 8 in read(source))
    viewer.dims.set_current_step(0, 30)
    gates.open()
    nl.wait(viewer, 10)
    quiet()
    np.testing.assert_array_equal(shown(layer), STACK[30])
    assert not set(range(9, 19)) & read(source)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_slider_is_followed(viewer, add, axis):
    source = RecordingSource(HYPER, (1, 1, 1, 8, 8), axes="tczyx")
    add(source)
    for other in range(3):
        viewer.dims.set_current_step(other, 2)
    nl.wait(viewer, 10)
    go(viewer, 3, 4, axis=axis)
    wanted = [2, 2, 2]
    wanted[axis] = 5
    until(lambda: (0, (*wanted, 0, 0)) in source.loads)


def test_nothing_is_read_ahead_where_the_user_wants_none(viewer, add):
    nl.configure(look_ahead=0)
    source = stack_source()
    add(source)
    go(viewer, 5, 6, 7)
    turn(20)
    assert read(source) <= {5, 6, 7, 19, 20}


def test_what_is_seen_is_read_before_what_comes_next(viewer, add, gates):
    nl.configure(workers=2)
    gates.open()
    source = stack_source(gates)
    layer = add(source)
    go(viewer, 5, 6)
    quiet()
    gates.shut()
    go_ahead = source.loads.copy()
    viewer.dims.set_current_step(0, 7)  # there already; frames further on are being read, and hang
    until(lambda: len(source.loads) > len(go_ahead))
    viewer.dims.set_current_step(0, 25)
    until(lambda: (0, (25, 0, 0)) in source.loads, "look-ahead took the last free thread")
    gates.open()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), STACK[25])


def test_the_play_button_is_followed(viewer, add):
    viewer.window.show()  # napari plays on once a frame is drawn
    source = stack_source()
    layer = add(source)
    go(viewer, 0)
    viewer.window._qt_viewer.dims.play(axis=0, fps=30)
    until(lambda: viewer.dims.current_step[0] >= 12)
    viewer.window._qt_viewer.dims.stop()
    until(lambda: not viewer.window._qt_viewer.dims.is_playing)
    nl.wait(viewer, 10)
    step = viewer.dims.current_step[0]
    np.testing.assert_array_equal(shown(layer), STACK[step])
    until(lambda: step + 2 in read(source))
    assert len(source.loads) == len(set(source.loads))
