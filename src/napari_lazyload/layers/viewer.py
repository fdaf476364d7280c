"""The lazy layers of a viewer: binds a display to each, says what is blank, closes datasets."""

from __future__ import annotations

import weakref
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.source import status_token
from napari_lazyload.core.text import plain_text, problem_state
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.display.canvas_text import CanvasText
from napari_lazyload.layers.display.layer_display import LayerDisplay, link_of
from napari_lazyload.layers.display.time_budget import FrameBudget
from napari_lazyload.loading import cache, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.layers.display.layer_display import Post

_attached: weakref.WeakKeyDictionary[Any, ViewerDisplays] = weakref.WeakKeyDictionary()


def attach(viewer: Any, post: Post) -> ViewerDisplays:
    """Bind displays to the lazy layers of a viewer, now and as they come; once a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer itself, not npe2's proxy of it.
    post : callable
        Runs a function in the main thread, later; safe from any thread.
    """
    return _attached.get(viewer) or _attached.setdefault(viewer, ViewerDisplays(viewer, post))


def displays_of(layer: Any) -> ViewerDisplays | None:
    """Return the displays of the viewer that a lazy layer is in."""
    for displays in _attached.values():
        if displays.display(layer) is not None:
            return displays
    return None


class ViewerDisplays:
    """The displays of one viewer's lazy layers. Lives and is used in the main thread.

    Parameters
    ----------
    viewer : napari.Viewer
        Kept weakly.
    post : callable
        Runs a function in the main thread, later.

    Attributes
    ----------
    text : CanvasText
        What the canvas says.
    followed : bool
        Whether someone calls :meth:`close` when the window is closed.
    """

    def __init__(self, viewer: Any, post: Post) -> None:
        self.followed = False
        self._viewer = weakref.ref(viewer)
        self._post = post
        self._displays: dict[Any, LayerDisplay] = {}
        self._news: list[str] = []
        self._sharing_posted = False
        self.text = CanvasText(self._viewer, post)
        self._disconnect: Any = None
        self._frame_budget = FrameBudget(post)
        self._listeners: dict[object, Callable[[Any], Any]] = {}
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in viewer.layers:
            self._bind(layer)

    def display(self, layer: Any) -> LayerDisplay | None:
        """Return the display of a lazy layer."""
        return self._displays.get(layer)

    def connect(self, listener: Callable[[Any], Any]) -> Callable[[], Any]:
        """Call ``listener(layer)`` in the main thread when what a view says of itself changed.

        Returns
        -------
        callable
            Disconnects the listener.
        """
        key = object()
        self._listeners[key] = listener
        return partial(self._listeners.pop, key, None)

    def show_finer(self, layer: Any) -> None:
        """Let the views of a layer read eight times as much as before."""
        display = self._displays.get(layer)
        if display is not None:
            display.budget_factor *= 8
            layer.refresh()

    def _on_inserted(self, event: Any) -> None:
        self._bind(event.value)

    def _bind(self, layer: Any) -> None:
        link = link_of(layer)
        if link is None or layer in self._displays:
            return
        if self._disconnect is None:
            self._disconnect = status.shared.connect(self._on_failed)
        self._displays[layer] = display = LayerDisplay(
            layer, self._post, self._on_changed, self._frame_budget
        )
        if link.image.kind == "labels":
            layer.editable = False  # painting would change nothing on disk
        if link.hidden:
            link.hidden = False
            self._begin_flat(layer)
            layer.visible = True
            display.show_limits()  # before anything is drawn: the first picture is not a dark one
        layer.events.visible.connect(self._on_visible)
        self._share_soon()
        if link.dataset is not None:
            link.dataset.scan()

    def _begin_flat(self, layer: Any) -> None:
        """Let a 2-D view begin with the coarsest level that leaves out no planes."""
        viewer = self._viewer()
        if viewer is None or viewer.dims.ndisplay != 2 or not layer.multiscale:
            return
        displayed = np.array(viewer.dims.displayed) - viewer.dims.ndim + layer.ndim
        level = last = len(layer.data) - 1
        while level >= 0 and _leaves_out_planes(layer.data[level], displayed.tolist()):
            level -= 1
        if 0 <= level < last and displayed.min() >= 0:
            corners = np.zeros((2, layer.ndim), int)
            corners[1, displayed] = np.array(layer.data[level].shape)[displayed] - 1
            layer.corner_pixels = corners
            layer.data_level = level

    def close(self) -> None:
        """Give all layers back as they were, stop their work, close their datasets."""
        self.text.close()
        for layer in list(self._displays):
            self._unbind(layer)

    def _on_removed(self, event: Any) -> None:
        if event.value in self._displays:
            self._unbind(event.value)
            self._share_soon()
            self._mark()

    def _unbind(self, layer: Any) -> None:
        display = self._displays.pop(layer)
        display.close()
        layer.events.visible.disconnect(self._on_visible)
        link = display.link
        if link is not None and link.dataset is not None and not _is_shown(link.dataset):
            link.dataset.close()
        if not self._displays and self._disconnect is not None:
            self._disconnect()
            self._disconnect = None

    def _on_visible(self, event: Any) -> None:
        """Read nothing for a layer that is hidden; napari asks again when it is shown."""
        display = self._displays.get(event.source)
        if display is not None and not event.source.visible:
            display.cancel()
        self._share_soon()
        self._mark()

    def _share_soon(self) -> None:
        """Let the views fit their shares of the memory, once all that changes now has changed."""
        if not self._sharing_posted:
            self._sharing_posted = True
            self._post(self._share)

    def _share(self) -> None:
        self._sharing_posted = False
        for layer, display in list(self._displays.items()):
            if not layer.visible and cache.shared.crowded:
                display.release()
            elif layer.visible and display.outgrown:
                layer.refresh()

    def _on_changed(self, display: LayerDisplay) -> None:
        self._mark()
        viewer = self._viewer()
        if viewer is not None and not display.notice and napari_requests.points_somewhere(viewer):
            # The pointer has not moved, but the pixel under it has come.
            viewer.update_status_from_cursor()
        for listener in list(self._listeners.values()):
            listener(display.layer)

    def _on_failed(self, token: str, level: int, index: BlockIndex, reason: str | None) -> None:
        """Collect what failed, from any thread; one notification reports all up to then."""
        del level, index
        links = [display.link for display in list(self._displays.values())]
        if reason is None or token not in [
            status_token(link.image.source) for link in links if link
        ]:
            return
        self._news.append(reason)
        if len(self._news) == 1:
            self._post(self._notify)

    def _notify(self) -> None:
        news, self._news = self._news, []
        if not news or self._viewer() is None:
            return
        from napari.utils.notifications import show_warning

        more = f" (and {len(news) - 1} more)" if len(news) > 1 else ""
        text = f"{news[0]}{more}. Blank in the viewer; the table says which, and retries"
        show_warning(plain_text(text))

    def _mark(self, _event: Any = None) -> None:
        """Say on the canvas what is blank or subsampled, unless the user has a text there."""
        lines: list[str] = []
        for layer, display in self._displays.items():
            if layer.visible:
                lines += canvas_lines(display)
        self.text.say("\n".join(lines))


def _leaves_out_planes(data: Any, displayed: list[int]) -> bool:
    """Whether a level leaves out planes along an axis that is not displayed."""
    if not isinstance(data, LazyArray) or data.source is None:
        return False
    strides = data.source.meta.levels[data.level].strides
    if strides is None:
        return False
    seen = np.array(data.kept_axes)[displayed]
    return bool(np.delete(strides, seen).max(initial=1) > 1)


def canvas_lines(display: LayerDisplay) -> list[str]:
    """Return the lines that the canvas says of a layer's view."""
    lines, failures = display.notice.splitlines(), display.failures
    if failures:
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        differs = problem_state(str(failures[0])) == "different"
        why = "different from its neighbors" if differs else "cannot be read"
        lines.append(f"blank, {why}: {_file_name(failures[0])}{more}")
    return lines


def _file_name(error: ChunkReadError) -> str:
    return error.path.replace("\\", "/").rpartition("/")[2] or str(error)


def _is_shown(dataset: Any) -> bool:
    displays = chain.from_iterable(each._displays.values() for each in _attached.values())  # noqa: SLF001 - same module
    return any(display.link is not None and display.link.dataset is dataset for display in displays)
