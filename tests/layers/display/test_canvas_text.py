"""What the canvas says comes without a pause, and never over the user's own text."""

from __future__ import annotations

import time
import weakref

import pytest
from napari.components import ViewerModel

from napari_lazyload.layers.display import canvas_text
from napari_lazyload.layers.display.canvas_text import CanvasText
from napari_lazyload.loading import cache


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
    """Return the text of a viewer that draws nothing before it has to."""
    made = CanvasText(
        weakref.ref(model), lambda function, delay=0.0: posted.append((function, delay))
    )
    made._rehearsing = True
    return made


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
    while posted:
        turn(posted)


# --- characters that are drawn before they are said
# -----------------------------------------------------------------


@pytest.fixture
def idle(model, posted):
    """A text that has said nothing yet, and goes through what it may come to say."""
    text = CanvasText(
        weakref.ref(model), lambda function, delay=0.0: posted.append((function, delay))
    )
    text.on_screen = lambda: True
    text.say("")
    return text


def test_likely_characters_are_drawn_unseen_one_at_a_time(model, posted, idle):
    before = overlay(model).opacity
    turn(posted)
    assert not overlay(model).visible  # nobody has looked yet whether it is quiet
    seen = []
    while posted:
        turn(posted)
        if overlay(model).visible:
            assert overlay(model).opacity == 0
            seen.append(overlay(model).text)
    assert seen == list(dict.fromkeys(canvas_text.LIKELY))
    assert (overlay(model).text, overlay(model).visible, overlay(model).opacity) == (
        "",
        False,
        before,
    )
    idle.say("loading")
    assert (overlay(model).text, overlay(model).opacity) == ("loading", before)
    assert not posted  # once and for all


def test_what_is_said_meanwhile_is_seen(model, posted, idle):
    for _ in range(3):
        turn(posted)
    assert overlay(model).opacity == 0
    idle.say("lo")
    assert (overlay(model).text, overlay(model).visible, overlay(model).opacity) == ("lo", True, 1)
    for _ in range(3):
        turn(posted)
    assert overlay(model).text == "lo"


def test_no_character_is_drawn_while_pixels_are_asked_for(model, posted, idle, monkeypatch):
    for _ in range(4):
        monkeypatch.setattr(cache.shared.counters, "hits", cache.shared.counters.hits + 1)
        turn(posted)
        assert not overlay(model).visible
    turn(posted)
    assert overlay(model).visible


def test_no_character_is_drawn_while_the_window_is_busy(model, posted, idle, monkeypatch):
    turn(posted)
    for _ in range(3):
        monkeypatch.setattr(idle, "_due", time.monotonic() - 1)
        turn(posted)
        assert not overlay(model).visible
    turn(posted)
    assert overlay(model).visible


def test_a_text_that_the_user_writes_meanwhile_stays(model, posted, idle):
    turn(posted)
    turn(posted)
    overlay(model).text = "A"
    for _ in range(3):
        turn(posted)
    assert (overlay(model).text, overlay(model).visible, overlay(model).opacity) == ("A", True, 1)


def test_nothing_is_drawn_in_a_window_that_is_not_seen_or_is_closing(model, posted, idle):
    idle.on_screen = lambda: False
    for _ in range(5):
        turn(posted)
        assert not overlay(model).visible
    idle.on_screen = lambda: True
    turn(posted)
    assert overlay(model).visible
    changed = []
    overlay(model).events.connect(changed.append)
    idle.on_screen = lambda: False
    for _ in range(5):
        turn(posted)
    assert changed == []
    idle.on_screen = lambda: True
    idle.say("l")  # it was hidden for a while
    assert (overlay(model).text, overlay(model).opacity) == ("l", 1)


def test_nothing_is_drawn_in_a_window_that_is_gone(model, posted, idle):
    turn(posted)
    idle.close()
    while posted:
        turn(posted)
    assert not overlay(model).visible


def test_each_viewer_draws_its_own_characters(posted):
    for model in (ViewerModel(), ViewerModel()):
        canvas(model, posted).say("ab")
        turn(posted)
        assert overlay(model).text == "a"
        posted.clear()
