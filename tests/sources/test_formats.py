"""What the package says it reads: all of it, and why not where a library is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import napari_lazyload as nl
from napari_lazyload.sources.formats import FORMATS, SUFFIXES
from napari_lazyload.sources.image_files import decode


def test_all_formats_are_listed_ready_for_json():
    formats = json.loads(json.dumps(nl.supported_formats()))
    assert set(decode.picture_formats()) <= set(formats)
    assert {row.name for row in FORMATS} - {"pictures", "stack"} <= set(formats)
    assert {frozenset(row) for row in formats.values()} == {
        frozenset({"suffixes", "readable", "library", "extra", "reason"})
    }
    listed = {suffix for row in formats.values() for suffix in row["suffixes"]}
    assert listed >= {suffix.rstrip("/") for suffix in SUFFIXES}
    assert listed >= decode.PICTURE_SUFFIXES | {".zarr", ".ozx"}
    assert {".tif", ".svs"} <= set(formats["tiff"]["suffixes"])
    assert formats["raw"]["suffixes"] == [".bin", ".dat", ".raw", ".vol"]


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        *(
            ("mrc", "mrcfile", "formats"),
            ("nifti", "nibabel", "formats"),
            ("nrrd", "nrrd", "formats"),
        ),
        *(
            ("fits", "astropy", "formats"),
            ("hdf5", "h5py", "formats"),
            ("envi", "spectral", "formats"),
        ),
        *(("bioio", "bioio", "bioio"), ("rosettasciio", "rsciio", "rosettasciio")),
        ("zarr at addresses", "obstore", "remote"),
    ],
)
def test_a_missing_library_is_said_with_its_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    row = nl.supported_formats()[name]
    assert not row["readable"]
    assert row["extra"] == extra
    assert f"pip install 'napari-lazyload[{extra}]'" in row["reason"]
    monkeypatch.setitem(sys.modules, module, sys)
    row = nl.supported_formats()[name]
    assert row["readable"]
    assert row["reason"] is None


def test_the_extras_are_those_of_the_project():
    import tomllib

    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text("utf-8"))["project"]["optional-dependencies"]
    for row in nl.supported_formats().values():
        if row["extra"] is not None:
            assert any(one.startswith(row["library"]) for one in extras[row["extra"]])


def test_what_needs_no_library_is_always_read():
    formats = nl.supported_formats()
    for name in ("npy", "raw", "metaimage", "iwi"):
        assert (formats[name]["readable"], formats[name]["library"]) == (True, "")


def test_nothing_heavy_is_imported_to_tell():
    import subprocess

    code = (
        "import sys, napari_lazyload as nl; nl.supported_formats(); "
        "print({'astropy', 'h5py'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
