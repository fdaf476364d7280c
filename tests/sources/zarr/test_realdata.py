"""Real Zarr stores: arrays equal those of the reference library, the rest is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from helpers.stores import ArraySource
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.zarr.array import open_array
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import open_store

ROOT = Path(__file__).resolve().parents[3]
REALDATA = Path(os.environ.get("NAPARI_LAZYLOAD_REALDATA", ROOT.parent / "shared" / "realdata"))
CATALOGUE = REALDATA / "catalogue.json"
CASES = json.loads(CATALOGUE.read_text(encoding="utf-8")) if CATALOGUE.is_file() else []
ZARR = {case["name"]: case for case in CASES if case["section"] in ("zarr", "zarr-zip")}
NOT_NUMBERS = ("StringDType()", "[(")
DATES = ("datetime64", "<M8")
WHY_NOT = (
    "expected numbers|several fields|'zfpy' is not known|storage transformers|expected Zarr version"
)


def digest(pixels):
    little = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.tobytes()).hexdigest()


def read_all(array):
    return read_box(ArraySource(array), 0, array.grid.full_box, keep=False)


def nodes_below(node):
    """Return all arrays at and below a node."""
    if node.kind == "array":
        return [node]
    children = [node.child(name) for name in node.children()]
    return [array for child in children if child is not None for array in nodes_below(child)]


def check(node, expected):
    """Return whether an array is as expected; False where it is refused, for it has no numbers."""
    try:
        array = open_array(node.store, node)
    except SourceOpenError:
        if not str(expected["dtype"]).startswith(NOT_NUMBERS):
            raise
        return False
    found = read_all(array)
    assert list(array.shape) == expected["shape"]
    if not str(expected["dtype"]).startswith(DATES):
        assert array.dtype == np.dtype(expected["dtype"]).newbyteorder("=")
    assert digest(found) == expected["sha256"]
    if expected.get("sum") is not None and array.dtype.kind in "iu":
        assert int(found.sum(dtype=object)) == expected["sum"]
    return True


@pytest.mark.parametrize(
    "name", [name for name, case in ZARR.items() if case["sha256"] and case["expect"] == "open"]
)
def test_a_real_array_is_read_bit_by_bit(realdata, name):
    case = ZARR[name]
    inside = "images/blobs_image/0" if case["kind"] == "spatialdata" else ""
    node = read_node(open_store(str(realdata / case["path"])), inside)

    assert check(node, {**case["ref"], "sha256": case["sha256"]})


def listed(case):
    return (
        (case.get("ref") or {}).get("arrays")
        if isinstance((case.get("ref") or {}).get("arrays"), list)
        else None
    )


@pytest.mark.parametrize(
    "name", [name for name, case in ZARR.items() if listed(case) and case["kind"] != "spatialdata"]
)
def test_every_array_of_a_real_group_is_read_bit_by_bit_or_holds_no_numbers(realdata, name):
    case = ZARR[name]
    store = open_store(str(realdata / case["path"]))
    root = read_node(store)
    tops = [root] if root else [read_node(store, name) for name in store.list_dir("")]
    arrays = {node.path: node for top in tops for node in nodes_below(top)}
    read = 0

    for expected in listed(case):
        path = expected["path"].strip("/")
        node = arrays.get(path) or arrays.get(
            path.partition("/")[2]
        )  # zip files with one folder around the store
        assert node is not None, f"{path} was not found among {sorted(arrays)}"
        if "sha256" in expected:
            read += check(node, expected)
    assert read or case["expect"] == "either"


UNSURE = [name for name, case in ZARR.items() if case["expect"] != "open" and not listed(case)]


@pytest.mark.parametrize("name", UNSURE)
def test_what_may_be_refused_is_read_right_or_refused_with_a_reason(realdata, name):
    case = ZARR[name]
    try:
        root = read_node(open_store(str(realdata / case["path"])))
        for node in [] if root is None else nodes_below(root):
            found = read_all(open_array(node.store, node))
            if case["sha256"] and node.path == "":
                assert digest(found) == case["sha256"]
    except SourceOpenError as err:
        if not re.search(WHY_NOT, str(err)):
            raise


@pytest.mark.parametrize(
    "name", [case["name"] for case in CASES if case["kind"] in ("git-lfs-pointers", "other-store")]
)
def test_what_only_looks_like_a_store_is_nothing_or_refused(realdata, name):
    case = next(case for case in CASES if case["name"] == name)
    store = open_store(str(realdata / case["path"]))

    if case["kind"] == "other-store":
        assert read_node(store) is None
    else:
        with pytest.raises(SourceOpenError, match="pointer of Git LFS"):
            read_node(store)
