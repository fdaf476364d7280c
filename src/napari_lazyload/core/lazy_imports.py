"""Heavy packages: loaded on first use, or before that while nobody uses the window.

Python itself sees to it that a package which several threads ask for is imported once, and that all
of them get the same module. What is added here is what users are told: the state of each package,
and what to install.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType

LOADED, LOADING, FAILED, PENDING, NOT_INSTALLED = (
    "loaded",
    "loading",
    "failed",
    "pending",
    "not installed",
)


@dataclass(frozen=True, slots=True)
class Package:
    """A package that takes time to import.

    Parameters
    ----------
    module : str
        What is imported.
    priority : int
        A lower number loads first.
    extra : str
        The extra that installs it; "" for what this package depends on in any case.
    """

    module: str
    priority: int
    extra: str = ""

    @property
    def requirement(self) -> str:
        """What pip installs it by."""
        return f"'napari-lazyload[{self.extra}]'" if self.extra else "napari-lazyload"


# None of them may import Qt: it belongs to the main thread.
PACKAGES: dict[str, Package] = {
    "numpy": Package("numpy", 0),
    "dask": Package("dask.array", 0),
    "imagecodecs": Package("imagecodecs", 1),
    "pandas": Package("pandas", 1),
    "tifffile": Package("tifffile", 1),
    "numcodecs": Package("numcodecs", 2),
    "zarr": Package("zarr", 2),
    "PIL": Package("PIL.Image", 3),
    "h5py": Package("h5py", 3, "formats"),
    "mrcfile": Package("mrcfile", 3, "formats"),
    "nrrd": Package("nrrd", 3, "formats"),
    "obstore": Package("obstore", 3, "remote"),
    "astropy": Package("astropy.io.fits", 4, "formats"),
    "nibabel": Package("nibabel", 4, "formats"),
    "spectral": Package("spectral", 4, "formats"),
    "bioio": Package("bioio", 5, "bioio"),
    "openpyxl": Package("openpyxl", 5, "xlsx"),
    "rsciio": Package("rsciio", 5, "rosettasciio"),
}
"""Those that the package uses, by the name that Python knows them by."""


@dataclass(slots=True)
class _Record:
    """What is known of the imports of one package that were made here."""

    threads: int = 0
    began: float = 0.0
    seconds: float | None = None
    error: str | None = None


_lock = threading.Lock()
_records: dict[str, _Record] = {}

loaders: weakref.WeakSet[Any] = weakref.WeakSet()
"""Who is about to load what is pending, package by package."""


def load(name: str) -> ModuleType:
    """Return a package of `PACKAGES`, imported where it is not; a failed import is tried again.

    Raises
    ------
    MissingDependencyError
        If it is not installed, or cannot be imported. Once it is installed the next call returns
        it.
    """
    package = PACKAGES[name]
    module = _finished(package)
    if module is not None:
        return module
    with _lock:
        record = _records.setdefault(name, _Record())
        if not record.threads:
            record.began = time.perf_counter()
        record.threads += 1
    absent, error = False, None
    try:
        return _import(package.module)
    except Exception as err:
        absent = isinstance(err, ModuleNotFoundError) and not _installed(package)
        what = "is not installed"
        if not absent:
            error = f"{type(err).__name__}: {err}"
            what = f"is installed but cannot be imported ({error})"
        msg = f"the package {name!r} {what}: pip install --upgrade {package.requirement}"
        raise MissingDependencyError(msg, name=name) from err
    finally:
        with _lock:
            record.threads -= 1
            record.error = error
            record.seconds = None if absent else time.perf_counter() - record.began


def load_next() -> str | None:
    """Load the pending package that comes first, and return its name; None where none is pending.

    A failure is kept for :func:`import_status`, not raised: whoever needs the package hears of it.
    """
    with _lock:
        waiting = [name for name in PACKAGES if _state(name) == PENDING]
        if not waiting:
            return None
    name = min(waiting, key=lambda one: PACKAGES[one].priority)
    with suppress(MissingDependencyError):
        load(name)
    return name


def import_status() -> dict[str, Any]:
    """Return which heavy packages are loaded.

    Returns
    -------
    dict
        ``progress`` with ``total_packages``, ``loaded_packages``, ``failed_packages``,
        ``is_loading`` (also between two packages, while a viewer loads what is pending) and
        ``progress_percentage`` (of packages that are loaded or failed); ``packages`` with
        ``status`` ("pending", "loading", "loaded", "failed", "not installed"), ``load_time``
        (seconds; None where something else imported the package), ``error`` and ``priority`` of
        each. A package that is not installed is outside the total. JSON-ready.
    """
    with _lock:
        packages = {name: _package_status(name) for name in PACKAGES}
    states = [entry["status"] for entry in packages.values()]
    total = len(states) - states.count(NOT_INSTALLED)
    ended = states.count(LOADED) + states.count(FAILED)
    return {
        "progress": {
            "total_packages": total,
            "loaded_packages": states.count(LOADED),
            "failed_packages": states.count(FAILED),
            "is_loading": LOADING in states or bool(loaders and PENDING in states),
            "progress_percentage": 100.0 * ended / total if total else 100.0,
        },
        "packages": packages,
    }


def _package_status(name: str) -> dict[str, Any]:
    record, state = _records.get(name, _Record()), _state(name)
    status: dict[str, Any] = {"status": state, "load_time": None, "error": None}
    if state in (LOADED, FAILED):
        status["load_time"] = record.seconds
    if state == FAILED:
        status["error"] = record.error
    return {**status, "priority": PACKAGES[name].priority}


def _state(name: str) -> str:
    """Return the state of a package, whoever imported it; the lock is held."""
    package, record = PACKAGES[name], _records.get(name, _Record())
    if _finished(package) is not None:
        return LOADED
    if record.threads or sys.modules.get(package.module) is not None:
        return LOADING
    if not _installed(package):
        return NOT_INSTALLED
    if record.error is not None:
        return FAILED
    return PENDING


def _finished(package: Package) -> ModuleType | None:
    """Return the module of a package that is imported to its end."""
    module = sys.modules.get(package.module)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def _installed(package: Package) -> bool:
    top = package.module.partition(".")[0]  # to look for a submodule would import the package
    if top in sys.modules:
        return sys.modules[top] is not None
    return importlib.util.find_spec(top) is not None


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        # It may have been installed since Python last looked into the folders.
        importlib.invalidate_caches()
        return importlib.import_module(module)
