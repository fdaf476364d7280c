"""Binaries of other people's software open bit by bit as the reference."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import napari_lazyload as nl

# One of the files has twelve bytes behind its pixels, which ITK ignores.
pytestmark = pytest.mark.filterwarnings("ignore:.*bytes behind the pixels are ignored")

SIBLING = Path(__file__).resolve().parents[4] / "shared" / "realdata"
ROOT = Path(os.environ.get("NAPARI_LAZYLOAD_REALDATA", SIBLING))
KINDS = {
    "npy",
    "nifti",
    "mrc",
    "mrc-gz",
    "nrrd",
    "nhdr+raw",
    "mhd+raw",
    "mha",
    "fits",
    "raw+json",
    "bdv-hdf5",
    "mgz",
    "mhd+zraw",
    "analyze-no-img",
    "nifti-no-img",
    "npy-object",
    "npz-object",
    "nhdr+ascii",
    "raw-no-sidecar",
}
NEEDS = {
    "nifti": "nibabel",
    "mgz": "nibabel",
    "analyze-no-img": "nibabel",
    "nifti-no-img": "nibabel",
    "mrc": "mrcfile",
    "mrc-gz": "mrcfile",
    "nrrd": "nrrd",
    "nhdr+raw": "nrrd",
    "nhdr+ascii": "nrrd",
    "fits": "astropy",
    "bdv-hdf5": "h5py",
}
# Detached data that a checkout may lack, and a file that holds the same pixels.
SAME_PIXELS = {
    "BallBinary30x30x30.nhdr": (
        "BallBinary30x30x30.raw",
        "given/nrrd/pynrrd/BallBinary30x30x30.nrrd",
    ),
    "fixed.mhd": ("fixed.raw", "given/metaimage/elastix/2DMRI-T1_brain.mha"),
}


def cases(*expect):
    catalogue = ROOT / "catalogue.json"
    known = json.loads(catalogue.read_text(encoding="utf-8")) if catalogue.is_file() else []
    return [
        pytest.param(one, id=one["path"])
        for one in known
        if one["expect"] in expect and one["kind"] in KINDS
    ]


def sha256(array):
    array = np.ascontiguousarray(array)
    return hashlib.sha256(
        array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    ).hexdigest()


def place(entry, folder):
    """Return the path of a case, or of a copy beside the same pixels if its data is gone."""
    path = ROOT / entry["path"]
    missing, same = SAME_PIXELS.get(path.name, ("", ""))
    if missing and not (path.parent / missing).exists():
        with nl.open_dataset(ROOT / same) as dataset:
            np.asarray(dataset.images[0].data).tofile(folder / missing)
        return Path(shutil.copy(path, folder))
    if path.name == "mask_fixed.mhd" and not path.with_suffix(".raw").exists():
        pytest.skip(
            "mask_fixed.raw is not among the real files here, and no other file holds its pixels"
        )
    return path


@pytest.fixture
def entry(request, realdata):
    if library := NEEDS.get(request.param["kind"]):
        pytest.importorskip(library)
    return request.param


@pytest.mark.parametrize("entry", cases("open"), indirect=True)
def test_a_binary_is_its_reference(entry, tmp_path):
    with nl.open_dataset(place(entry, tmp_path)) as dataset:
        image = dataset.images[0]
        assert image.shape == tuple(entry["level0_shape"])
        assert image.dtype == np.dtype(entry["dtype"]).newbyteorder("=")
        pixels = np.asarray(image.data)
        assert sha256(pixels) == entry["sha256"] == sha256(image.data.compute())
        if entry["axes"] in ("yx", "zyx"):
            assert "".join(image.axes) == entry["axes"]
        assert len(dataset.meta) == sum(map(len, dataset._opened.rows))


def fits_sizes(path, unit):
    """The sizes of pixels that the cards of a unit say, slowest axis first."""
    header = pytest.importorskip("astropy.io.fits").getheader(path, unit)
    count = header["NAXIS"]
    sizes = []
    for number in range(count, 0, -1):
        column = [header.get(f"CD{row}_{number}", 0.0) for row in range(1, count + 1)]
        sizes.append(math.hypot(*column) or abs(header.get(f"CDELT{number}", 1.0)))
    return sizes


@pytest.mark.parametrize("entry", cases("open"), indirect=True)
def test_its_scale_is_that_of_the_reference(entry, tmp_path):
    expected = [float(size) for size in entry["scale"] or []]
    if entry["kind"] == "mgz":
        expected[0] = (
            1.0  # the time between frames stands behind the pixels, which opening does not read
        )
    path = place(entry, tmp_path)
    with nl.open_dataset(path) as dataset:
        image = dataset.images[0]
        expected = [1.0 if np.isnan(size) else size for size in expected]
        if path.suffix == ".fits":  # of which the catalogue says nothing
            expected = fits_sizes(path, int(dataset.meta["hdu"][0]))
        assert list(image.scale) == (expected or [1.0] * len(image.scale))
        if origin := entry["ref"].get("origin_zyx"):
            assert list(image.translate) == origin
        if affine := entry["ref"].get("affine"):
            corner = np.array([1.0] * 3)  # i = j = k = 1, in the world of the reference
            world = (np.array(affine) @ [*corner, 1])[:3]
            index = np.array([0.0] * (len(image.axes) - 3) + [1.0] * 3)
            mapped = image.affine @ [*(np.array(image.scale) * index + image.translate), 1]
            np.testing.assert_allclose(mapped[-4:-1][::-1], world, atol=1e-4)


@pytest.mark.parametrize("entry", cases("open"), indirect=True)
def test_a_part_reads_the_same_as_the_whole(entry, tmp_path):
    with nl.open_dataset(place(entry, tmp_path)) as dataset:
        image = dataset.images[0]
        whole = np.asarray(image.data)
        part = tuple(
            slice(size // 3, size // 3 + max(1, size // 2))
            for size in image.shape[: image.spatial_ndim]
        )
        np.testing.assert_array_equal(nl.crop(image, part), whole[part])


def test_every_image_of_a_file_is_its_reference(realdata):
    pytest.importorskip("astropy")
    pytest.importorskip("h5py")
    known = {one.values[0]["path"]: one.values[0] for one in cases("open")}
    fits = known["given/fits/astropy/test0.fits"]
    with nl.open_dataset(realdata / fits["path"]) as dataset:
        units = [one for one in fits["ref"]["hdus"] if "sha256" in one]
        assert dataset.meta["hdu"].tolist() == [one["i"] for one in units]
        assert [sha256(np.asarray(image.data)) for image in dataset.images] == [
            one["sha256"] for one in units
        ]
    hdf5 = next(one for one in known.values() if one["kind"] == "bdv-hdf5")
    with nl.open_dataset(realdata / hdf5["path"]) as dataset:
        cells = {
            one["path"]: one["sha256"]
            for one in hdf5["ref"]["datasets"]
            if one["path"].endswith("cells")
        }
        found = {
            f"t00000/s{setup:02d}/{level}/cells": sha256(np.asarray(data))
            for setup, image in enumerate(dataset.images)
            for level, data in enumerate(image.levels)
        }
        assert found == cells


@pytest.mark.parametrize("entry", cases("error"), indirect=True)
def test_what_is_broken_is_refused_clearly(entry):
    path = ROOT / entry["path"]
    with pytest.raises(nl.SourceOpenError, match=r"expected .* found .*; ") as info:
        nl.open_dataset(path)
    assert info.value.path == str(path)


@pytest.mark.parametrize("entry", cases("either"), indirect=True)
def test_what_may_open_opens_right_or_not_at_all(entry):
    path = ROOT / entry["path"]
    try:
        dataset = nl.open_dataset(path)
    except nl.SourceOpenError:
        return
    with dataset:
        assert sha256(np.asarray(dataset.images[0].data)) == entry["sha256"]
