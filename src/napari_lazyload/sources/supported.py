"""All formats that the package reads, and whether this installation has what each needs."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from napari_lazyload.sources.binaries import LIBRARIES, SUFFIXES_OF
from napari_lazyload.sources.pictures import picture_formats

_ZARR = {
    "zarr": ([".zarr", ".zarr.zip", ".ozx"], "zarr", None),
    "zarr at addresses": ([".zarr", ".zarr.zip", ".ozx"], "obstore", "remote"),
}


def supported_formats() -> dict[str, dict[str, Any]]:
    """Tell which formats can be read here: pictures, Zarr stores (OME-Zarr too) and binaries.

    Returns
    -------
    dict
        By format: ``suffixes`` (list), ``readable`` (bool), ``library`` (str, empty where none is needed), ``extra``
        (str or None: the extra of this package that brings it), ``reason`` (str or None: why it is not readable, and
        how to mend that). Ready for JSON. Folders of pictures and Zarr stores without a suffix open too.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> nl.supported_formats()["npy"]["suffixes"]
    ['.npy', '.npz']
    """
    found = picture_formats()
    for name, (suffixes, library, extra) in _ZARR.items():
        found[name] = _row(suffixes, library, extra)
    for name, all_suffixes in SUFFIXES_OF.items():
        library, extra = LIBRARIES.get(name, ("", None))
        suffixes = sorted({suffix.rstrip("/") for suffix in all_suffixes})
        if name in found:  # TIFF: as pictures, and in place by tiles
            found[name]["suffixes"] = sorted({*found[name]["suffixes"], *suffixes})
        else:
            found[name] = _row(suffixes, library, extra)
    return found


def _row(suffixes: list[str], library: str, extra: str | None) -> dict[str, Any]:
    missing = bool(library) and not _is_there({"pynrrd": "nrrd", "rosettasciio": "rsciio"}.get(library, library))
    how = f"pip install 'napari-lazyload[{extra}]'" if extra else f"pip install {library}"
    reason = f"{library} is not installed: {how}" if missing else None
    return {"suffixes": suffixes, "readable": not missing, "library": library, "extra": extra, "reason": reason}


def _is_there(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return sys.modules.get(module) is not None or find_spec(module) is not None
    except (ImportError, ValueError):  # None in sys.modules, as who hides a package puts it there
        return False
