"""Attributes as anybody may have written them: axes, datasets, channels, labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from helpers.ome_stores import axes_of, scaled
from napari_lazyload.core.affine import linear
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.axes import axis_names, read_axes, unnamed_axes
from napari_lazyload.sources.ome_zarr.multiscales import (
    MOST_LEVELS,
    Resolution,
    dataset_paths,
    is_shifted,
    level_metas,
    ordered,
    read_placements,
)
from napari_lazyload.sources.ome_zarr.omero import (
    labels_display,
    read_channels,
    read_color,
    read_window,
)
from napari_lazyload.sources.ome_zarr.series import image_names
from napari_lazyload.sources.ome_zarr.tolerant import (
    as_number,
    as_text,
    ome_of,
    version_note,
    version_of,
)


def names_of(found, shape=None):
    axes = read_axes(found)
    return axis_names(axes, shape or (9,) * len(axes))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["t", "c", "z", "y", "x"], ("t", "c", "z", "y", "x")),
        (axes_of("tczyx"), ("t", "c", "z", "y", "x")),
        (
            [{"name": "time", "type": "time"}, {"name": "lat"}, {"name": "lon"}],
            ("time", "lat", "lon"),
        ),
        (["T", "C", "Y", "X"], ("T", "c", "Y", "X")),
        (
            [
                {"name": "Time"},
                {"name": "Channel", "type": "Channel"},
                {"name": "Y"},
                {"name": "X"},
            ],
            ("Time", "c", "Y", "X"),
        ),
        (
            [{"name": "wavelength", "type": "channel"}, {"name": "y"}, {"name": "x"}],
            ("c", "y", "x"),
        ),
        (
            [{"type": "time"}, {"type": "channel"}, {"type": "space"}, {"type": "space"}],
            ("t", "c", "y", "x"),
        ),
        ([{"type": "space"}] * 4, ("dim_0", "z", "y", "x")),
        ([{"name": "y"}, {"name": "y"}, {}], ("y", "y_2", "dim_2")),
        ([{"name": 0}, None, {"name": "x"}], ("0", "dim_1", "x")),
        (axes_of("abtczyx"), ("a", "b", "t", "c", "z", "y", "x")),
    ],
)
def test_axes_of_any_writer_get_a_name_each(found, expected):
    assert names_of(found) == expected


def test_two_channel_axes_keep_their_names():
    found = [
        {"name": "stain", "type": "channel"},
        {"name": "laser", "type": "channel"},
        {"name": "y"},
        {"name": "x"},
    ]
    assert names_of(found) == ("stain", "laser", "y", "x")


@pytest.mark.parametrize(
    ("last", "size", "expected"),
    [
        ("rgb", 3, "s"),
        ("rgba", 4, "s"),
        ("samples", 3, "s"),
        ("s", 3, "s"),
        ("s", 9, "dim_s"),
        ("c", 3, "c"),
    ],
)
def test_only_metadata_that_say_so_make_colors(last, size, expected):
    assert names_of([{"name": "y"}, {"name": "x"}, {"name": last}], (64, 64, size)) == (
        "y",
        "x",
        expected,
    )


def test_versions_that_name_no_axes_have_the_last_of_tczyx():
    assert [axis.name for axis in unnamed_axes(5)] == ["t", "c", "z", "y", "x"]
    assert [axis.name for axis in unnamed_axes(3)] == ["z", "y", "x"]
    assert [axis.name for axis in unnamed_axes(6)] == ["dim_0", "t", "c", "z", "y", "x"]


def test_units_are_taken_in_both_spellings():
    axes = read_axes(
        [
            {"name": "y", "unit": "micrometer"},
            {"name": "x", "units": "nanometer"},
            {"name": "t", "unit": None},
        ]
    )
    assert [axis.unit for axis in axes] == ["micrometer", "nanometer", None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("MICROMETER", "micrometer"),
        ("Seconds", "seconds"),
        ("mM", "mM"),
        ("Mm", "Mm"),
        ("Voxel", "Voxel"),
    ],
)
def test_units_that_are_spelled_out_are_in_small_letters(value, expected):
    (axis,) = read_axes([{"name": "x", "unit": value}])
    assert axis.unit == expected


def test_more_axes_than_dimensions_are_an_error_that_counts_them():
    entry = {"axes": axes_of("zyx"), "datasets": [{"path": "0"}]}
    with pytest.raises(SourceOpenError, match=r"shape 4 x 5, found 3 \(z, y, x\)"):
        read_placements(entry, (4, 5), "here")


def test_scale_then_translation_then_the_transformations_of_the_whole():
    entry = {
        "axes": axes_of("yx"),
        "datasets": [
            {"path": "0", "coordinateTransformations": scaled((2, 3), (10, 20))},
            {"path": "1"},
        ],
        "coordinateTransformations": scaled((5, 5), (1, 1)),
    }
    first, second = read_placements(entry, (4, 4), "here").matrices
    np.testing.assert_allclose(first, linear(np.diag([10, 15]), (51, 101)))
    assert second is None


def test_transformations_of_the_whole_alone_place_the_finest_level():
    entry = {
        "datasets": [{"path": "0"}, {"path": "1"}],
        "coordinateTransformations": scaled((5, 5)),
    }
    first, second = read_placements(entry, (4, 4), "here").matrices
    np.testing.assert_allclose(first, linear(np.diag([5, 5])))
    assert second is None


def test_what_spatialdata_says_of_other_worlds_counts_once():
    shared = {
        "type": "scale",
        "scale": [3, 3],
        "input": {"name": "yx"},
        "output": {"name": "global"},
    }
    aligned = {
        "type": "scale",
        "scale": [7, 7],
        "input": {"name": "yx"},
        "output": {"name": "aligned"},
    }
    entry = {
        "axes": axes_of("yx"),
        "datasets": [{"path": "0", "coordinateTransformations": scaled((2, 2))}],
        "coordinateTransformations": [aligned, shared],
    }
    np.testing.assert_allclose(
        read_placements(entry, (4, 4), "here").matrices[0], linear(np.diag([6, 6]))
    )


def world(name, axes):
    return {"name": name, "axes": [{"name": axis} for axis in axes]}


def between(start, end, **transform):
    """Return an image of spatialdata, whose transformations name their axes, in any order."""
    whole = {**transform, "input": world("cyx", start), "output": world("global", end)}
    datasets = [{"path": "0", "coordinateTransformations": scaled((1, 1, 1))}]
    return {"axes": axes_of("cyx"), "datasets": datasets, "coordinateTransformations": [whole]}


def test_axes_of_a_transformation_in_another_order_are_put_in_that_of_the_image():
    turn = {"type": "affine", "affine": [[1, 0, 0, 0], [0, -1, 0, 100], [0, 0, 2, 5]]}
    expected = [
        [1, 0, 0, 0],
        [0, 0, 2, 5],
        [0, -1, 0, 100],
        [0, 0, 0, 1],
    ]  # x' = 100 - y, y' = 5 + 2 x
    layout = read_placements(between("cyx", "cxy", **turn), (3, 4, 4), "here")
    np.testing.assert_array_equal(layout.matrices[0], expected)
    assert not layout.reorder
    inner = {**turn, "input": world("cyx", "cyx"), "output": world("", "cxy")}
    layout = read_placements(
        between("cyx", "cyx", type="sequence", transformations=[inner]), (3, 4, 4), "here"
    )
    np.testing.assert_array_equal(layout.matrices[0], expected)
    layout = read_placements(
        between("xyc", "cyx", type="mapAxis", mapAxis={"c": "c", "y": "y", "x": "x"}),
        (3, 4, 4),
        "here",
    )
    np.testing.assert_array_equal(layout.matrices[0], np.eye(4))
    layout = read_placements(between("cyx", "yx", type="scale", scale=[2, 2]), (3, 4, 4), "here")
    np.testing.assert_array_equal(layout.matrices[0], np.eye(4))
    assert "output axes y, x cannot be shown; expected c, y, x" in layout.notes[0]


def test_a_world_of_spatialdata_can_be_asked_for():
    entry = between("cyx", "cyx", type="scale", scale=[1, 2, 2])
    other = {
        "type": "translation",
        "translation": [0, 5, 6],
        "input": world("cyx", "cyx"),
        "output": world("aligned", "cyx"),
    }
    entry["coordinateTransformations"].append(other)
    layout = read_placements(entry, (3, 4, 4), "here", "aligned")
    assert (layout.system, layout.systems) == ("aligned", ("global", "aligned"))
    np.testing.assert_array_equal(layout.matrices[0][:, -1], [0, 5, 6, 1])
    layout = read_placements(entry, (3, 4, 4), "here", "nowhere")
    assert layout.system == "global"
    assert layout.notes == ["has no coordinate system 'nowhere', but 'global', 'aligned'"]


def system(name, axes="yx"):
    return {"name": name, "axes": axes_of(axes)}


def modern(*whole, systems=("physical",), dataset=None):
    own = dataset or {
        "type": "scale",
        "scale": [2, 3],
        "input": {"path": "0"},
        "output": {"name": "physical"},
    }
    return {
        "coordinateSystems": [system(name) for name in systems],
        "datasets": [{"path": "0", "coordinateTransformations": [own]}],
        "coordinateTransformations": list(whole),
    }


def way(start, end, **transform):
    return {"input": {"name": start}, "output": {"name": end}, **transform}


def test_an_image_is_placed_in_the_first_coordinate_system_that_can_be_reached():
    turned = way("physical", "turned", type="rotation", rotation=[[0, -1], [1, 0]])
    layout = read_placements(modern(turned, systems=("turned", "physical")), (4, 4), "here")
    assert (layout.system, layout.systems) == ("turned", ("turned", "physical"))
    np.testing.assert_allclose(layout.matrices[0], linear([[0, -3], [2, 0]]))


def test_another_coordinate_system_can_be_asked_for():
    far = way("physical", "stage", type="translation", translation=[100, 200])
    layout = read_placements(modern(far, systems=("physical", "stage")), (4, 4), "here", "stage")
    assert layout.system == "stage"
    np.testing.assert_allclose(layout.matrices[0], linear(np.diag([2, 3]), (100, 200)))
    assert layout.notes == []
    unknown = read_placements(modern(far, systems=("physical", "stage")), (4, 4), "here", "moon")
    assert unknown.system == "physical"
    assert "no coordinate system 'moon'" in unknown.notes[0]


def test_a_coordinate_system_may_be_several_ways_off():
    first = way("physical", "stage", type="translation", translation=[10, 20])
    second = way("stage", "far", type="scale", scale=[5, 5])
    layout = read_placements(
        modern(second, first, systems=("physical", "stage", "far")), (4, 4), "here", "far"
    )
    np.testing.assert_allclose(layout.matrices[0], linear(np.diag([10, 15]), (50, 100)))


WARP = {"type": "displacements", "path": "field"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"datasets": [{"path": "0"}], "coordinateTransformations": [WARP]},
            "transformations of the whole image",
        ),
        (
            {"datasets": [{"path": "0", "coordinateTransformations": [WARP]}]},
            "transformations of '0'",
        ),
        (modern(dataset={**WARP, "output": {"name": "physical"}}), "transformations of '0'"),
    ],
    ids=["whole", "dataset", "coordinate systems"],
)
def test_transformations_that_cannot_be_shown_are_left_out_and_said(entry, message):
    layout = read_placements(entry, (4, 4), "here")
    assert layout.matrices == [None]
    assert layout.notes == [
        f"the {message} are left out: a transformation of type 'displacements' cannot be shown",
    ]


def test_lists_of_datasets_that_no_pyramid_has_end():
    assert len(dataset_paths({"datasets": [{"path": "0"}] * 1000})) == MOST_LEVELS


@pytest.mark.parametrize(
    ("kinds", "shifted"),
    [
        ([], False),
        (["scale"], False),
        (["identity", "scale"], False),
        (["scale", "translation"], True),
    ],
)
def test_a_dataset_says_where_its_first_pixel_lies_by_more_than_a_scale(kinds, shifted):
    assert is_shifted({"coordinateTransformations": [{"type": kind} for kind in kinds]}) == shifted


def test_a_displacement_field_is_said_and_the_image_stays_where_it_can_be_shown():
    warped = way("physical", "warped", type="displacements", path="field")
    layout = read_placements(modern(warped, systems=("warped", "physical")), (4, 4), "here")
    assert (layout.system, layout.systems) == ("physical", ("physical",))
    assert layout.notes == [
        "the way from 'physical' to 'warped' is left out: a transformation of type "
        "'displacements' cannot be shown"
    ]


def test_a_coordinate_system_of_other_axes_than_the_pixels_is_passed_over():
    flat = way("physical", "flat", type="translation", translation=[5, 0])
    entry = modern(flat, systems=("flat", "physical"))
    entry["coordinateSystems"][0]["axes"].pop()
    layout = read_placements(entry, (4, 4), "here")
    assert (layout.system, layout.systems) == ("physical", ("physical",))


def test_pixels_in_a_coordinate_system_that_is_not_described_have_the_axes_of_one_that_is():
    own = {"type": "scale", "scale": [3, 4], "input": "0", "output": "nowhere"}
    entry = modern(dataset=own)
    entry["coordinateSystems"][0]["axes"].reverse()
    layout = read_placements(entry, (4, 4), "here")
    assert [axis.name for axis in layout.axes] == ["x", "y"]
    np.testing.assert_allclose(layout.matrices[0], np.diag([3, 4, 1]))
    (text,) = layout.notes
    assert "'nowhere', which is not described; expected one of 'physical'" in text


def test_ends_of_transformations_may_be_plain_names():
    own = {"type": "translation", "translation": [3, 4], "input": "0", "output": "physical"}
    np.testing.assert_allclose(
        read_placements(modern(dataset=own), (4, 4), "here").matrices[0], linear(np.eye(2), (3, 4))
    )


@dataclass
class Grid:
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def grid(self):
        return ChunkGrid(self.shape, self.shape)


def level(path, shape, scale=None, translation=None, dtype="uint8"):
    matrix = None if scale is None else linear(np.diag(scale), translation)
    return Resolution(path, Grid(shape, np.dtype(dtype)), matrix, translation is not None)


def factors_of(*levels):
    notes = []
    metas = level_metas(ordered(levels, notes), notes)
    return [(one.factors, one.offsets) for one in metas[1:]], notes


def test_levels_without_translation_have_corners_that_coincide():
    assert factors_of(level("0", (8, 8), (1, 1)), level("1", (4, 4), (2, 2))) == (
        [((2, 2), None)],
        [],
    )


def test_a_translation_that_says_the_same_is_no_offset_of_its_own():
    assert factors_of(level("0", (8, 8), (3, 3)), level("1", (4, 4), (6, 6), (1.5, 1.5))) == (
        [((2, 2), None)],
        [],
    )


def test_a_translation_is_taken_at_its_word():
    found, notes = factors_of(
        level("0", (8, 8), (1, 1), (5, 5)), level("1", (2, 2), (4, 4), (5, 5))
    )
    assert found == [((4, 4), (0, 0))]
    assert notes == []  # less than half a pixel of that level


def test_a_level_that_lies_elsewhere_is_said():
    found, notes = factors_of(level("0", (8, 8), (1, 1)), level("1", (4, 4), (2, 2), (4, 0.5)))
    assert found == [((2, 2), (4, 0.5))]
    assert "level '1' lies 1.8 of its pixels" in notes[0]


def test_transformations_that_contradict_the_shape_give_way_to_it():
    found, notes = factors_of(level("0", (8, 8), (1, 1)), level("1", (4, 4), (1, 1)))
    assert found == [((2, 2), None)]
    assert "do not suit its shape" in notes[0]


@pytest.mark.parametrize(
    ("finest", "matrix"),
    [
        (level("0", (8, 8), (1, 1)), linear([[2, 0.5], [0, 2]])),
        (level("0", (8, 8), (1e-150, 1e-150)), linear(np.diag([2e-150, 2e-150]), (1e300, 0))),
    ],
    ids=["shear", "infinite"],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_level_that_lies_where_none_can_gives_way_to_its_shape(finest, matrix):
    found, notes = factors_of(
        finest, Resolution("1", Grid((4, 4), np.dtype("uint8")), matrix, shifted=True)
    )
    assert found == [((2, 2), None)]
    assert "do not suit its shape" in notes[0]


def test_a_shape_cut_by_a_pixel_keeps_the_whole_factor():
    assert factors_of(level("0", (9, 8), (1, 1)), level("1", (4, 4), (2, 2))) == (
        [((2, 2), None)],
        [],
    )


def test_levels_in_the_wrong_order_are_sorted():
    found, notes = factors_of(level("small", (4, 4), (2, 2)), level("large", (8, 8), (1, 1)))
    assert found == [((2, 2), None)]
    assert "sorted by size" in notes[0]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (level("1", (4,), (2,)), "1 dimensions"),
        (level("1", (4, 4), (2, 2), dtype="float32"), "of type float32"),
        (level("1", (8, 8), (1, 1)), "as large as"),
        (level("1", (2, 16), (4, 0.5)), "no smaller one"),
    ],
)
def test_an_array_that_is_no_level_of_the_others_is_left_out_and_said(odd, message):
    found, notes = factors_of(level("0", (8, 8), (1, 1)), odd)
    assert found == []
    assert "level '1' is left out" in notes[0]
    assert message in notes[0]


def test_a_level_is_compared_with_the_one_before():
    found, notes = factors_of(
        level("0", (8, 8), (1, 1)), level("1", (4, 4), (2, 2)), level("2", (4, 4), (2, 2))
    )
    assert found == [((2, 2), None)]
    assert notes == ["level '2' is left out: it is as large as the one before"]


def test_channels_are_as_omero_says():
    omero = {
        "channels": [
            {
                "label": "DAPI",
                "color": "0000FF",
                "window": {"start": 5, "end": 90, "min": 0, "max": 255},
                "active": True,
            },
            {
                "label": 7,
                "color": "#ff0000",
                "window": {"start": "1", "end": "10"},
                "active": False,
            },
        ]
    }
    first, second = read_channels(omero, 2)
    assert (first.name, first.colormap, first.contrast_limits, first.visible) == (
        "DAPI",
        "#0000ff",
        (5, 90),
        True,
    )
    assert (second.name, second.colormap, second.contrast_limits, second.visible) == (
        "7",
        "#ff0000",
        (1, 10),
        False,
    )


@pytest.mark.parametrize(
    "value",
    [None, {}, {"channels": None}, {"channels": ["DAPI", None, 3]}, {"channels": [{}]}, "x"],
)
def test_channels_that_nobody_describes_have_plain_names_and_colors_of_their_own(value):
    found = read_channels(value, 3)
    assert [one.name for one in found] == ["channel 0", "channel 1", "channel 2"]
    assert len({one.colormap for one in found}) == 3
    assert {one.contrast_limits for one in found} == {None}


def test_more_descriptions_than_channels_are_passed_over():
    assert [
        one.name for one in read_channels({"channels": [{"label": "a"}, {"label": "b"}]}, 1)
    ] == ["a"]


def test_an_image_of_one_channel_needs_no_second_name_and_no_color():
    (only,) = read_channels(None, 1)
    assert (only.name, only.colormap) == ("", None)


@pytest.mark.parametrize(
    ("value", "shown"), [(False, False), (0, False), ("false", False), (1, True), (None, True)]
)
def test_a_channel_that_is_not_active_is_hidden(value, shown):
    first, _ = read_channels({"channels": [{"active": value}, {"active": True}]}, 2)
    assert first.visible == shown


def test_where_no_channel_is_active_all_are_shown():
    assert all(
        one.visible
        for one in read_channels({"channels": [{"active": False}, {"active": False}]}, 2)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ff8000", "#ff8000"),
        ("#F80", "#ff8800"),
        ("FF800080", "#ff8000"),
        ("red", None),
        (16711680, None),
        ("", None),
    ],
)
def test_colors_are_hexadecimal_digits(value, expected):
    assert read_color(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"start": 0, "end": 255}, (0, 255)),
        ({"min": 3, "end": 9}, (3, 9)),
        ({"start": 3, "max": 9}, (3, 9)),
        ({"min": 3, "max": 9}, None),
        ({"start": 5, "end": 5}, None),
        ({"start": 9, "end": 5}, None),
        ({"start": None, "end": "many"}, None),
        ({"start": float("nan"), "end": 1}, None),
        ([0, 1], None),
        (None, None),
    ],
)
def test_a_window_needs_a_start_and_an_end(value, expected):
    assert read_window(value) == expected


def test_labels_have_colors_and_a_table():
    display = labels_display(
        {
            "colors": [
                {"label-value": 1, "rgba": [255, 0, 0, 255]},
                {"label-value": 2.0, "rgba": [0, 255, 0]},
                {"label-value": 3, "rgba": [0, 999, 0, 0]},
                {"label-value": 4.5, "rgba": [1, 1, 1, 1]},
                {"label-value": 5, "rgba": [0, 0, 255, 51]},
                {"label-value": "x"},
            ],
            "properties": [
                {"label-value": 1, "class": "a", "area": 5, "index": 7},
                {"label-value": 2, "class": "b"},
                {"class": "lost"},
            ],
        }
    )
    assert display["colormap"][1] == (1, 0, 0, 1)
    assert display["colormap"][2] == (0, 1, 0, 1)
    assert display["colormap"][0] == (0, 0, 0, 0)
    assert display["colormap"][5] == (0, 0, 1, 0.2)
    assert not {3, 4} & set(display["colormap"])
    assert display["features"] == {"index": [1, 2], "class": ["a", "b"], "area": [5, None]}


@pytest.mark.parametrize(
    "value",
    [None, {}, {"colors": []}, {"colors": [{}], "properties": [{}]}, {"properties": {"a": 1}}],
)
def test_labels_that_say_nothing_leave_it_to_napari(value):
    assert labels_display(value) == {}


def test_the_attributes_are_under_ome_since_version_0_5():
    assert ome_of({"ome": {"a": 1}, "b": 2}) == {"a": 1}
    assert ome_of({"b": 2}) == {"b": 2}
    assert ome_of({"ome": "text", "b": 2})["b"] == 2


@pytest.mark.parametrize(
    ("attributes", "version", "noted"),
    [
        ({"multiscales": [{"version": "0.4"}]}, "0.4", False),
        ({"ome": {"version": "0.5-dev-spatialdata"}}, "0.5-dev-spatialdata", False),
        ({"ome": {"version": "0.6.dev4"}}, "0.6.dev4", False),
        ({"ome": {"version": "7.1"}}, "7.1", True),
        ({"plate": {"version": "0.4"}}, "0.4", False),
        ({}, None, False),
    ],
)
def test_a_version_that_is_not_known_is_said(attributes, version, noted):
    assert version_of(attributes) == version
    assert (version_note(attributes) is not None) == noted


def test_values_of_other_types_are_none():
    assert [as_text(one) for one in (None, True, [], {}, " ", 3, "a")] == [
        None,
        None,
        None,
        None,
        None,
        "3",
        "a",
    ]
    assert [as_number(one) for one in (None, True, "x", "1e400", 1e-99, "2.5", 7)] == [
        *[None] * 5,
        2.5,
        7,
    ]


OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'


def test_names_of_images_come_from_the_xml():
    document = OME.format(
        '<Image ID="a" Name="one"><Pixels/></Image><Instrument/>'
        '<Image ID="b"><Image Name="inner"/></Image>'
    )
    assert image_names(document.encode()) == ["one", ""]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<OME><Image",
        b"\xff\xfe\x00",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><OME><Image Name="&b;"/></OME>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><OME><Image Name="x"/></OME>',
    ],
)
def test_xml_that_is_broken_or_could_do_harm_gives_no_names(document):
    assert image_names(document) == []
