"""Exports of images of other software: the same pixels, valid stores, or a clear error."""

from __future__ import annotations

import json
import warnings

import numpy as np
import tifffile
import yaozarrs
import zarr

import napari_lazyload as nl

EACH = 6
"""Every so many of the small files: a run over all takes a minute."""

LARGE = 20_000_000


def test_real_images_come_back_or_are_refused(realdata, tmp_path):
    cases = json.loads((realdata / "catalogue.json").read_text("utf-8"))
    small = [case for case in cases if case["expect"] == "open" and case["size_bytes"] < 1_000_000]
    written = {"a.ome.zarr": 0, "a.ome.tif": 0, "a.npy": 0}
    for case in small[::EACH]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about each file is no matter here
            try:
                dataset = nl.open_dataset(realdata / case["path"])
            except (
                nl.LazyLoadError
            ):  # a package for it may be missing; what must open is held elsewhere
                continue
            with dataset:
                if (
                    dataset.images[0].nbytes > LARGE
                ):  # stores whose chunks were left out are small files
                    continue
                for name in written:
                    written[name] += comes_back(dataset.images[0], tmp_path / name, case["name"])
    assert min(written.values()) > 10


def comes_back(image, path, name):
    """Whether an image could be written; if so, as it is."""
    try:
        nl.export(image, path, overwrite=True)
    except nl.ExportError:
        return False
    expected = nl.crop(image, ())
    if path.suffix == ".npy":
        found = np.load(path)
    elif path.suffix == ".tif":
        found = tifffile.imread(path)
    else:
        yaozarrs.validate_zarr_store(str(path))
        found = zarr.open_group(path, mode="r")["0"][...]
    assert found.dtype == expected.dtype, name
    # Axes may be in another order, and OME-TIFF drops those of one pixel.
    assert sorted(np.squeeze(found).shape) == sorted(np.squeeze(expected).shape), name
    if np.squeeze(found).shape == np.squeeze(expected).shape:
        np.testing.assert_array_equal(np.squeeze(found), np.squeeze(expected), err_msg=name)
    return True
