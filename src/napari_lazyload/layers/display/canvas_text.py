"""What the canvas says of lazy layers, unless the user has a text there."""

from __future__ import annotations

import string
import time
from typing import TYPE_CHECKING, Any

from napari_lazyload.loading import cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.layers.display.layer_display import Post

NEXT_SECONDS = 0.03

REHEARSE_SECONDS, LATE_SECONDS, QUIET_SECONDS = 0.1, 0.02, 0.5
"""How often a likely character is drawn unseen; by how much later than that the window comes to it
where it is busy, with opening something, say; how long it is left alone then."""

LIKELY = "loading (showing the previous frame)" + string.ascii_lowercase + string.digits + ",.:-_"
"""Characters that will be said sooner or later, the first ones first."""


class CanvasText:
    """Writes into the text overlay of a viewer while nobody else does.

    Parameters
    ----------
    viewer : weakref.ref of napari.Viewer
        Whose canvas.
    post : callable
        Runs a function in the main thread, later.

    Attributes
    ----------
    on_screen : callable
        Whether the window is seen: characters are drawn ahead in no other, least of all in one that
        is closing.
    """

    def __init__(self, viewer: Any, post: Post) -> None:
        self._viewer = viewer
        self._post = post
        self._wanted = ""
        self._written: str | None = None
        self._posted = False
        self._drawn: set[str] = (
            set()
        )  # napari takes 8 ms and more for the shape of each character, once a viewer
        self.on_screen: Callable[[], bool] = lambda: False
        self._rehearsing = False
        self._unseen: tuple[str, str, float] | None = (
            None  # the character; text and opacity before it
        )
        self._asked = -1
        self._due = 0.0

    def say(self, text: str) -> None:
        """Show a text, or none where it is empty.

        What napari draws for the first time takes it a while: new characters wait until the layer
        they tell of is on the screen, and come one at a time.
        """
        self._wanted = text
        if set(text) - self._drawn:
            self._write_later()
        else:
            self._write()
        if not self._rehearsing:
            self._rehearsing = True
            self._rehearse_in(QUIET_SECONDS)

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
        self._end_rehearsal()
        overlay = self._overlay()
        if overlay is None:
            return
        if self._written is None and overlay.visible:
            return  # the user's own
        if self._written is not None and overlay.text != self._written:
            self._written = None  # the user took it over
            return
        text = self._with_one_new(self._wanted)
        overlay.text, overlay.visible = text, bool(text)
        if text and self._written is None:
            overlay.position = "top_left"  # notifications come up at the bottom
        self._written = text or None
        if text != self._wanted:
            self._write_later()

    def _with_one_new(self, text: str) -> str:
        """Return a text as far as its second character that was never drawn; the first one counts as drawn then."""
        new = list(dict.fromkeys(character for character in text if character not in self._drawn))
        self._drawn.update(new[:1])
        return text[: text.index(new[1])] if len(new) > 1 else text

    def _write_later(self) -> None:
        if not self._posted:
            self._posted = True
            self._post(self._write_posted, NEXT_SECONDS)

    def _write_posted(self) -> None:
        self._posted = False
        self._write()

    # --- the shapes of characters, before they are needed
    # ---------------------------------------------------------

    def _rehearse(self) -> None:
        """Have likely characters drawn unseen, one at a time, while nobody looks for pixels."""
        self._end_rehearsal()
        overlay = self._overlay()
        new = [character for character in LIKELY if character not in self._drawn]
        if overlay is None or not new:
            return
        counters = cache.shared.counters
        before, self._asked = self._asked, counters.hits + counters.reads + counters.shared
        late = time.monotonic() > self._due + LATE_SECONDS
        quiet = (
            before == self._asked
            and not late
            and not self._wanted
            and not overlay.visible
            and self.on_screen()
        )
        if quiet:
            self._drawn.add(new[0])
            self._unseen = (new[0], overlay.text, overlay.opacity)
            overlay.opacity, overlay.text, overlay.visible = 0, new[0], True
        self._rehearse_in(REHEARSE_SECONDS if quiet else QUIET_SECONDS)

    def _rehearse_in(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds
        self._post(self._rehearse, seconds)

    def _end_rehearsal(self) -> None:
        overlay = self._overlay()
        if overlay is not None and self._unseen is not None and self.on_screen():
            character, text, overlay.opacity = self._unseen
            self._unseen = None
            if overlay.text == character:  # else the user has written something meanwhile
                overlay.text, overlay.visible = text, False
