"""What every test uses: real files, settings of its own, no file and no thread left behind."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
REALDATA = Path(
    os.environ.get("NAPARI_LAZYLOAD_REALDATA", ROOT.parent / "shared" / "realdata")
).resolve()
QT_FIXTURES = {"make_napari_viewer", "make_napari_viewer_proxy", "qapp", "qtbot"}

# Timing is no test here: a busy machine must not fail an example.
hypothesis.settings.register_profile("no-clock", deadline=None)
hypothesis.settings.load_profile("no-clock")


def _why_no_qt() -> str:
    if not any(map(importlib.util.find_spec, ("PyQt6", "PySide6", "PyQt5"))):
        return "no Qt binding is installed"
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no screen (`python tools/with_screen.py pytest` brings one)"
    return ""


NO_QT = _why_no_qt()


def pytest_configure(config: pytest.Config) -> None:
    # Before napari reads it: the user's settings are neither read nor written.
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    os.environ["NAPARI_CONFIG"] = str(Path(folder.name) / "settings.yaml")


def pytest_report_header() -> list[str]:
    files = REALDATA if REALDATA.is_dir() else "none, their tests are skipped"
    qt = f"{NO_QT}: its tests are skipped and tests/widgets is left out" if NO_QT else "yes"
    return [f"real files: {files}", f"Qt: {qt}"]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if NO_QT and collection_path == ROOT / "tests" / "widgets" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if QT_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("qt")
        if NO_QT and item.get_closest_marker("qt"):
            item.add_marker(pytest.mark.skip(reason=NO_QT))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real files, described by its catalogue.json."""
    if not REALDATA.is_dir():
        pytest.skip(
            f"no real files at {REALDATA}; NAPARI_LAZYLOAD_REALDATA can name another folder"
        )
    return REALDATA


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path_factory):
    """Fail a test that leaves a data file open or a thread that would keep Python from ending."""
    if settings := sys.modules.get("napari_lazyload.core.settings"):
        settings.update(**dict.fromkeys(settings.Settings.__slots__))  # what the test before chose
    folders = (tmp_path_factory.getbasetemp(), REALDATA)
    files, threads = _open_files(folders), _threads()
    yield
    deadline = time.monotonic() + 2
    while (
        left := [*(_open_files(folders) - files), *(_threads() - threads)]
    ) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    if left:
        pytest.fail(f"left behind: {', '.join(map(str, left))}")


@pytest.fixture
def make_napari_viewer(make_napari_viewer):
    """napari's own, which fails a test that leaks a viewer; here it has two seconds to go."""
    from napari._qt.qt_viewer import QtViewer
    from qtpy.QtWidgets import QApplication

    made = []
    # What is there before is not looked through at each of the collections to come: it is most of
    # the time that a viewer's end takes.
    gc.collect()
    gc.freeze()

    def make(*args, **keywords):
        made.append(make_napari_viewer(*args, **keywords))
        return made[-1]

    yield make
    while made:
        viewer = made.pop()
        if window := getattr(viewer.window, "_qt_window", None):
            window._save_current_window_settings = lambda: None
        viewer.close()
        del viewer, window
    deadline = time.monotonic() + 2
    while len(QtViewer._instances) and time.monotonic() < deadline:
        QApplication.processEvents()
        gc.collect()
        time.sleep(0.01)


def _open_files(folders: tuple[Path, ...]) -> set[str]:
    """Return the open files in the folders of the tests; fonts and libraries are no leak."""
    if not sys.platform.startswith("linux"):
        return set()
    paths = set()
    for handle in Path("/proc/self/fd").iterdir():
        try:
            path = handle.readlink()
        except OSError:  # the handle that listed the others
            continue
        if any(path.is_relative_to(folder) for folder in folders):
            paths.add(str(path))
    return paths


def _threads() -> set[threading.Thread]:
    """Return the threads that Python would wait for, without those of dask's pools."""
    threads = {thread for thread in threading.enumerate() if not thread.daemon}
    if dask := sys.modules.get("dask.threaded"):
        pools = [
            dask.default_pool,
            *(pool for by_size in dask.pools.values() for pool in by_size.values()),
        ]
        threads -= {thread for pool in pools if pool is not None for thread in pool._threads}
    return threads


@pytest.fixture
def write_folder():
    """Return a function that writes ``img_0.png`` and so on, and returns them as one stack."""
    imagecodecs = pytest.importorskip("imagecodecs")
    numpy = pytest.importorskip("numpy")

    def write(folder: Path, count: int = 6, shape=(24, 32), dtype="uint8"):
        folder.mkdir(parents=True, exist_ok=True)
        high = 255 if dtype == "uint8" else 4000
        frames = [
            numpy.random.default_rng(number).integers(0, high, shape, dtype)
            for number in range(count)
        ]
        for number, pixels in enumerate(frames):
            (folder / f"img_{number}.png").write_bytes(imagecodecs.png_encode(pixels))
        return numpy.stack(frames)

    return write


@pytest.fixture
def hurried(monkeypatch):
    """Opening a folder reads one header, so that the others are left to the background."""
    from napari_lazyload.sources.folder.file_set import FileSet

    monkeypatch.setattr(FileSet, "read_deciding", lambda files: files.read_header(0))
    read_for = FileSet.read_for
    monkeypatch.setattr(
        FileSet,
        "read_for",
        lambda files, seconds: read_for(files, seconds) if seconds == float("inf") else None,
    )
