"""Who reads a lazy array, napari's slicing or a script: found in the call stack."""

from __future__ import annotations

import sys


def napari_takes_the_coarsest() -> bool:
    """Whether the data of a layer is requested as one array, its coarsest level for napari.

    Where coarse levels are computed, that would be a placeholder: *Save* would write every k-th
    pixel.
    """
    return sys._getframe(2).f_globals.get("__name__") == "napari.layers._multiscale_data"  # noqa: SLF001 - as below


def napari_is_slicing() -> bool:
    """Whether one of napari's layers is slicing its data for the canvas.

    A layer that is bound to a display (`layers.display`) never comes here. This is for the others:
    one that a script added itself, and any layer of a napari without the place where displays are
    bound. Their slider must not raise.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - inspect.stack() would read source files at each view
    # Whoever else stands between napari and here, such as a plugin that hears of the new view,
    # reads exactly.
    while (module := frame.f_globals.get("__name__", "")).startswith(("napari.", "numpy.")):
        # Layer.save() lives in napari.layers too, so the module's name alone is not enough.
        if module.startswith("napari.layers.") and "slice" in frame.f_code.co_name:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False
