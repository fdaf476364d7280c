"""What messages say in the same words everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np


def said(shape: Iterable[int], dtype: np.dtype[Any]) -> str:
    """Return shape and type in words.

    Examples
    --------
    >>> import numpy as np
    >>> said((512, 640, 3), np.dtype("uint8"))
    '512 x 640 x 3 uint8'
    """
    return f"{' x '.join(map(str, shape))} {dtype}"
