"""What is shipped: a valid manifest, a light import, and every file that users need."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata, resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numpy", "dask", "zarr", "pandas", "napari", "qtpy", "skimage")
SHIPPED = ("__init__.py", "__init__.pyi", "napari.yaml", "py.typed")


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_manifest_is_valid():
    assert "valid" in _run(sys.executable, "-m", "npe2", "validate", "napari-lazyload")


@pytest.mark.qt
def test_everything_in_the_manifest_imports():
    assert "valid" in _run(sys.executable, "-m", "npe2", "validate", "napari-lazyload", "--imports")


def test_manifest_commands_point_at_the_thin_module_alone():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(resources.files("napari_lazyload") / "napari.yaml")

    modules = {command.python_name.partition(":")[0] for command in manifest.contributions.commands}
    assert modules == {"napari_lazyload._npe2"}


def test_import_loads_nothing_heavy():
    code = f"import sys, napari_lazyload; print([m for m in {HEAVY} if m in sys.modules])"
    assert _run(sys.executable, "-c", code).strip() == "[]"


def test_every_public_name_loads_and_is_in_the_stub():
    import napari_lazyload as nl

    stub = (resources.files("napari_lazyload") / "__init__.pyi").read_text()
    assert [name for name in nl.__all__ if name not in stub or not hasattr(nl, name)] == []


def test_metadata_meets_napari_hub():
    about = metadata.metadata("napari-lazyload")

    assert "Framework :: napari" in about.get_all("Classifier")
    assert about["License-Expression"] == "BSD-3-Clause"
    assert any(
        point.group == "napari.manifest"
        for point in metadata.entry_points().select(name="napari-lazyload")
    )


def test_no_qt_binding_is_required():
    required = [line for line in metadata.requires("napari-lazyload") if "extra ==" not in line]
    assert [line for line in required if line.lower().startswith(("pyqt", "pyside"))] == []
    assert [line for line in required if line.startswith("napari[")] == []


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """One sdist and one wheel, as hatchling makes them from this checkout."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not run from a checkout")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_wheel_ships(distributions, name):
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert f"napari_lazyload/{name}" in archive.namelist()


@pytest.mark.parametrize("name", SHIPPED)
def test_sdist_ships(distributions, name):
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.partition("/")[2] for member in archive.getnames()}
    assert f"src/napari_lazyload/{name}" in names
    assert {"LICENSE", "README.md", "tests/test_packaging.py"} <= names
