"""What the canvas says comes without a pause, and never over the user's own text."""

from __future__ import annotations

import weakref

import pytest
from napari.components import ViewerModel

from napari_lazyload.layers import canvas_text
from napari_lazyload.layers.canvas_text import CanvasText


@pytest.fixture
def posted(monkeypatch):
    """What is posted, and no character drawn yet."""
    monkeypatch.setattr(canvas_text, "_drawn", set())
    return []


@pytest.fixture
def model():
    return ViewerModel()


def overlay(model):
    return model.canvas.overlays.text if hasattr(model, "canvas") else model.text_overlay


def canvas(model, posted):
    return CanvasText(weakref.ref(model), lambda function, delay=0.0: posted.append((function, delay)))


def turn(posted):
    function, delay = posted.pop(0)
    assert delay > 0
    function()


def test_new_characters_are_drawn_later_and_one_at_a_time(model, posted):
    text = canvas(model, posted)
    text.say("loading")
    assert not overlay(model).visible
    seen = []
    while posted:
        turn(posted)
        seen.append(overlay(model).text)
    assert seen == ["loading"[:length] for length in range(1, 8)]
    assert overlay(model).visible
    text.say("gold and lo")  # the blank is new: what is there stays until then
    assert overlay(model).text == "loading"
    turn(posted)
    assert overlay(model).text == "gold and lo"
    text.say("a log")
    assert overlay(model).text == "a log"
    assert not posted
    text.say("")
    assert not overlay(model).visible


def test_the_newest_text_is_what_grows(model, posted):
    text = canvas(model, posted)
    text.say("abcdef")
    text.say("ghijkl")
    assert len(posted) == 1
    turn(posted)
    assert overlay(model).text == "g"
    text.say("")
    turn(posted)
    assert not overlay(model).visible
    assert not posted


def test_a_text_of_the_users_own_stays(model, posted):
    text = canvas(model, posted)
    overlay(model).text, overlay(model).visible = "mine", True
    text.say("abc")
    turn(posted)
    assert overlay(model).text == "mine"
    overlay(model).visible = False
    text.say("abc")
    for _ in range(3):
        turn(posted)
    assert overlay(model).text == "abc"
    overlay(model).text = "taken over"
    text.say("cab")
    assert overlay(model).text == "taken over"


def test_nothing_is_written_once_the_viewer_is_gone(posted):
    gone = CanvasText(lambda: None, lambda function, delay=0.0: posted.append((function, delay)))
    gone.say("abc")
    turn(posted)
    assert not posted
