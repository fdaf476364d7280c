"""What a viewer does with lazy layers: binds a display to each, marks what is blank or thinned out, closes datasets."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.source import status_token
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.display.canvas_text import CanvasText
from napari_lazyload.layers.display.layer_display import LayerDisplay, link_of
from napari_lazyload.layers.display.time_budget import FrameBudget
from napari_lazyload.loading import status

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
    found = _attached.get(viewer)
    if found is None:
        found = _attached[viewer] = ViewerDisplays(viewer, post)
    return found


def displays_of(layer: Any) -> ViewerDisplays | None:
    """Return the displays of the viewer that a lazy layer is in."""
    return next(
        (displays for displays in _attached.values() if displays.display(layer) is not None), None
    )


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
        self.text = CanvasText(self._viewer, post)
        self._disconnect: Any = None
        self._patience = FrameBudget(post)
        self._listeners: list[Callable[[Any], Any]] = []
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in viewer.layers:
            self._bind(layer)

    def display(self, layer: Any) -> LayerDisplay | None:
        """Return the display of a lazy layer."""
        return self._displays.get(layer)

    def connect(self, listener: Callable[[Any], Any]) -> Callable[[], None]:
        """Call ``listener(layer)`` in the main thread when what is blank or thinned out of a view changed.

        Returns
        -------
        callable
            Disconnects the listener.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

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
            layer, self._post, self._on_changed, self._patience
        )
        if link.image.kind == "labels":
            layer.editable = False  # painting would change nothing on disk
        if link.hidden:
            link.hidden = False
            self._begin_flat(layer)
            layer.visible = True
            display.show_limits()  # before anything is drawn: the first picture is not a dark one
        layer.events.visible.connect(self._on_visible)
        if link.dataset is not None:
            link.dataset.scan()

    def _begin_flat(self, layer: Any) -> None:
        """Let a 2-D view begin with a level that leaves out no planes, where napari would begin with the coarsest."""
        viewer = self._viewer()
        if viewer is None or viewer.dims.ndisplay != 2 or not layer.multiscale:
            return
        displayed = [axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed]
        levels = list(layer.data)
        flat = [
            number for number, data in enumerate(levels) if not _leaves_out_planes(data, displayed)
        ]
        if flat and flat[-1] < len(levels) - 1 and min(displayed) >= 0:
            corners = np.zeros((2, layer.ndim), int)
            corners[1, displayed] = [levels[flat[-1]].shape[axis] - 1 for axis in displayed]
            layer.corner_pixels = corners
            layer.data_level = flat[-1]

    def close(self) -> None:
        """Give all layers back as they were, stop their work and close their datasets: the window is gone."""
        self.text.close()
        for layer in list(self._displays):
            self._unbind(layer)

    def _on_removed(self, event: Any) -> None:
        if event.value in self._displays:
            self._unbind(event.value)
            self._mark()

    def _unbind(self, layer: Any) -> None:
        display = self._displays.pop(layer)
        display.close()
        layer.events.visible.disconnect(self._on_visible)
        link = display.link
        dataset = None if link is None else link.dataset
        if dataset is not None and not any(_shows(other, dataset) for other in _all_displays()):
            dataset.close()
        if not self._displays and self._disconnect is not None:
            self._disconnect()
            self._disconnect = None

    def _on_visible(self, event: Any) -> None:
        """Read nothing for a layer that is hidden; napari asks again when it is shown."""
        display = self._displays.get(event.source)
        if display is not None and not event.source.visible:
            display.cancel()
        self._mark()

    def _on_changed(self, display: LayerDisplay) -> None:
        self._mark()
        viewer = self._viewer()
        if viewer is not None and not display.notice and napari_requests.points_somewhere(viewer):
            viewer.update_status_from_cursor()  # the pointer has not moved, but the pixel under it has come
        for listener in list(self._listeners):
            listener(display.layer)

    def _on_failed(self, token: str, level: int, index: BlockIndex, reason: str | None) -> None:
        """Collect what failed, from any thread; one notification tells of all that came until it is shown."""
        del level, index
        if reason is None or not any(
            display.link is not None and status_token(display.link.image.source) == token
            for display in list(self._displays.values())
        ):
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
        show_warning(f"{news[0]}{more}. Blank in the viewer; the table says which, and retries")

    def _mark(self, _event: Any = None) -> None:
        """Say on the canvas what is blank or thinned out, unless the user has a text there."""
        lines = [
            line
            for layer, display in self._displays.items()
            if layer.visible
            for line in said(display)
        ]
        self.text.say("\n".join(lines))


def _leaves_out_planes(data: Any, displayed: list[int]) -> bool:
    """Return whether a level was thinned out along an axis that is not displayed."""
    if not isinstance(data, LazyArray) or data.source is None:
        return False
    strides = data.source.meta.levels[data.level].strides
    seen = {data.kept_axes[axis] for axis in displayed}
    return strides is not None and any(
        stride > 1 for axis, stride in enumerate(strides) if axis not in seen
    )


def said(display: LayerDisplay) -> list[str]:
    """Return what the canvas says of a layer's view, a line each."""
    lines = display.notice.splitlines()
    if display.failures:
        more = f" and {len(display.failures) - 1} more" if len(display.failures) > 1 else ""
        lines.append(f"blank, cannot be read: {_file_name(display.failures[0])}{more}")
    return lines


def _file_name(error: ChunkReadError) -> str:
    return error.path.replace("\\", "/").rpartition("/")[2] or str(error)


def _all_displays() -> list[LayerDisplay]:
    return [display for displays in _attached.values() for display in displays._displays.values()]  # noqa: SLF001


def _shows(display: LayerDisplay, dataset: Any) -> bool:
    return display.link is not None and display.link.dataset is dataset
