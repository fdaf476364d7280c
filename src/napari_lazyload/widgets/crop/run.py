"""A crop beside the window, into memory or into files.

No Qt here: the dock looks at the run from a timer of its own. A thread that never touches a Qt
object cannot call one that is gone, and a late result is dropped by forgetting the run.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import CancelledError, ChunkReadError, LazyLoadError, RegionError
from napari_lazyload.cropping.crop import crop
from napari_lazyload.layers.crop.export_source import to_write
from napari_lazyload.layers.crop.geometry import level_box
from napari_lazyload.layers.crop.mask import inside
from napari_lazyload.widgets.crop.plan import sentence

if TYPE_CHECKING:
    from pathlib import Path

    from napari_lazyload.widgets.crop.plan import CropPlan


@dataclass(frozen=True, slots=True)
class FileTarget:
    """Files instead of layers.

    Parameters
    ----------
    paths : tuple of Path
        One for each crop; the suffix says the format.
    pyramid : bool
        Whether OME files get coarser levels, too.
    sharded : bool
        Whether the chunks of an OME-Zarr are put together in few files.
    overwrite : bool
        Whether what is there may be replaced: the user was asked.
    """

    paths: tuple[Path, ...]
    pyramid: bool = True
    sharded: bool = False
    overwrite: bool = False


class CropRun:
    """Crops in a thread that ends with them. Everything here may be asked from any thread.

    Parameters
    ----------
    *plans : CropPlan
        What to crop.
    target : FileTarget, optional
        Files to write instead of keeping the pixels.

    Attributes
    ----------
    done, total : int
        Chunks done so far, and all of them.
    results : list
        The pixels of each plan, or the path that they were written to; all of them once `finished`
        without an error.
    error : BaseException or None
        What went wrong, once `finished`.
    """

    def __init__(self, *plans: CropPlan, target: FileTarget | None = None) -> None:
        self.plans = plans
        self.target = target
        self.done = 0
        self.total = sum(plan.cost.touched_chunks for plan in plans)
        self.results: list[Any] = []
        self.error: BaseException | None = None
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        # Made here: napari's layers belong to the main thread.
        writes = (
            []
            if target is None
            else [to_write(plan.layer, plan.region, plan.level, plan.mask) for plan in plans]
        )
        threading.Thread(
            target=self._work, args=(writes,), name="lazyload-crop", daemon=True
        ).start()

    @property
    def plan(self) -> CropPlan:
        """What to crop, the first of them."""
        return self.plans[0]

    @property
    def result(self) -> Any:
        """The pixels of the first crop, None where there are none."""
        return self.results[0] if self.results else None

    @property
    def finished(self) -> bool:
        """Whether the crop has ended, well or not."""
        return self._ended.is_set()

    @property
    def failure(self) -> str:
        """Why it ended without what was wanted, and what was written all the same; for people."""
        written = (
            f"\nWritten before: {', '.join(map(str, self.results))}"
            if self.target and self.results
            else ""
        )
        if isinstance(self.error, CancelledError):
            return f"Cancelled, nothing {'else ' * bool(written)}was written.{written}"
        return ("" if self.error is None else failure_text(self.error)) + written

    def cancel(self) -> None:
        """Read no further chunk; one that is being read is not waited for."""
        self._cancelled.set()

    def _work(self, writes: list[tuple[Any, Any, int]]) -> None:
        try:
            for number, plan in enumerate(self.plans):
                before, after = (
                    self.done,
                    sum(one.cost.touched_chunks for one in self.plans[number + 1 :]),
                )

                def progress(
                    done: int, total: int, before: int = before, after: int = after
                ) -> None:
                    self.done, self.total = before + done, before + total + after

                if self.target is None:
                    self.results.append(self._read(plan, progress))
                else:
                    self.results.append(
                        self._write(plan, writes[number], self.target.paths[number], progress)
                    )
        except BaseException as err:  # noqa: BLE001 - told in the window
            self.error = err
        finally:
            self._ended.set()

    def _read(self, plan: CropPlan, progress: Any) -> Any:
        pixels = crop(
            plan.layer,
            plan.region,
            level=plan.level,
            dtype=plan.dtype,
            progress=progress,
            cancel=self._cancelled,
        )
        if plan.mask is not None:
            kept = inside(
                plan.mask, plan.layer, plan.level, level_box(plan.layer, plan.region, plan.level)
            )
            np.copyto(pixels, 0, where=~kept)
        return pixels

    def _write(self, plan: CropPlan, what: tuple[Any, Any, int], path: Path, progress: Any) -> Path:
        from napari_lazyload.exporting.export import export

        target = self.target
        assert target is not None  # asked by the caller
        image, region, level = what
        return export(
            image,
            path,
            region,
            level=level,
            dtype=plan.dtype,
            pyramid=target.pyramid,
            shards=target.sharded and path.suffix == ".zarr",
            overwrite=target.overwrite,
            progress=progress,
            cancel=self._cancelled,
        )


class CurrentRun:
    """The run of a dock, if there is one: outlives the dock, so that what ends the dock can end the run."""

    __slots__ = ("run",)

    def __init__(self) -> None:
        self.run: CropRun | None = None

    def drop(self) -> None:
        """Cancel the run and forget it, so that whatever comes of it goes nowhere."""
        if self.run is not None:
            self.run.cancel()
            self.run = None


def failure_text(error: BaseException) -> str:
    """Return what went wrong: the words of the error where they are meant for people."""
    if isinstance(error, ChunkReadError):
        return str(error)  # begins with a path
    if isinstance(error, (RegionError, MemoryError, CancelledError)):
        return sentence(str(error))
    if isinstance(error, (LazyLoadError, OSError)):
        return str(error)
    return f"The crop failed: {type(error).__name__}: {error}"
