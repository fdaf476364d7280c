"""What is not read here is named by its contents, and what reads it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import napari_lazyload as nl

SIBLING = Path(__file__).resolve().parents[4] / "shared" / "realdata"
ROOT = Path(os.environ.get("NAPARI_LAZYLOAD_REALDATA", SIBLING))

DICOM = bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + bytes(200)
FILES = {
    "DICOM": ("a.dcm", DICOM, "a DICOM file, which is not read here: "),
    "DICOM without a suffix": ("IM0001", DICOM, "a DICOM file, which"),
    "DICOM without a preamble": ("a.dcm", b"\x08\0\x05\0CS\n\0ISO_IR 100", "a DICOM file, which"),
    "ICS": ("a.ics", b"\t\nics_version\t1.0\n", "an ICS file, which"),
    "WKW": ("z1.wkw", b"WKW\x01" + bytes(30), "a WKW file, which"),
    "HDF5": ("a.mat5", b"\x89HDF\r\n\x1a\n" + bytes(30), "an HDF5 file, which"),
}
FOLDERS = {
    "series": ("IM0001", DICOM, "a DICOM series, which is not read here: "),
    "ICS": ("a.ics", b"\t\nics_version\t1.0\n", "an ICS file, which"),
    "N5": ("attributes.json", b'{"n5": "2.0.0"}', "an N5 store, which"),
    "N5 array": ("attributes.json", b'{"dimensions": [3, 4]}', "an N5 store, which"),
    "WKW": ("header.wkw", b"WKW\x01" + bytes(30), "a WKW store, which"),
    "precomputed": ("info", b'{"scales": []}', "a precomputed (Neuroglancer) store, which"),
}


def message_of(path):
    with pytest.raises(nl.SourceOpenError) as info:
        nl.open_dataset(path)
    return str(info.value)


@pytest.mark.parametrize(("name", "content", "said"), FILES.values(), ids=FILES)
def test_a_file(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    found = message_of(tmp_path / name)
    assert found.startswith(said)
    assert f"{tmp_path / name}. To see it, " in found


@pytest.mark.parametrize(("name", "content", "said"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    found = message_of(tmp_path)
    assert found.startswith(said)
    assert str(tmp_path) in found


def test_data_of_ics_has_its_header_beside_it(tmp_path):
    (tmp_path / "a.ids").write_bytes(b"pixels")
    assert "no reader here knows" in message_of(tmp_path / "a.ids")
    (tmp_path / "a.ics").write_bytes(b"\t\nics_version\t1.0\n")
    assert message_of(tmp_path / "a.ids").startswith("an ICS file")


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"[]", b'{"other": 1}', b"\xff{", b"1"])
def test_what_is_none_of_them(tmp_path, content):
    for name in ("attributes.json", "info", "a.xyz"):
        (tmp_path / name).write_bytes(content)
    assert "expected pictures" in message_of(tmp_path)
    assert "no reader here knows" in message_of(tmp_path / "a.xyz")


def test_real_files():
    catalogue = ROOT / "catalogue.json"
    if not catalogue.is_file():
        pytest.skip(f"no real files at {ROOT}")
    begins = {"dicom": "a DICOM file", "dicom-series": "a DICOM series", "ics+ids": "an ICS file"}
    begins |= {
        "n5": "an N5 store",
        "neuroglancer-precomputed": "a precomputed (Neuroglancer) store",
    }
    for one in json.loads(catalogue.read_text(encoding="utf-8")):
        if one["kind"] in begins:
            assert message_of(ROOT / one["path"]).startswith(begins[one["kind"]]), one["path"]
