"""Heavy packages: imported once, reported, and what to do where one is missing."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import napari_lazyload as nl
from napari_lazyload.core import lazy_imports
from napari_lazyload.core.lazy_imports import Package

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that Python imports from; what is imported from there is forgotten again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lazy_imports, "_records", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None)
        if path is not None and Path(path).is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def only(monkeypatch):
    """A function that makes some packages the only ones."""
    return lambda **packages: monkeypatch.setattr(lazy_imports, "PACKAGES", packages)


def states():
    return {name: report["status"] for name, report in nl.import_status()["packages"].items()}


def test_many_threads_import_a_package_once(folder, only, monkeypatch):
    only(slow_one=Package("slow_one", 1))
    monkeypatch.setattr(threading, "runs", [], raising=False)
    (folder / "slow_one.py").write_text(
        "import threading, time\nthreading.runs.append(1)\ntime.sleep(0.2)\nend = 1\n"
    )
    gate = threading.Barrier(8)

    def ask(_number):
        gate.wait()
        module = lazy_imports.load("slow_one")
        assert module.end == 1
        return module

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len({id(module) for module in found}) == 1
    assert found[0] is sys.modules["slow_one"]
    assert len(threading.runs) == 1
    report = nl.import_status()["packages"]["slow_one"]
    assert report["status"] == "loaded"
    assert report["load_time"] >= 0.2


def test_a_missing_package_is_named_with_its_extra_and_works_once_installed(folder, only):
    only(not_yet=Package("not_yet.inner", 1, "formats"))
    with pytest.raises(
        nl.MissingDependencyError,
        match=r"'not_yet' is not installed: .*'napari-lazyload\[formats\]'",
    ):
        lazy_imports.load("not_yet")
    with pytest.raises(ImportError) as caught:
        lazy_imports.load("not_yet")
    assert caught.value.name == "not_yet"
    assert states() == {"not_yet": "not installed"}
    (folder / "not_yet").mkdir()
    (folder / "not_yet" / "__init__.py").touch()
    (folder / "not_yet" / "inner.py").write_text("here = True\n")
    assert lazy_imports.load("not_yet").here
    assert states() == {"not_yet": "loaded"}


def test_a_base_package_that_is_gone_asks_for_the_package_itself(only):
    only(no_such_thing=Package("no_such_thing", 1))
    with pytest.raises(nl.MissingDependencyError, match=r"pip install --upgrade napari-lazyload$"):
        lazy_imports.load("no_such_thing")


def test_a_failure_in_the_background_is_told_and_the_next_use_tries_again(folder, only):
    only(later=Package("later", 2), broken=Package("broken", 1), absent=Package("absent_here", 0))
    (folder / "later.py").touch()
    (folder / "broken.py").write_text("raise RuntimeError('half an installation')\n")
    assert states() == {"later": "pending", "broken": "pending", "absent": "not installed"}
    assert [lazy_imports.load_next() for _ in range(3)] == ["broken", "later", None]
    report = nl.import_status()
    assert report["packages"]["broken"]["status"] == "failed"
    assert report["packages"]["broken"]["error"] == "RuntimeError: half an installation"
    assert report["progress"] == {
        "total_packages": 2,
        "loaded_packages": 1,
        "failed_packages": 1,
        "is_loading": False,
        "progress_percentage": 100.0,
    }
    with pytest.raises(
        nl.MissingDependencyError,
        match=r"'broken' is installed but cannot be imported .*half an inst",
    ):
        lazy_imports.load("broken")
    (folder / "broken.py").write_text(
        "mended = 1  # longer than before, which Python's own cache goes by\n"
    )
    assert lazy_imports.load("broken").mended
    report = nl.import_status()["packages"]["broken"]
    assert (report["status"], report["error"]) == ("loaded", None)


def test_a_package_that_lacks_another_one_has_failed_and_is_not_missing(folder, only):
    only(needy=Package("needy", 1, "formats"))
    (folder / "needy.py").write_text("import no_such_thing_at_all\n")
    with pytest.raises(
        nl.MissingDependencyError, match=r"cannot be imported \(.*no_such_thing_at_all"
    ):
        lazy_imports.load("needy")
    assert states() == {"needy": "failed"}


def test_a_package_is_loading_until_its_import_has_ended(folder, only, monkeypatch):
    only(gated=Package("gated", 1), other=Package("other_one", 2))
    (folder / "other_one.py").touch()
    gate, begun = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "gates", (gate, begun), raising=False)
    (folder / "gated.py").write_text(
        "import threading\nthreading.gates[1].set()\nthreading.gates[0].wait(20)\n"
    )
    thread = threading.Thread(target=lazy_imports.load, args=("gated",))
    thread.start()
    try:
        assert begun.wait(20)
        report = nl.import_status()
        assert report["packages"]["gated"] == {
            "status": "loading",
            "load_time": None,
            "error": None,
            "priority": 1,
        }
        assert report["progress"]["is_loading"]
        assert report["progress"]["progress_percentage"] == 0
    finally:
        gate.set()
        thread.join(20)
    assert states() == {"gated": "loaded", "other": "pending"}
    assert not nl.import_status()["progress"]["is_loading"]


def test_what_something_else_imported_is_loaded_too(folder, only):
    only(plain=Package("plain", 1))
    (folder / "plain.py").touch()
    importlib.import_module("plain")
    assert lazy_imports.load_next() is None
    assert nl.import_status()["packages"]["plain"] == {
        "status": "loaded",
        "load_time": None,
        "error": None,
        "priority": 1,
    }


def test_the_status_of_the_real_packages_adds_up():
    report = nl.import_status()
    assert json.loads(json.dumps(report)) == report
    progress, packages = report["progress"], report["packages"]
    assert packages["numpy"]["status"] == "loaded"
    assert all(
        set(one) == {"status", "load_time", "error", "priority"} for one in packages.values()
    )
    found = [one["status"] for one in packages.values()]
    assert progress["total_packages"] == len(found) - found.count("not installed")
    assert progress["loaded_packages"] == found.count("loaded")


ALL = """
import sys
from napari_lazyload.core import lazy_imports
GUIS = {"PyQt5", "PyQt6", "PySide2", "PySide6", "qtpy", "wx"}
while (name := lazy_imports.load_next()):
    loaded = GUIS.intersection(sys.modules)
    assert not loaded, (name, loaded)
status = lazy_imports.import_status()
assert status["progress"]["progress_percentage"] == 100, status
packages = status["packages"].items()
print({name: state["error"] for name, state in packages if state["status"] == "failed"})
"""


def test_no_package_brings_qt_along_and_all_that_are_installed_load():
    done = subprocess.run(
        [sys.executable, "-c", ALL], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{}"


DISTRIBUTIONS = {"PIL": "pillow", "nrrd": "pynrrd", "rsciio": "rosettasciio"}


@pytest.mark.parametrize("name", lazy_imports.PACKAGES)
def test_the_extra_that_is_named_installs_the_package(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = lazy_imports.PACKAGES[name].extra
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in wanted}
    assert DISTRIBUTIONS.get(name, name) in names | ({"numcodecs"} if "zarr" in names else set())
