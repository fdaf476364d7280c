"""Make the pictures of the docs again: a folder open, its table, a failed frame, a crop.

    python tools/with_screen.py python tools/screenshots.py

Needs the package with Qt (``tox -e demo`` has such an environment) and writes into ``docs/images``.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from pathlib import Path

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification

import napari_lazyload as nl
from napari_lazyload.sample_data import make_folder

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PLUGIN = "napari-lazyload"


def settle(viewer: napari.Viewer, seconds: float = 4.0) -> None:
    """Let the window come to rest."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        nl.wait(viewer, 5)
        time.sleep(0.02)


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Write one picture of the whole window."""
    settle(viewer)
    path = IMAGES / f"{name}.png"
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(shutil.copytree(make_folder(), Path(folder) / "gravel"))
        (sample / "frame_140.png").write_bytes((sample / "frame_140.png").read_bytes()[:4000])
        viewer = napari.Viewer(title="napari")
        viewer.window.resize(1280, 800)
        (layer,) = viewer.open(str(sample), plugin=PLUGIN)
        viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
        settle(viewer)
        viewer.dims.set_current_step(0, 42)
        shoot(viewer, "window")
        viewer.dims.set_current_step(0, 140)
        shoot(viewer, "failed")
        for notification in viewer.window._qt_window.findChildren(NapariQtNotification):  # noqa: SLF001
            notification.close()
        viewer.dims.set_current_step(0, 42)
        _, crop = viewer.window.add_plugin_dock_widget(PLUGIN, "Crop a region", tabify=True)
        corners = np.array([[42, 90, 120], [42, 90, 220], [42, 190, 220], [42, 190, 120]])
        region = viewer.add_shapes(
            [corners], face_color="transparent", edge_color="yellow", edge_width=2, name="region"
        )
        crop.form.layer.value = layer
        crop.form.region.value = region
        settle(viewer)
        crop.crop()
        settle(viewer)
        layer.opacity = 0.3
        region.visible = False
        viewer.layers.selection.active = viewer.layers["gravel crop"]
        shoot(viewer, "crop")
        viewer.close()


if __name__ == "__main__":
    main()
