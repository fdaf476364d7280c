"""Zarr stores of other software, opened as a user does: equal to the reference bit by bit."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from math import prod
from pathlib import Path

import numpy as np
import pytest
import yaozarrs
from napari.layers import Layer

import napari_lazyload as nl

SIBLING = Path(__file__).resolve().parents[4] / "shared" / "realdata"
ROOT = Path(os.environ.get("NAPARI_LAZYLOAD_REALDATA", SIBLING))
IMAGES = {"omezarr-image", "omezarr-virtual", "omezarr-bf2raw"}
PLATES = {"omezarr-plate"}
GROUPS = {
    "zarr-group",
    "zarr-zip",
    "xarray-zarr",
    "spatialdata",
    "nczarr-zip",
    "anndata",
    "anndata-zip",
}
ARRAYS = {"zarr-array", "icechunk"}
OTHERS = {
    *(
        "omezarr-metaonly",
        "omezarr-0.6dev",
        "omezarr-invalid",
        "omezarr-broken",
        "zarr-v3-draft",
        "mudata",
        "n5",
    ),
    *("bdv-n5", "other-store", "git-lfs-pointers"),
}
KINDS = IMAGES | PLATES | GROUPS | ARRAYS | OTHERS
MOST_BYTES = 6e8
"""Larger images, which are virtual, are not read as a whole."""

# Their only chunk is a link that the reference did not follow; it is the MRI of another case.
LINKED = "all_0.6"
LINKED_SUM = 40784917


def entries(*expect, kinds=KINDS):
    catalogue = ROOT / "catalogue.json"
    known = json.loads(catalogue.read_text(encoding="utf-8")) if catalogue.is_file() else []
    return [entry for entry in known if entry["expect"] in expect and entry["kind"] in kinds]


def cases(*expect, kinds=KINDS):
    return [pytest.param(entry, id=entry["path"]) for entry in entries(*expect, kinds=kinds)]


def quietly(path, **options):
    """Open without the notes on what is not shown; they are other tests' business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nl.LazyLoadWarning)
        return nl.open_dataset(path, **options)


