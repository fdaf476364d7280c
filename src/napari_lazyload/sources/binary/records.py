"""One field of a structured type, for frames or pixels with a header in front of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_lazyload.sources.binary.read_strided import dense_strides
from napari_lazyload.sources.binary.strided import StridedLayout
from napari_lazyload.sources.files import BadOptionError, refuse_if


def pick_field(path: str, layout: StridedLayout, key: Any) -> StridedLayout:
    """Return the layout of one field of records, whose own axes come last.

    Parameters
    ----------
    path : str
        The file, for messages.
    layout : StridedLayout
        Of the records.
    key : str or None
        Name of the field; ``"a.b"`` for one within another.

    Raises
    ------
    SourceOpenError
        If the type has fields and none of them is named.
    BadOptionError
        If one is named that it does not have.
    """
    dtype = layout.dtype
    if key is None:
        refuse_if(
            dtype.names is not None,
            path,
            "numbers",
            f"records with the fields {', '.join(map(repr, dtype.names or ()))[:500]}",
            "name one of the fields with key=",
        )
        return layout
    shape, strides, offset = layout.shape, layout.strides, layout.offset
    for name in str(key).split("."):
        if dtype.names is None or dtype.fields is None or name not in dtype.names:
            fields = ", ".join(map(repr, dtype.names or ()))
            known = f"the fields {fields}" if fields else f"no fields ({dtype})"
            msg = f"{path}: key={key!r} names no field; its type has {known}"
            raise BadOptionError(msg)
        dtype, begin = dtype.fields[name][:2]
        offset += begin
        if dtype.subdtype is not None:
            dtype, inner = dtype.subdtype
            shape, strides = (*shape, *inner), (*strides, *dense_strides(inner, dtype.itemsize))
    return StridedLayout(tuple(map(int, shape)), np.dtype(dtype), offset, strides)
