"""Which way a slider moves, and what is read ahead of it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lazyload.core import settings
from napari_lazyload.layers.display import prefetch as module
from napari_lazyload.layers.display.prefetch import FEWEST, REST_SECONDS, SliderMotion
from napari_lazyload.loading import status
from napari_lazyload.testing.sources import RecordingSource

SEEN = frozenset({2, 3})


@pytest.fixture(autouse=True)
def _known_settings():
    settings.update(workers=4, look_ahead=8, cache_budget=1 << 20)
    yield
    status.shared._reset()


class Slider:
    """Moves over (t, z, y, x), a frame a chunk, at times that the test sets."""

    def __init__(self, monkeypatch, chunks=(1, 1, 4, 5)):
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.source = RecordingSource(np.zeros((40, 30, 4, 5), "u1"), chunks)
        self.motion = SliderMotion()

    def to(self, t, z=0, *, after=0.1, thick=1, plane=((0, 4), (0, 5)), level=0):
        self.now += after
        return self.motion.moved(level, ((t, t + 1), (z, z + thick), *plane), SEEN)

    def reads_take(self, seconds):
        note = status.shared.reporter(self.source.token, 0, (0, 0, 0, 0))
        status.shared.ended(note, 1, seconds)

    def ahead(self, axis=0, *, complete=True):
        return [index[axis] for index in self.motion.next_chunks(self.source, complete=complete)]


@pytest.fixture
def slider(monkeypatch):
    return Slider(monkeypatch)


def test_the_first_view_has_no_direction(slider):
    assert slider.motion.next_chunks(slider.source, complete=True) == []
    assert slider.to(5)
    assert slider.ahead() == []


def test_the_same_view_is_no_movement(slider):
    slider.to(5)
    assert slider.to(6)
    before = slider.ahead()
    assert not slider.to(6, after=5)
    assert slider.ahead() == before


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(5, 6, [7, 8]), (5, 4, [3, 2]), (1, 0, []), (38, 39, [])]
)
def test_it_reads_on_in_the_direction_of_the_slider(slider, first, second, expected):
    slider.to(first)
    slider.to(second, after=9)
    assert slider.ahead() == expected


def test_another_slider_gives_another_direction(slider):
    slider.to(5, 5)
    slider.to(6, 5)
    slider.to(6, 4)
    chunks = slider.motion.next_chunks(slider.source, complete=True)
    assert [index[:2] for index in chunks[:2]] == [(6, 3), (6, 2)]


def test_it_turns_with_the_slider(slider):
    for t in (5, 6, 7, 6):
        slider.to(t)
    assert slider.ahead()[:2] == [5, 4]


def test_even_strides_go_on_and_uneven_ones_go_step_by_step(slider):
    for t in (0, 3, 6):
        slider.to(t)
    assert slider.ahead()[:3] == [9, 12, 15]
    slider.to(8)
    assert slider.ahead()[:3] == [9, 10, 11]
    slider.to(4)
    assert slider.ahead()[:3] == [3, 2, 1]


@pytest.mark.parametrize("stride", [1, 3])
def test_a_movie_that_begins_anew_goes_on_as_before(slider, stride):
    for t in (33, 36, 39) if stride == 3 else (37, 38, 39):
        slider.to(t)
    assert slider.to(0)
    assert slider.ahead()[:2] == [stride, 2 * stride]
    slider.to(stride)
    assert slider.ahead()[:2] == [2 * stride, 3 * stride]


def test_two_sliders_at_once_a_zoom_and_another_level_are_no_direction(slider):
    stops = [
        lambda: slider.to(8, 3),
        lambda: slider.to(7, plane=((0, 2), (0, 5))),
        lambda: slider.to(8, level=1),
    ]
    for stop in stops:
        slider.motion = SliderMotion()
        for t in (5, 6, 7):
            slider.to(t)
        assert slider.ahead()
        assert stop()
        assert slider.ahead() == []


def test_after_a_zoom_a_movie_has_to_show_itself_again(slider):
    slider.reads_take(0.05)
    for t in (5, 6, 7):
        slider.to(t)
    assert slider.ahead(complete=False)
    plane = ((0, 2), (0, 5))
    slider.to(7, plane=plane)
    slider.to(8, plane=plane)
    assert slider.ahead(complete=False) == []
    slider.to(9, plane=plane)
    assert slider.ahead(complete=False)


def test_a_slice_that_grows_thicker_goes_nowhere(slider):
    slider.to(5, 5, thick=2)
    slider.to(5, 5, thick=3)  # as at the first planes, where there are none before
    assert slider.ahead() == []
    slider.to(5, 6, thick=3)
    assert slider.ahead(axis=1)[:2] == [9, 10]


# --- how far


@pytest.mark.parametrize(
    ("seconds", "depth"), [(0.9, FEWEST), (0.3, 4), (0.2, 5), (0.13, 8), (0.01, 8), (0.0, 8)]
)
def test_about_a_second_of_the_movement_is_read(slider, seconds, depth):
    slider.to(4)
    slider.to(5)
    slider.to(6, after=seconds)
    assert slider.ahead() == list(range(7, 7 + depth))


def test_the_first_step_is_slow_whenever_it_comes(slider):
    slider.to(5)
    slider.to(6, after=0.01)
    assert len(slider.ahead()) == FEWEST


def test_a_slider_that_rested_is_slow(slider):
    slider.to(4)
    slider.to(5)
    slider.to(6, after=0.1)
    assert len(slider.ahead()) == 8
    slider.to(7, after=REST_SECONDS + 0.1)
    assert len(slider.ahead()) == FEWEST
    slider.reads_take(0.5)
    assert slider.ahead(complete=False) == []  # steps so far apart are no movie


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_no_more_than_the_setting_says(slider, frames):
    settings.update(look_ahead=frames)
    slider.to(4)
    slider.to(5)
    slider.to(6, after=0.01)
    assert slider.ahead() == [7, 8, 9][:frames]


@pytest.mark.parametrize(("budget", "count"), [(0, 0), (79, 0), (80, 1), (239, 2), (240, 3)])
def test_no_more_than_a_quarter_of_the_budget(slider, budget, count):
    settings.update(cache_budget=budget)
    slider.to(4)
    slider.to(5)
    slider.to(6, after=0.01)
    assert slider.ahead() == [7, 8, 9][:count]  # of 20 bytes each


def test_chunks_count_as_a_whole_however_little_of_them_is_seen(monkeypatch):
    """Else a zoom into large chunks would read the whole cache full, and evict what is seen."""
    slider = Slider(monkeypatch)
    settings.update(cache_budget=160)
    plane = ((0, 1), (0, 1))
    slider.to(4, plane=plane)
    slider.to(5, plane=plane)
    slider.to(6, after=0.01, plane=plane)
    assert slider.ahead() == [7, 8]


def test_thick_chunks_are_read_once(monkeypatch):
    slider = Slider(monkeypatch, (4, 1, 4, 5))
    slider.to(5)
    slider.to(6)
    slider.to(7)
    assert slider.ahead() == [2, 3]


# --- before the view is there


def test_before_the_view_is_there_a_drag_reads_nothing_ahead(slider):
    slider.reads_take(0.05)
    slider.to(5)
    slider.to(6)  # one step is not even yet
    assert slider.ahead(complete=False) == []
    slider.to(8)
    assert slider.ahead(complete=False) == []
    assert slider.ahead(complete=True)


def test_a_movie_reads_as_far_ahead_as_reads_need(slider):
    slider.reads_take(0.25)
    for t in (3, 4, 5):
        slider.to(t, after=0.1)
    found = slider.ahead(
        complete=False
    )  # three steps while a chunk is read: frames 6 and 7 would come too late
    assert found == list(range(9, 17))
    assert slider.ahead(complete=True) == list(range(6, 14))


def test_a_movie_in_strides_or_backwards_does_so_too(slider):
    slider.reads_take(0.05)
    for t in (30, 27, 24):
        slider.to(t)
    assert slider.ahead(complete=False)[:3] == [18, 15, 12]


def test_a_slider_faster_than_the_pool_reads_nothing_ahead_before_the_view_is_there(slider):
    slider.reads_take(0.31)
    for t in (3, 4, 5):
        slider.to(t, after=0.1)  # four reads under way: all threads
    assert slider.ahead(complete=False) == []
    assert slider.ahead(complete=True)


def test_nothing_is_known_of_reads_before_the_first(slider):
    for t in (3, 4, 5):
        slider.to(t)
    assert slider.ahead(complete=False) == []


def test_a_movie_near_its_end_reads_nothing_beyond(slider):
    slider.reads_take(0.25)
    for t in (35, 36, 37):
        slider.to(t, after=0.1)
    assert slider.ahead(complete=False) == []
