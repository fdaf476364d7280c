"""Dialogs that ask for a path, and for permission to be napari's reader for folders."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QWidget

from napari_lazyload.core.text import plain_text

PLUGIN = "napari-lazyload"
FOLDER_PATTERNS = ("*/", "*.zarr/")
"""The patterns of napari's preferences for all folders and for Zarr stores, which another plugin
may have."""


def open_folder(viewer: Any, parent: QWidget | None = None) -> None:
    """Ask for a folder and open it in the viewer."""
    folder = QFileDialog.getExistingDirectory(parent, "Open a folder of images lazily")
    if folder:
        open_path(viewer, folder)


def open_files(viewer: Any, parent: QWidget | None = None) -> None:
    """Ask for files and open them: one as it is, several as a stack sorted by name."""
    from napari_lazyload.core.natural_sort import natural_key
    from napari_lazyload.sources.image_files.decode import PICTURE_SUFFIXES

    kinds = " ".join(f"*{suffix}" for suffix in sorted(PICTURE_SUFFIXES))
    files, _ = QFileDialog.getOpenFileNames(
        parent, "Open images lazily", "", f"Images ({kinds});;All files (*)"
    )
    if files:
        open_path(viewer, files[0] if len(files) == 1 else sorted(files, key=natural_key))


def open_address(viewer: Any, parent: QWidget | None = None) -> None:
    """Ask for the address of a Zarr store and open it in the viewer."""
    text, chosen = QInputDialog.getText(
        parent, "Open a URL lazily", "Address of an OME-Zarr store (https, s3, gs, az):"
    )
    if chosen and text.strip():
        open_path(viewer, text.strip())


def open_path(viewer: Any, path: str | list[str]) -> None:
    """Open a path with this plugin; an error is shown, not raised."""
    from napari.utils.notifications import show_error

    from napari_lazyload.core.errors import LazyLoadError

    try:
        viewer.open(path, stack=not isinstance(path, str), plugin=PLUGIN)
    except (LazyLoadError, OSError, ValueError) as err:
        show_error(plain_text(str(err)))


def is_folder_reader() -> bool:
    """Whether napari's preferences name this plugin for all folders and Zarr stores."""
    from napari.settings import get_settings

    readers = get_settings().plugins.extension2reader
    return all(readers.get(pattern) == PLUGIN for pattern in FOLDER_PATTERNS)


def become_folder_reader(parent: QWidget | None = None) -> bool:
    """Ask whether folders always open with this plugin; on a yes, write it to the preferences.

    Returns
    -------
    bool
        Whether the answer was yes.
    """
    from napari.settings import get_settings

    plugins = get_settings().plugins
    before = {plugins.extension2reader.get(pattern) for pattern in FOLDER_PATTERNS} - {None, PLUGIN}
    instead = f", in place of {' and '.join(sorted(before))}" if before else ""
    question = (
        "Open every folder and Zarr store that is dropped on napari with Lazy Load, "
        "without asking?\n\n"
        f"This writes {' and '.join(FOLDER_PATTERNS)} to napari's preferences (Plugins, file "
        f"extension readers){instead}, where it can be removed again."
    )
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent, "Reader for folders", plain_text(question), buttons.Yes | buttons.No, buttons.No
    )
    if answer != buttons.Yes:
        return False
    plugins.extension2reader = {
        **plugins.extension2reader,
        **dict.fromkeys(FOLDER_PATTERNS, PLUGIN),
    }
    return True
