"""Every Python example in the README and the documentation runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from napari_lazyload import sample_data
from napari_lazyload.core import settings

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
    if EXAMPLE.search(page.read_text("utf-8"))
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The OME-Zarr stores that the examples open."""
    folder = tmp_path_factory.mktemp("stores")
    sample_data.make_ome_zarr(folder / "cells.ome.zarr", size=64)
    sample_data.make_plate(folder / "plate.ome.zarr", size=32)
    return folder


@pytest.fixture
def experiment(tmp_path, monkeypatch, stores):
    """Put into the working directory what the examples open: a folder, its table, the stores."""
    for store in stores.iterdir():
        (tmp_path / store.name).symlink_to(store, target_is_directory=True)
    folder = tmp_path / "experiment"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 13):
        pixels = rng.integers(0, 4096, (48, 64), np.uint16)
        (folder / f"img_{number}.png").write_bytes(imagecodecs.png_encode(pixels))
    rows = [f"img_{number}.png,{number / 12}" for number in range(1, 13)]
    (folder / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    monkeypatch.chdir(tmp_path)
    # The examples change settings of the process: put back what was there.
    monkeypatch.setattr(settings, "_current", settings.current())


def code_of(page: Path) -> str:
    """Return the examples of a page as one module, each on its own line numbers, for tracebacks."""
    text, code, end = page.read_text("utf-8"), "", 0
    for example in EXAMPLE.finditer(text):
        code += "\n" * text.count("\n", end, example.start(1)) + example[1]
        end = example.end(1)
    return code


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, marks=[pytest.mark.qt] if "napari.Viewer" in page.read_text("utf-8") else []
        )
        for page in PAGES
    ],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
@pytest.mark.usefixtures("experiment")
def test_examples_run(page, request, monkeypatch):
    if "napari.Viewer" in page.read_text("utf-8"):
        import napari

        monkeypatch.setattr(napari, "Viewer", request.getfixturevalue("make_napari_viewer"))
        monkeypatch.setattr(napari, "run", lambda: None)
    exec(compile(code_of(page), str(page), "exec"), {"__name__": "__main__"})
