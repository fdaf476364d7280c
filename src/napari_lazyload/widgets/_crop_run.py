"""One crop beside the window.

No Qt here: the dock looks at the run from a timer of its own. A thread that never touches a Qt object cannot call one
that is gone, and a late result is dropped by forgetting the run.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped] # ships no types

from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError, RegionError
from napari_lazyload.cropping import crop
from napari_lazyload.widgets._crop_form import size_text

if TYPE_CHECKING:
    from napari_lazyload.core.region import Estimate


@dataclass(frozen=True, slots=True)
class CropPlan:
    """What a crop would do, settled before anything is read.

    Parameters
    ----------
    layer : napari layer
        What is cropped.
    region : tuple of slice
        Within the layer, in level-0 pixels, for each axis without the colour axis.
    level : int
        From which level.
    dtype : str or None
        Of the result; the layer's own where None.
    shape : tuple of int
        Of the result.
    cost : Estimate
        What it needs and reads.
    """

    layer: Any
    region: tuple[slice, ...]
    level: int
    dtype: str | None
    shape: tuple[int, ...]
    cost: Estimate

    @property
    def peak_nbytes(self) -> int:
        """Memory that the crop takes at most: its result, and a chunk for each thread."""
        workers = settings.current().workers
        in_flight = self.cost.touched_nbytes * min(1.0, workers / max(1, self.cost.touched_chunks))
        return self.cost.result_nbytes + int(in_flight)

    @property
    def fits(self) -> bool:
        """Whether there is memory for it now."""
        return self.peak_nbytes <= free_memory()

    def refusal(self, *, lazy: bool) -> str:
        """Return what to tell where it does not fit; `lazy` says whether a lazy layer is a way out."""
        instead = ", or add it as a lazy layer, which reads nothing yet" if lazy else ""
        return (
            f"This needs {size_text(self.peak_nbytes)} of memory, {size_text(free_memory())} are free. "
            f"Take a smaller region or a coarser level{instead}."
        )

    @property
    def text(self) -> str:
        """Size and cost, for people, in three lines."""
        cost, shape = self.cost, " x ".join(f"{size:,}" for size in self.shape)
        chunks = f"{cost.touched_chunks:,} chunk{'s'[: cost.touched_chunks != 1]}"
        return (
            f"Level {self.level}, {self.dtype or self.layer.dtype}: {shape}\n"
            f"Result {size_text(cost.result_nbytes)}\n"
            f"Reads {size_text(cost.touched_nbytes)} in {chunks}, of {size_text(cost.full_nbytes)}"
        )


def free_memory() -> int:
    """Return the bytes of memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)


class CropRun:
    """A crop in a thread that ends with it. Everything here may be asked from any thread.

    Parameters
    ----------
    plan : CropPlan
        What to crop.

    Attributes
    ----------
    done : int
        Chunks read so far, of ``plan.cost.touched_chunks``.
    result : numpy.ndarray or None
        The pixels, once `finished`.
    error : BaseException or None
        Why there are none, once `finished`.
    """

    def __init__(self, plan: CropPlan) -> None:
        self.plan = plan
        self.done = 0
        self.result: Any = None
        self.error: BaseException | None = None
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        threading.Thread(target=self._work, name="lazyload-crop", daemon=True).start()

    @property
    def finished(self) -> bool:
        """Whether the crop has ended, well or not."""
        return self._ended.is_set()

    def cancel(self) -> None:
        """Read no further chunk; one that is being read is not waited for."""
        self._cancelled.set()

    def _work(self) -> None:
        plan = self.plan
        try:
            self.result = crop(
                plan.layer,
                plan.region,
                level=plan.level,
                dtype=plan.dtype,
                progress=self._progress,
                cancel=self._cancelled,
            )
        except BaseException as err:  # noqa: BLE001 - told in the window
            self.error = err
        finally:
            self._ended.set()

    def _progress(self, done: int, _total: int) -> None:
        self.done = done


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
    if isinstance(error, (RegionError, MemoryError)):
        return sentence(str(error))
    return f"The crop failed: {type(error).__name__}: {error}"


def sentence(text: str) -> str:
    """Return the message of an error as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."
