"""Texts as they are shown."""

from __future__ import annotations

import pytest

from napari_lazyload.core.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain µ 語", "plain µ 語"),
        ("\x1b[2J\x07\r\n\t", r"\x1b[2J\x07\r\n\t"),
        ("\u202ea\u2066\ufeff", r"\u202ea\u2066\ufeff"),
        ("\udc80\U000e0041", r"\udc80\U000e0041"),
        ("\u200c\u200d\xa0", "\u200c\u200d\xa0"),
    ],
)
def test_a_line_for_a_terminal(text, shown):
    assert printable(text) == shown
