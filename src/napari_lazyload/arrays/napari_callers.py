"""Who asks for a lazy array: the call stack tells napari's slicing from a script."""

from __future__ import annotations

import sys


def napari_takes_the_coarsest() -> bool:
    """Return whether somebody wants the data of a layer as one array, for which napari gives its coarsest level.

    Of a layer whose coarse levels are computed that would be a placeholder: *Save* would write
    every k-th pixel.
    """
    return sys._getframe(2).f_globals.get("__name__") == "napari.layers._multiscale_data"  # noqa: SLF001 - as below


def napari_is_slicing() -> bool:
    """Return whether one of napari's layers is slicing its data for the canvas, as told by who called.

    A layer that is bound to a display (`layers.display`) never comes here. This is for the others:
    one that a script added itself, and any layer of a napari without the place where displays are
    bound. Their slider must not raise.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - inspect.stack() would read source files at each view
    # Whoever else stands between napari and here, such as a plugin that hears of the new view,
    # reads exactly.
    while (module := frame.f_globals.get("__name__", "")).startswith(("napari.", "numpy.")):
        # Layer.save() lives in napari.layers too, so the module's name alone does not tell.
        if module.startswith("napari.layers.") and "slice" in frame.f_code.co_name:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False
