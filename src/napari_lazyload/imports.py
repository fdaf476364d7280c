"""Which heavy packages are loaded. Loading them in the background comes with the live display."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

PACKAGES: dict[str, int] = {
    "numpy": 0,
    "dask": 1,
    "pandas": 1,
    "tifffile": 2,
    "imagecodecs": 2,
    "PIL": 2,
    "zarr": 3,
    "skimage": 3,
}
"""Package and priority; a lower number loads first."""


def import_status() -> dict[str, Any]:
    """Return which heavy packages are loaded.

    Returns
    -------
    dict
        ``progress`` with ``total_packages``, ``loaded_packages``, ``failed_packages``, ``is_loading`` and
        ``progress_percentage``; ``packages`` with ``status`` ("loaded", "pending", "not installed"), ``load_time``,
        ``error`` and ``priority`` of each. A package that is not installed is outside the total. JSON-ready.
    """
    packages = {name: _package(name, priority) for name, priority in PACKAGES.items()}
    present = [entry for entry in packages.values() if entry["status"] != "not installed"]
    loaded = sum(entry["status"] == "loaded" for entry in present)
    return {
        "progress": {
            "total_packages": len(present),
            "loaded_packages": loaded,
            "failed_packages": 0,
            "is_loading": False,
            "progress_percentage": 100.0 * loaded / len(present) if present else 100.0,
        },
        "packages": packages,
    }


def _package(name: str, priority: int) -> dict[str, Any]:
    if name in sys.modules:
        state = "loaded"
    else:
        state = "pending" if importlib.util.find_spec(name) is not None else "not installed"
    return {"status": state, "load_time": None, "error": None, "priority": priority}
