"""What the canvas says of lazy layers, unless the user has a text there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lazyload.layers.display import Post

NEXT_SECONDS = 0.03

_drawn: set[str] = set()
"""Characters that some text had: napari takes 8 ms and more for the shape of each, once."""


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

        What napari draws for the first time takes it a while: new characters wait until the layer they tell of is on
        the screen, and come one at a time.
        """
        self._wanted = text
        if set(text) - _drawn:
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
        text = _with_one_new(self._wanted)
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


def _with_one_new(text: str) -> str:
    """Return a text as far as its second character that was never drawn; the first one counts as drawn then."""
    new = list(dict.fromkeys(character for character in text if character not in _drawn))
    _drawn.update(new[:1])
    return text[: text.index(new[1])] if len(new) > 1 else text
