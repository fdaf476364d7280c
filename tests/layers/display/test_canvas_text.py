"""What the canvas says comes without a pause, and never over the user's own text."""

from __future__ import annotations

import weakref

import pytest
from napari.components import ViewerModel

from napari_lazyload.layers.display.canvas_text import CanvasText


@pytest.fixture(autouse=True)
def _characters_drawn():
    """No character was drawn yet."""


@pytest.fixture
def posted():
    """What is posted."""
    return []


@pytest.fixture
def model():
    return ViewerModel()


def overlay(model):
    return model.canvas.overlays.text if hasattr(model, "canvas") else model.text_overlay


def canvas(model, posted):
    return CanvasText(
        weakref.ref(model), lambda function, delay=0.0: posted.append((function, delay))
    )


def turn(posted):
    function, delay = posted.pop(0)
    assert delay > 0
    function()


def seen(model):
    """Return what the user can read."""
    text = overlay(model)
    return text.text if text.visible and text.opacity else ""


def turn_to_the_end(model, posted):
    """Return what the user could read after each turn, and how many characters each drew first."""
    read, drawn = [], []
    while posted:
        turn(posted)
        read.append(seen(model))
        drawn.append(overlay(model).text)
    return read, drawn


def test_new_characters_are_drawn_unseen_one_a_turn_then_the_text_is_complete(model, posted):
    text, before = canvas(model, posted), overlay(model).opacity
    text.say("loading")
    assert not overlay(model).visible
    read, drawn = turn_to_the_end(model, posted)
    assert drawn == [*"loading", "loading"]
    assert read == [""] * 7 + ["loading"]
    assert overlay(model).opacity == before
    text.say("a log")  # the blank is new: the old text stays until that is drawn
    assert seen(model) == "loading"
    assert turn_to_the_end(model, posted)[0] == ["", "a log"]
    text.say("gold")
    assert seen(model) == "gold"
    assert not posted
    text.say("")
    assert not overlay(model).visible


def test_the_newest_text_is_what_is_shown(model, posted):
    text = canvas(model, posted)
    text.say("abcdef")
    text.say("gh")
    assert len(posted) == 1
    assert turn_to_the_end(model, posted)[0] == ["", "", "gh"]


def test_nothing_is_shown_of_what_is_no_longer_said(model, posted):
    text, before = canvas(model, posted), overlay(model).opacity
    text.say("abc")
    turn(posted)
    assert overlay(model).visible
    text.say("")
    assert (overlay(model).visible, overlay(model).opacity) == (False, before)
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
    turn_to_the_end(model, posted)
    assert overlay(model).text == "abc"
    overlay(model).text = "taken over"
    text.say("cab")
    assert overlay(model).text == "taken over"


def test_a_text_that_the_user_writes_while_characters_are_drawn_is_seen(model, posted):
    text = canvas(model, posted)
    text.say("loading")
    turn(posted)
    overlay(model).text = "mine"
    turn(posted)
    assert seen(model) == "mine"
    assert not posted


def test_nothing_is_written_once_the_viewer_is_gone(model, posted):
    gone = CanvasText(lambda: None, lambda function, delay=0.0: posted.append((function, delay)))
    gone.say("abc")
    closed = canvas(model, posted)
    closed.say("abc")
    closed.close()
    while posted:
        turn(posted)
    assert not overlay(model).visible


def test_each_viewer_draws_its_own_characters(posted):
    for model in (ViewerModel(), ViewerModel()):
        canvas(model, posted).say("ab")
        turn(posted)
        assert (overlay(model).text, overlay(model).opacity) == ("a", 0)
        posted.clear()
