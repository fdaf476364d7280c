"""What a cast loses is said first: exactly where something is lost, and nowhere else."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.cropping.cast_loss import cast_loss

WHOLE = [np.dtype(name) for name in ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")]
TARGETS = [*WHOLE, *map(np.dtype, ("f2", "f4", "f8", "c8", "c16"))]

SAID = {
    ("uint16", "uint8"): "As uint8, values above 255 wrap around.",
    ("int16", "uint8"): "As uint8, values outside 0 to 255 wrap around.",
    ("int8", "uint8"): "As uint8, negative values wrap around.",
    ("int32", "int8"): "As int8, values outside -128 to 127 wrap around.",
    (
        "int32",
        "float16",
    ): "As float16, whole numbers beyond 2048 are rounded and values beyond 65504 become infinite.",
    ("uint32", "float32"): "As float32, whole numbers beyond 16777216 are rounded.",
    ("int64", "float64"): "As float64, whole numbers beyond 9007199254740992 are rounded.",
    (
        "float64",
        "float32",
    ): "As float32, values are rounded to 6 digits and values beyond 3.40282e+38 become infinite.",
    ("float32", "uint8"): (
        "As uint8, fractions are cut off and NaN, infinity and values outside 0 to 255 "
        "become arbitrary numbers."
    ),
    (
        "float16",
        "int32",
    ): "As int32, fractions are cut off and NaN and infinity become arbitrary numbers.",
    ("complex64", "float32"): "As float32, the imaginary part is dropped.",
    ("complex64", "int16"): (
        "As int16, the imaginary part is dropped, fractions are cut off and "
        "NaN, infinity and values outside -32768 to 32767 become arbitrary numbers."
    ),
    ("uint8", "bool"): "As bool, all values but 0 become True.",
    ("float32", "bool"): "As bool, all values but 0 become True.",
    ("uint8", "S3"): "As |S3, values of type uint8 cannot be kept.",
}


@pytest.mark.parametrize(("types", "sentence"), SAID.items(), ids=map(" to ".join, SAID))
def test_what_is_lost_is_one_sentence(types, sentence):
    assert cast_loss(*types) == sentence


KEEPS = [
    ("uint8", "uint8"),
    (">u2", "<u2"),
    ("uint8", "int16"),
    ("uint8", "float16"),
    ("uint16", "float32"),
    ("int32", "float64"),
    ("bool", "uint8"),
    ("float16", "float64"),
    ("uint16", "complex64"),
    ("complex64", "complex128"),
    ("float32", "longdouble"),
]


@pytest.mark.parametrize("types", KEEPS, ids=map(" to ".join, KEEPS))
def test_a_cast_that_keeps_all_says_nothing(types):
    assert cast_loss(*types) == ""


LIMITS = {
    "fits": ("uint16", "uint8", (0, 255), ""),
    "one too much": ("uint16", "uint8", (0, 256), "above 255 wrap"),
    "below": ("int16", "int8", (-129, 5), "below -128 wrap"),
    "whole in float16": ("uint16", "float16", (0, 2048), ""),
    "odd in float16": ("uint16", "float16", (0, 2049), "beyond 2048 are rounded."),
    "negative in float16": ("int16", "float16", (-2049, 0), "beyond 2048 are rounded."),
    "rounded to the largest": ("uint16", "float16", (0, 65519), "beyond 2048 are rounded."),
    "rounded beyond": ("uint16", "float16", (0, 65520), "above 65504 become infinite."),
    "fractions in range": ("float32", "uint8", (0.0, 9.5), "cut off and NaN and infinity become"),
    "fractions beyond": (
        "float32",
        "uint8",
        (0.0, 300.0),
        "NaN, infinity and values above 255 become",
    ),
    "digits in range": ("float64", "float16", (0.0, 1.0), "rounded to 3 digits."),
    "mask": ("uint8", "bool", (0, 1), ""),
    "unknown": ("uint16", "uint8", (float("nan"), 3), "above 255 wrap"),
    "NumPy's numbers": ("uint16", "uint8", (np.uint16(0), np.uint16(255)), ""),
}


@pytest.mark.parametrize(("source", "target", "limits", "said"), LIMITS.values(), ids=LIMITS)
def test_known_limits_count(source, target, limits, said):
    found = cast_loss(source, target, limits)
    assert (said in found) if said else found == ""


@given(st.sampled_from(WHOLE[1:]), st.sampled_from(TARGETS), st.data())
def test_something_is_said_where_a_whole_number_is_lost_and_nowhere_else(source, target, data):
    info = np.iinfo(source)
    low, high = data.draw(st.integers(int(info.min), 0)), data.draw(st.integers(0, int(info.max)))
    # Whatever a type can lose, it loses at the ends or next to a power of two.
    edges = [low, high, *(sign * (2**power + 1) for power in range(64) for sign in (1, -1))]
    values = np.array(sorted({edge for edge in edges if low <= edge <= high}), source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy says some of it too
        cast = values.astype(target)
    kept = all(
        complex(a) == complex(b) and int(a) == _whole(b) for a, b in zip(values, cast, strict=True)
    )
    assert (cast_loss(source, target, (low, high)) == "") == kept


def _whole(value):
    real = value.real
    return int(real) if np.isfinite(real) else None
