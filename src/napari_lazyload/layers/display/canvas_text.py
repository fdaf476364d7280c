"""What the canvas says of lazy layers, unless the user has a text there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lazyload.layers.display.layer_display import Post

NEXT_SECONDS = 0.03
"""Between two characters that are drawn for the first time."""


class CanvasText:
    """Writes into the text overlay of a viewer while nobody else does.

    napari takes some 15 to 30 ms for the shape of a character that a viewer never drew before. New
    characters are therefore drawn unseen, one a frame, and the text is shown once all are drawn.

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
        self._drawn: set[str] = set()
        self._opacity: float | None = None  # of the overlay before a character is drawn unseen

    def say(self, text: str) -> None:
        """Show a text, or none where it is empty; new characters wait until the layer is drawn."""
        self._wanted = text
        if set(text) - self._drawn:
            self._write_later()
        else:
            self._write()

    def close(self) -> None:
        """Write no more: the window is gone."""
        self._viewer = lambda: None

    def _overlay(self) -> Any:
        """Return the viewer's text, None where the viewer is gone."""
        viewer = self._viewer()
        if viewer is None:
            return None
        return viewer.canvas.overlays.text if hasattr(viewer, "canvas") else viewer.text_overlay

    def _write(self) -> None:
        """Show the text, or draw its next new character unseen."""
        overlay = self._overlay()
        if overlay is None:
            return
        if self._opacity is not None:
            overlay.opacity, self._opacity = self._opacity, None
        if self._written is None and overlay.visible:
            return  # the user's own
        if self._written is not None and overlay.text != self._written:
            self._written = None  # the user took it over
            return
        text = self._wanted
        new = next((character for character in text if character not in self._drawn), "")
        if new:
            self._drawn.add(new)
            self._opacity, overlay.opacity = overlay.opacity, 0
            self._write_later()
            text = new
        overlay.text, overlay.visible = text, bool(text)
        if text and self._written is None:
            overlay.position = "top_left"  # notifications come up at the bottom
        self._written = text or None

    def _write_later(self) -> None:
        if not self._posted:
            self._posted = True
            self._post(self._write_posted, NEXT_SECONDS)

    def _write_posted(self) -> None:
        self._posted = False
        self._write()
