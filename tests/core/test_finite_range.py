"""The least and the greatest number among some pixels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lazyload.core.finite_range import finite_range


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        pytest.param(np.array([[3, 7], [5, 4]], "u2"), (3, 7), id="integers"),
        pytest.param(np.array([True, False]), (0, 1), id="bits"),
        pytest.param(np.array([1.5, -2], "f4"), (-2, 1.5), id="floats"),
        pytest.param(
            np.array([np.nan, 2, np.inf, -1, -np.inf]), (-1, 2), id="what is no number is left out"
        ),
        pytest.param(np.array([np.nan, np.inf]), None, id="no number"),
        pytest.param(np.zeros((0, 3)), None, id="no pixel"),
    ],
)
def test_finite_range(pixels, expected):
    assert finite_range(pixels) == expected
