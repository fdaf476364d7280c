"""What the manifest names: thin, with imports inside functions, so that napari starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

    from napari_lazyload.dataset.dataset import Dataset


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Return the function that opens a path as lazy layers, or None where no format takes it."""
    from napari_lazyload.sources.registry import can_open

    return _read if can_open(path) else None


def _read(path: str | Sequence[str]) -> list[Any]:
    """Open a path; its layers stay hidden until a display is bound, so that adding reads nothing.

    A raw file that nothing describes gives no layer at once: a dialog asks, and adds the layers.
    """
    from napari_lazyload.dataset.opening import open_dataset
    from napari_lazyload.sources.binary.raw import UndescribedError

    try:
        dataset = _opened_at_address(path) if _is_address(path) else open_dataset(path)
    except UndescribedError as err:
        if not _ask_for_raw(err.path):
            raise
        return [(None,)]
    if dataset is None:
        return [(None,)]
    layers = dataset.to_layer_data()
    if _bind_viewers():
        from napari_lazyload.widgets.attach import hide_until_bound

        hide_until_bound(layers)
    return layers


def _is_address(path: str | Sequence[str]) -> bool:
    """Whether a path, or the only one of a list, is the address of a store."""
    from napari_lazyload.sources.registry import normalise
    from napari_lazyload.sources.zarr.location import is_address

    where = normalise(path)
    return isinstance(where, str) and is_address(where)


def _opened_at_address(path: str | Sequence[str]) -> Dataset | None:
    """Open an address; where a window waits, it lives on. None where the user cancelled."""
    import threading

    from napari_lazyload.dataset.opening import open_dataset

    window = _visible_window()
    if window is None or threading.current_thread() is not threading.main_thread():
        return open_dataset(path)
    from napari_lazyload.widgets.opening import open_in_window

    address = path if isinstance(path, str) else path[0]
    return open_in_window(lambda: open_dataset(path), address, window)


def _visible_window() -> Any:
    """Return the window of the current viewer, None where there is none on the screen."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return None
    from napari_lazyload.widgets.attach import window_of

    window = window_of(viewer)
    return window if window is not None and window.isVisible() else None


def _ask_for_raw(path: str) -> bool:
    """Ask in a dialog what a raw file holds. Return whether there is a window to ask in."""
    window = _visible_window()
    if window is None:
        return False
    import napari

    from napari_lazyload.widgets.raw.dialog import ask_for_raw

    ask_for_raw(napari.current_viewer(), path, window)
    return True


def _bind_viewers() -> bool:
    """Make open viewers ready for lazy layers; False in a script, where Qt may be absent."""
    import napari

    if napari.current_viewer() is None:
        return False
    from napari_lazyload.widgets.attach import attach_open_viewers

    return attach_open_viewers()


def __getattr__(name: str) -> Any:
    """Return a dock's class, imported on first use; napari fills in the viewer only for a class."""
    if name == "DatasetDock":
        from napari_lazyload.widgets.dataset_dock import DatasetDock

        return DatasetDock
    if name == "CropDock":
        from napari_lazyload.widgets.crop.dock import CropDock

        return CropDock
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def open_folder(viewer: napari.Viewer) -> None:
    """Ask for a folder and open it."""
    from napari_lazyload.widgets.open_dialogs import open_folder

    open_folder(viewer)


def open_files(viewer: napari.Viewer) -> None:
    """Ask for files and open them as one stack."""
    from napari_lazyload.widgets.open_dialogs import open_files

    open_files(viewer)


def open_address(viewer: napari.Viewer) -> None:
    """Ask for the address of a Zarr store and open it."""
    from napari_lazyload.widgets.open_dialogs import open_address

    open_address(viewer)


def sample_folder() -> list[Any]:
    """Return the sample folder as lazy layers, made now in the system's temporary folder."""
    from napari_lazyload.sample_data import make_folder

    return _read(str(make_folder()))


def sample_ome_zarr() -> list[Any]:
    """Return the sample OME-Zarr image as lazy layers, made now in the temporary folder."""
    from napari_lazyload.sample_data import make_ome_zarr

    return _read(str(make_ome_zarr()))


def sample_plate() -> list[Any]:
    """Return the sample OME-Zarr plate as lazy layers, made now in the temporary folder."""
    from napari_lazyload.sample_data import make_plate

    return _read(str(make_plate()))


def sample_volume() -> list[Any]:
    """Return the sample volume as a lazy layer, made now in the system's temporary folder."""
    from napari_lazyload.sample_data import make_volume

    return _read(str(make_volume()))
