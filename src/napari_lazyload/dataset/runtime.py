"""What scripts request of the whole process: its settings and its status."""

from __future__ import annotations

from typing import Any

from napari_lazyload.core import settings
from napari_lazyload.core.lazy_imports import import_status
from napari_lazyload.dataset import dataset
from napari_lazyload.loading import cache, scheduler
from napari_lazyload.loading import status as load_status


def configure(**changes: Any) -> dict[str, Any]:
    """Change settings of this process; the same ones as in napari's preferences.

    Parameters
    ----------
    **changes
        ``cache_budget`` (bytes of decoded chunks to keep), ``workers`` (threads that read and
        decode), ``remote_workers`` (threads that wait for servers, beside those),
        ``header_seconds`` (how long opening a folder may read headers), ``look_ahead`` (frames that
        are read ahead of a moving slider, 0 to 64), ``coarse_first`` (whether a new view shows a
        coarser level while the exact one is loading). None goes back to the automatic choice.

    Returns
    -------
    dict
        All settings now in force.

    Raises
    ------
    TypeError
        If a name is not a setting.
    ValueError
        If a value is out of range.
    """
    now = settings.update(**changes) if changes else settings.current()
    cache.shared.trim()
    return {name: getattr(now, name) for name in now.__dataclass_fields__}


def status() -> dict[str, Any]:
    """Return what the package is doing, JSON-ready.

    Returns
    -------
    dict
        ``datasets`` (path, kind, names of images and number of problems of each open one),
        ``queue`` (jobs by tier), ``cache`` (budget, bytes, counters), ``errors`` (failed chunks
        now), ``imports`` (see :func:`import_status`).
    """
    return {
        "datasets": list(map(_describe, dataset.open_datasets())),
        "queue": scheduler.snapshot(),
        "cache": cache.shared.snapshot(),
        "errors": load_status.shared.total(),
        "imports": import_status(),
    }


def _describe(opened: dataset.Dataset) -> dict[str, Any]:
    return {
        "path": opened.path,
        "kind": opened.kind,
        "images": [image.name for image in opened.images],
        "problems": len(opened.problems()),
    }
