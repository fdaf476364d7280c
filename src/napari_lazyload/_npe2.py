"""What the manifest names: thin, with imports inside functions, so that napari starts quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari


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
        layers = open_dataset(path).to_layer_data()
    except UndescribedError as err:
        if not _ask_for_raw(err.path):
            raise
        return [(None,)]
    if _bind_viewers():
        from napari_lazyload.widgets.attach import hide_until_bound

        hide_until_bound(layers)
    return layers


def _ask_for_raw(path: str) -> bool:
    """Ask in a dialog what a raw file holds. Return whether there is a window to ask in."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return False
    from napari_lazyload.widgets.attach import window_of
    from napari_lazyload.widgets.raw.dialog import ask_for_raw

    window = window_of(viewer)
    if window is None or not window.isVisible():
        return False
    ask_for_raw(viewer, path, window)
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
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


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
