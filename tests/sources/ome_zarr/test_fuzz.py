"""Metadata with anything anywhere: a store opens, or is refused by the package's own error."""

from __future__ import annotations

import copy
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import napari_lazyload as nl
from helpers.ome_stores import (
    axes_of,
    pyramid,
    scaled,
    write_array,
    write_group,
    write_image,
    write_plate,
)

JUNK = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            "",
            "0",
            "../x",
            "/",
            "a/b",
            [],
            {},
            0,
            -1,
            1,
            3.5,
            10**12,
            1e308,
            "NaN",
            [None],
            [[1]],
        ]
    ),
    st.text(max_size=3),
    st.integers(-5, 5),
    st.lists(st.floats(allow_nan=False, width=16), max_size=6),
    st.dictionaries(
        st.sampled_from(["path", "name", "type", "scale", "axes", "images"]),
        st.integers(0, 3),
        max_size=3,
    ),
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, path, junk):
    if not path:
        return junk
    value = copy.deepcopy(value)
    here = value
    for key in path[:-1]:
        here = here[key]
    if junk == "drop":
        del here[path[-1]]
    else:
        here[path[-1]] = junk
    return value


def image_store(path):
    write_image(
        path,
        pyramid((2, 8, 8), 2, "uint8"),
        "cyx",
        scale=(1, 2, 2),
        omero={
            "channels": [
                {"label": "a", "color": "FF0000", "window": {"start": 0, "end": 9}},
                {"active": False},
            ]
        },
    )
    about = {
        "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}],
        "properties": [{"label-value": 1, "class": "x"}],
    }
    write_group(path / "labels", {"labels": ["cells"]})
    write_image(path / "labels" / "cells", pyramid((8, 8), 1, "uint8"), **{"image-label": about})
    return ["", "labels", "labels/cells"]


def plate_store(path):
    write_plate(
        path,
        {"A/1": [pyramid((4, 4), 1)[0]] * 2, "A/2": [pyramid((4, 4), 1)[0]]},
        acquisitions=(1, 2),
        field_count=2,
    )
    return ["", "A/1", "A/1/0"]


def modern_store(path):
    part = {
        "type": "byDimension",
        "transformations": [
            {"type": "scale", "scale": [2], "input_axes": ["y"], "output_axes": ["y"]}
        ],
    }
    own = {
        "type": "sequence",
        "transformations": [*scaled((2, 2), (1, 1)), part],
        "output": {"name": "physical"},
    }
    turned = {
        "type": "rotation",
        "rotation": [[0, -1], [1, 0]],
        "input": {"name": "physical"},
        "output": {"name": "turned"},
    }
    mapped = {
        "type": "mapAxis",
        "mapAxis": [1, 0],
        "input": {"name": "turned"},
        "output": {"name": "mapped"},
    }
    systems = [{"name": name, "axes": axes_of("yx")} for name in ("mapped", "turned", "physical")]
    entry = {
        "coordinateSystems": systems,
        "datasets": [{"path": "0", "coordinateTransformations": [own]}],
        "coordinateTransformations": [turned, mapped],
    }
    for name in ("a", "b"):
        write_array(path / name / "0", pyramid((8, 8), 1)[0])
        write_group(path / name, {"multiscales": [entry]}, "0.6")
    step = {
        "type": "affine",
        "affine": [[1, 0, 5], [0, 1, 6]],
        "input": {"path": "a", "name": "mapped"},
    }
    scene = {
        "coordinateTransformations": [{**step, "output": {"path": "b", "name": "mapped"}}],
        "coordinateSystems": [],
    }
    write_group(path, {"scene": scene}, "0.6")
    return ["", "a"]


@pytest.mark.parametrize("make", [image_store, plate_store, modern_store])
def test_a_store_with_junk_in_its_metadata_opens_or_is_refused(tmp_path_factory, make):
    folder = tmp_path_factory.mktemp("fuzz") / "a.zarr"
    files = {name: folder / name / "zarr.json" for name in make(folder)}
    originals = {name: json.loads(file.read_text()) for name, file in files.items()}
    spots = [
        (name, path) for name, value in originals.items() for path in places(value["attributes"])
    ]

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.lists(st.tuples(st.sampled_from(spots), JUNK | st.just("drop")), min_size=1, max_size=3)
    )
    def opens(changes):
        values = copy.deepcopy(originals)
        for (name, path), junk in changes:
            if path in set(places(values[name]["attributes"])):
                values[name]["attributes"] = changed(values[name]["attributes"], path, junk)
        for name, file in files.items():
            file.write_text(json.dumps(values[name]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nl.LazyLoadWarning)
            try:
                dataset = nl.open_dataset(folder, on_error="blank")
            except nl.SourceOpenError:
                return
            with dataset:
                for image in dataset.images:
                    assert image.nbytes < 1e9
                    np.asarray(image.boxes[-1])
                    assert (
                        len(image.scale)
                        == len(image.translate)
                        == len(image.units)
                        == image.spatial_ndim
                    )
                dataset.to_layer_data()
                assert len(dataset.meta) > 0

    opens()
