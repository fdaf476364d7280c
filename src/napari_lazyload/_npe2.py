"""What the manifest points at: thin, with imports inside the functions, so that napari starts quickly."""

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
    """Open a path; the layers stay hidden until their display is bound, so that adding them reads nothing in vain."""
    from napari_lazyload.dataset import open_dataset
    from napari_lazyload.layer_data import METADATA_KEY

    dataset = open_dataset(path)
    layers = dataset.to_layer_data()
    if _bind_viewers():
        for _, keywords, _ in layers:
            keywords["visible"] = False
            keywords["metadata"][METADATA_KEY].hidden = True
    return layers


def _bind_viewers() -> bool:
    """Make the open viewers ready for lazy layers; False in a script without one, where Qt may be absent."""
    import napari

    if napari.current_viewer() is None:
        return False
    from napari_lazyload.widgets.attach import attach_open_viewers

    return attach_open_viewers()


def __getattr__(name: str) -> Any:
    """Return a dock's class, imported when first asked for; napari fills in the viewer for a class alone."""
    if name == "DatasetDock":
        from napari_lazyload.widgets.dataset_dock import DatasetDock

        return DatasetDock
    if name == "CropDock":
        from napari_lazyload.widgets.crop_dock import CropDock

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
    """Return the sample folder as lazy layers; made on the spot, in the temporary folder of the system."""
    from napari_lazyload.sample import make_folder

    return _read(str(make_folder()))


def sample_ome_zarr() -> list[Any]:
    """Return the sample OME-Zarr image as lazy layers; made on the spot, in the temporary folder of the system."""
    from napari_lazyload.sample import make_ome_zarr

    return _read(str(make_ome_zarr()))


def sample_plate() -> list[Any]:
    """Return the sample OME-Zarr plate as lazy layers; made on the spot, in the temporary folder of the system."""
    from napari_lazyload.sample import make_plate

    return _read(str(make_plate()))


def sample_volume() -> list[Any]:
    """Return the sample volume as a lazy layer; made on the spot, in the temporary folder of the system."""
    from napari_lazyload.sample import make_volume

    return _read(str(make_volume()))
