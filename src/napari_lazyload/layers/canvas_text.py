"""What the canvas says of lazy layers, unless the user has a text there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lazyload.layers.display import Post

NEW_AT_ONCE = 3
"""Characters that no text had before: napari takes some 8 ms for the shape of each, once."""

NEXT_SECONDS = 0.03

_drawn: set[str] = set()


class CanvasText:
    """Writes into the text overlay of a viewer while nobody else does.

    Parameters
    ----------
    viewer : weakref.ref of napari.Viewer
        Whose canvas.
    post : callable
        Runs a function in the main thread, later.
    """

    def __init__(self, viewer: Any, post: Post) -> None:
        self._viewer = viewer
        self._post = post
        self._wanted = ""
        self._written: str | None = None
        self._posted = False

    def say(self, text: str) -> None:
        """Show a text, or none where it is empty.

        What napari draws for the first time takes it a while: the first text of all waits until the layer it tells
        of is on the screen, and new characters come a few at a time.
        """
        self._wanted = text
        if text and not _drawn:
            self._write_later()
        else:
            self._write()

    def _write(self) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        overlay = viewer.canvas.overlays.text if hasattr(viewer, "canvas") else viewer.text_overlay
        if self._written is None and overlay.visible:
            return  # the user's own
        if self._written is not None and overlay.text != self._written:
            self._written = None  # the user took it over
            return
        text = _with_few_new(self._wanted)
        overlay.text, overlay.visible = text, bool(text)
        if text and self._written is None:
            overlay.position = "top_left"  # notifications come up at the bottom
        self._written = text or None
        if text != self._wanted:
            self._write_later()

    def _write_later(self) -> None:
        if not self._posted:
            self._posted = True
            self._post(self._write_posted, NEXT_SECONDS)

    def _write_posted(self) -> None:
        self._posted = False
        self._write()


def _with_few_new(text: str) -> str:
    """Return as much of a text as has few characters that were never drawn, which then count as drawn."""
    new: set[str] = set()
    for place, character in enumerate(text):
        if character not in _drawn and character not in new:
            if len(new) == NEW_AT_ONCE:
                text = text[:place]
                break
            new.add(character)
    _drawn.update(new)
    return text
