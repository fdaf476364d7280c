"""Coordinate transformations of OME-Zarr, as matrices and as what napari places an image by."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lazyload.core.affine import linear, matrix_from, placement_of
from napari_lazyload.sources.ome_zarr.transforms import UnshownTransformError, composed, matrix_of

ZYX = ("z", "y", "x")
SCALE = {"type": "scale", "scale": [2, 3, 4]}
SHIFT = {"type": "translation", "translation": [10, 20, 30]}


def moved(transform, point, inputs=ZYX, outputs=ZYX):
    return (matrix_of(transform, inputs, outputs) @ [*point, 1])[:-1].tolist()


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"type": "identity"}, [1, 2, 3]),
        (SCALE, [2, 6, 12]),
        (SHIFT, [11, 22, 33]),
        ({"type": "rotation", "rotation": [[1, 0, 0], [0, 0, -1], [0, 1, 0]]}, [1, -3, 2]),
        ({"type": "affine", "affine": [[1, 0, 0, 5], [0, 2, 0, 6], [0, 1, 1, 7]]}, [6, 10, 12]),
        (
            {"type": "affine", "affine": [[1, 0, 0, 5], [0, 2, 0, 6], [0, 1, 1, 7], [0, 0, 0, 1]]},
            [6, 10, 12],
        ),
        ({"type": "mapAxis", "mapAxis": [1, 2, 0]}, [2, 3, 1]),
        ({"type": "mapAxis", "mapAxis": {"z": "x", "x": "z"}}, [3, 2, 1]),
        ({"type": "sequence", "transformations": [SCALE, SHIFT]}, [12, 26, 42]),
        ({"type": "sequence", "transformations": [SHIFT, SCALE]}, [22, 66, 132]),
        ({"type": "bijection", "forward": SCALE, "inverse": {"type": "identity"}}, [2, 6, 12]),
        ({"type": "inverseOf", "transformation": SCALE}, [0.5, 2 / 3, 0.75]),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_kind_moves_a_point_as_the_drafts_say(transform, expected):
    assert moved(transform, (1, 2, 3)) == pytest.approx(expected)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [("input_axes", "output_axes"), ("inputAxes", "outputAxes"), ("input", "output")],
)
def test_by_dimension_moves_some_axes_and_leaves_the_others(nested, before, after):
    inner = {"type": "scale", "scale": [7]}
    part = {before: ["y"], after: ["y"], **({"transformation": inner} if nested else inner)}
    rest = {"type": "mapAxis", "mapAxis": [1, 0]}
    swap = {before: [0, 2], after: [0, 2], **({"transformation": rest} if nested else rest)}
    assert moved({"type": "byDimension", "transformations": [part, swap]}, (1, 2, 3)) == [3, 14, 1]
    assert moved({"type": "byDimension", "transformations": [part]}, (1, 2, 3)) == [1, 14, 3]


def test_by_dimension_may_lead_to_other_axes():
    parts = [
        {"type": "scale", "scale": [7], "input_axes": ["y"], "output_axes": ["z"]},
        {"type": "identity", "input_axes": ["z"], "output_axes": ["y"]},
    ]
    assert moved({"type": "byDimension", "transformations": parts}, (1, 2, 3)) == [14, 1, 3]


def test_the_inverse_leads_from_the_names_after_to_those_before():
    back = {"type": "scale", "scale": [4], "input_axes": ["b"], "output_axes": ["y"]}
    inverse = {
        "type": "inverseOf",
        "transformation": {"type": "byDimension", "transformations": [back]},
    }
    assert moved(inverse, (1, 2, 3), ZYX, ("a", "b", "c")) == [1, 0.5, 3]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"type": "displacements", "path": "field"}, "'displacements' cannot be shown"),
        ({"type": "coordinates", "path": "field"}, "'coordinates' cannot be shown"),
        ({}, "type None cannot be shown"),
        ({"type": "scale", "path": "values"}, "'values' is not read"),
        ({"type": "scale", "scale": [1, 2]}, "3 numbers"),
        ({"type": "scale", "scale": "large"}, "3 numbers"),
        ({"type": "translation", "translation": [1, 2, float("nan")]}, "3 numbers"),
        ({"type": "rotation", "rotation": [[1, 0], [0, 1]]}, "3 x 3"),
        ({"type": "affine", "affine": [1, 2, 3]}, "3 x 4"),
        ({"type": "affine", "affine": [[1, 0], [0, 1], [0, 0]]}, "3 x 4"),
        ({"type": "mapAxis", "mapAxis": [0, 0, 1]}, "each of 3 axes once"),
        (
            {"type": "inverseOf", "transformation": {"type": "scale", "scale": [0, 1, 1]}},
            "inverted",
        ),
        (
            {
                "type": "byDimension",
                "transformations": [{**SCALE, "input_axes": ["q"], "output_axes": ["z"]}],
            },
            "expected one of the axes z, y, x, found 'q'",
        ),
        (
            {
                "type": "byDimension",
                "transformations": [{"type": "identity", "input": [9], "output": [0]}],
            },
            "axes",
        ),
        (
            {"type": "byDimension", "transformations": [{"type": "identity"}]},
            r"from axes \[\] to \[\]",
        ),
    ],
)
def test_what_cannot_be_shown_says_what_it_is(transform, message):
    with pytest.raises(UnshownTransformError, match=message):
        matrix_of(transform, ZYX, ZYX)


def test_no_transformation_changes_nothing():
    assert np.array_equal(composed(None, ZYX, ZYX), np.eye(4))


def test_scale_and_translation_need_no_affine_matrix():
    placed = placement_of(composed([SCALE, SHIFT], ZYX, ZYX))
    assert (placed.order, placed.scale, placed.translate) == ((0, 1, 2), (2, 3, 4), (10, 20, 30))
    assert placed.affine is None


def test_exchanged_axes_are_told_by_their_order():
    exchanged = linear([[0, 0, 5], [3, 0, 0], [0, 4, 0]], (10, 20, 30))
    placed = placement_of(exchanged)
    # The first axis of the array runs along the second one of the world, and so on.
    assert (placed.order, placed.scale, placed.translate) == ((1, 2, 0), (3, 4, 5), (20, 30, 10))
    assert placed.affine is None


def test_what_rounding_leaves_of_a_quarter_turn_is_nothing():
    placed = placement_of(linear([[1e-16, 2], [3, 1e-16]], (5, 6)))
    assert (placed.order, placed.scale, placed.translate, placed.affine) == (
        (1, 0),
        (3, 2),
        (6, 5),
        None,
    )


def test_an_axis_that_moves_nothing_leaves_numbers():
    placed = placement_of(linear([[0, 3], [0, 4]], (5, 6)))
    assert placed.scale == (1, 5)
    np.testing.assert_allclose(
        matrix_from(placed.scale, placed.translate, placed.affine)[:2], [[0, 3, 5], [0, 4, 6]]
    )


@pytest.mark.parametrize(
    ("matrix", "reorder"),
    [
        (linear([[0, -2], [2, 0]], (5, 6)), True),
        (linear([[2, 0.5], [0.1, 3]], (5, 6)), True),
        (linear([[0, 4], [3, 0]], (5, 6)), False),
    ],
    ids=["quarter turn", "shear", "exchanged"],
)
def test_turns_and_shears_become_an_affine_matrix_after_the_scale(matrix, reorder):
    placed = placement_of(matrix, reorder=reorder)
    assert placed.affine is not None
    assert placed.order == (0, 1)
    assert min(placed.scale) > 0
    np.testing.assert_allclose(matrix_from(placed.scale, placed.translate, placed.affine), matrix)