def sha256(image):
    """Hash an image slab by slab, so that a large one need not fit the memory."""
    digest = hashlib.sha256()
    rows = max(1, int(5e7 // max(1, image.nbytes // image.shape[0])))
    for start in range(0, image.shape[0], rows):
        slab = np.ascontiguousarray(image.boxes[0][start : start + rows])
        digest.update(slab.astype(slab.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def check(image, expected, *, hashed=True):
    """Compare an image with what the reference says of it."""
    assert list(image.shape) == expected["shape"]
    assert image.dtype == np.dtype(expected["dtype"]).newbyteorder("=")
    if expected.get("axes"):
        assert list(image.axes) == expected["axes"]
    if expected.get("scale"):
        np.testing.assert_allclose(image.scale, expected["scale"])
    if expected.get("translation"):
        np.testing.assert_allclose(image.translate, expected["translation"])
    if hashed and image.nbytes <= MOST_BYTES:
        assert sha256(image) == expected["sha256"]


def check_layers(dataset):
    """Make the layers that napari would add, and look at a corner of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nl.LazyLoadWarning)
        layers = [Layer.create(*one) for one in dataset.to_layer_data()]
    for layer in layers:
        coarsest = layer.data[-1] if layer.multiscale else layer.data
        corner = np.asarray(coarsest[tuple(slice(0, 4) for _ in coarsest.shape)])
        assert corner.shape[: layer.ndim] == tuple(
            min(4, size) for size in coarsest.shape[: layer.ndim]
        )
    return layers


@pytest.mark.parametrize("entry", cases("open", kinds=IMAGES))
def test_an_image_is_its_reference(realdata, entry):
    with quietly(realdata / entry["path"]) as dataset:
        image = dataset.images[0]
        expected = {**entry, "shape": entry["level0_shape"]}
        check(image, expected)
        if entry.get("level_shapes"):
            assert [list(level.shape) for level in image.levels] == entry["level_shapes"]
        if entry.get("units"):
            assert list(image.units) == entry["units"]
        ref = entry["ref"]
        for one, about in zip(dataset.images, ref.get("images", []), strict=False):
            check(one, about)
        labels = {one.name: one for one in dataset.images if one.kind == "labels"}
        assert len(labels) == len(ref.get("labels") or [])
        for about in ref.get("labels") or []:
            check(labels[f"{image.name} {about['name']}"], about)
        channels = (ref.get("omero") or {}).get("channels")
        if channels:
            names = [str(channel.get("label", "")) for channel in channels]
            assert [channel.name for channel in image.meta.channels] == names or len(names) == 1
        check_layers(dataset)
        assert len(dataset.meta) == len(dataset.images)


@pytest.mark.parametrize("entry", cases("open", kinds=PLATES))
def test_each_field_of_a_plate_is_its_reference(realdata, entry):
    fields = [one for one in entry["ref"]["images"] if "shape" in one]
    with quietly(realdata / entry["path"]) as plate:
        image = plate.images[0]
        assert len(plate.meta) == len(entry["ref"]["wells_declared"])
        height, width = fields[0]["shape"][-2:]
        rows, columns = entry["ref"]["rows"], entry["ref"]["columns"]
        for expected in fields:
            with quietly(realdata / entry["path"] / expected["path"]) as field:
                check(field.images[0], expected)
                row, column, _ = expected["path"].split("/")
                top, left = rows.index(row) * height, columns.index(column) * width
                tile = image.boxes[0][..., top : top + height, left : left + width]
                np.testing.assert_array_equal(
                    np.asarray(tile), np.asarray(field.images[0].boxes[0])
                )
        check_layers(plate)


def arrays_of(entry):
    """Return what the reference says of the arrays that are images, by path."""
    ref = entry.get("ref") or {}
    found = ref.get("elements") or ref.get("arrays") or []
    numbers = [one for one in found if one.get("sha256") and "String" not in one["dtype"]]
    return {one["path"]: one for one in numbers if len(one["shape"]) > 1}


@pytest.mark.parametrize("entry", cases("open", kinds=GROUPS))
def test_each_array_of_a_group_is_its_reference(realdata, entry):
    expected = arrays_of(entry)
    with quietly(realdata / entry["path"]) as dataset:
        assert dataset.meta["path"].tolist() == sorted(expected)
        for path, image in zip(dataset.meta["path"], dataset.images, strict=True):
            check(image, expected[path])
        check_layers(dataset)


@pytest.mark.parametrize("entry", cases("either", kinds=GROUPS))
def test_each_array_of_an_odd_group_is_its_reference(realdata, entry):
    expected = arrays_of(entry)
    for path, image in opened_or_refused(realdata, entry):
        # The reference may count the name of the store in.
        inside = [name for name in expected if name.endswith(f"/{path}")]
        for name in [path] if path in expected else inside:
            check(image, expected[name])


def opened_or_refused(realdata, entry):
    """Return the path of each image and the image; none where the store is refused by name."""
    try:
        dataset = quietly(realdata / entry["path"], on_error="blank")
    except nl.LazyLoadError as error:
        message = str(error)
    else:
        with dataset:
            check_layers(dataset)
            paths = dataset.meta["path"].tolist() * len(dataset.images)
            return list(zip(paths, dataset.images, strict=False))
    assert str(realdata) in message
    return []


@pytest.mark.parametrize("entry", cases("open", kinds=ARRAYS))
def test_an_array_is_its_reference(realdata, entry):
    with quietly(realdata / entry["path"]) as dataset:
        check(dataset.images[0], {**entry, "shape": entry["level0_shape"]})
        check_layers(dataset)


@pytest.mark.parametrize("entry", cases("error"))
def test_what_cannot_be_opened_is_refused_by_name(realdata, entry):
    with pytest.raises(nl.LazyLoadError) as caught:
        quietly(realdata / entry["path"])
    assert Path(entry["path"]).name in str(caught.value)


@pytest.mark.parametrize("entry", cases("either", kinds=KINDS - GROUPS))
def test_what_is_odd_opens_right_or_is_refused(realdata, entry):
    found = [image for _, image in opened_or_refused(realdata, entry)]
    for image in found:
        assert prod(image.shape) > 0
        if image.nbytes <= MOST_BYTES:
            np.asarray(image.boxes[0])
    if found and LINKED in entry["path"]:
        assert int(np.asarray(found[0].boxes[0]).sum(dtype=np.int64)) == LINKED_SUM
    elif found and entry.get("sha256") and entry["kind"] != "omezarr-broken":
        check(found[0], {**entry, "shape": entry["level0_shape"]})


@pytest.mark.parametrize("entry", cases("open", kinds={"n5"}))
def test_formats_that_are_not_read_here_are_refused(realdata, entry):
    with pytest.raises(nl.SourceOpenError):
        quietly(realdata / entry["path"])


@pytest.mark.parametrize("entry", cases("open", kinds={"omezarr-virtual"}))
def test_a_huge_image_opens_without_its_pixels(realdata, entry):
    with quietly(realdata / entry["path"]) as dataset:
        image = dataset.images[0]
        middle = tuple(slice(size // 2, size // 2 + 1) for size in image.shape)
        assert np.asarray(image.boxes[0][middle]).shape == (1,) * len(image.shape)


STRICT = [
    entry
    for entry in entries("open", kinds={"omezarr-image"})
    if entry["ngff_version"] in ("0.4", "0.5")
]


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["path"]) for entry in STRICT])
def test_axes_and_transformations_are_those_of_a_strict_model(realdata, entry):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            group = yaozarrs.open_group(str(realdata / entry["path"]))
            model = group.ome_metadata().multiscales[0]
    except ValueError:
        pytest.skip("the strict model refuses what this writer wrote")
    with quietly(realdata / entry["path"]) as dataset:
        image = dataset.images[0]
        assert list(image.axes) == [axis.name for axis in model.axes]
        expected = {one.type: one for one in model.datasets[0].coordinateTransformations}
        np.testing.assert_allclose(image.scale, expected["scale"].scale)
        if "translation" in expected:
            np.testing.assert_allclose(image.translate, expected["translation"].translation)
