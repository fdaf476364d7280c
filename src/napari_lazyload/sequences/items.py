"""How images of a sequence are read: from a store, through the functions that were mapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.core.text import describe_pixels
from napari_lazyload.loading import scheduler
from napari_lazyload.sequences.file_store import Array, Form, Store, form_of, in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable

Map: TypeAlias = "Callable[[Array], Any]"


@dataclass(frozen=True, slots=True)
class AsType:
    """Converts pixels: what `ImageSequence.astype` maps."""

    dtype: np.dtype[Any]

    def __call__(self, pixels: Array) -> Array:
        """Return a converted copy."""
        return pixels.astype(self.dtype)


def only_converts(maps: tuple[Map, ...]) -> bool:
    """Whether no function changes more than the dtype, so that headers give the shape."""
    return all(isinstance(function, AsType) for function in maps)


def last_dtype(maps: tuple[Map, ...]) -> np.dtype[Any] | None:
    """Return the dtype that the last function converts to; None where it does something else."""
    if maps and isinstance(maps[-1], AsType):
        return maps[-1].dtype
    return None


@dataclass(frozen=True, slots=True)
class Item:
    """How one image of a sequence is read; pickles with its own file name alone.

    Parameters
    ----------
    store : Files or Arrays
        Where the pixels come from.
    row : int
        Which picture of the store.
    maps : tuple of callable
        Applied to the pixels, one after the other.
    """

    store: Store
    row: int
    maps: tuple[Map, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return (Item, (self.store.take(np.array([self.row])), 0, self.maps))

    def __call__(self) -> Array:
        """Return pixels of the caller's own."""
        return self.pixels() if self.maps else self.pixels().copy()

    @property
    def name(self) -> str:
        """Path of the file from the folder of the sequence."""
        return str(self.store.names[self.row])

    def form(self) -> Form | None:
        """Return shape and dtype without reading pixels; None where a function may change them."""
        if not only_converts(self.maps):
            return None
        shape, dtype = self.store.form(self.row)
        converted = last_dtype(self.maps)
        return shape, dtype if converted is None else converted

    def pixels(self, *, workers: int | None = None) -> Array:
        """Return pixels that may be shared; what a function gets is its own.

        Parameters
        ----------
        workers : int, optional
            Threads that read the pages of the file, this one included; by default the setting.
        """
        pixels = self.store.read(self.row, workers=workers)
        if self.maps and not isinstance(self.maps[0], AsType):
            pixels = pixels.copy()
        for function in self.maps:
            try:
                pixels = np.asarray(function(pixels))
            except Exception as err:
                err.add_note(f"in a function that was mapped over {self.store.path(self.row)}")
                raise
        return pixels


def stack_items(items: list[Item]) -> Array:
    """Read images of one shape in parallel into an array ``(n, ...)`` of a dtype that holds all.

    Raises
    ------
    ValueError
        If shapes differ.
    ChunkReadError
        If one cannot be read.
    """
    forms = in_parallel(Item.form, items)
    if any(form is None for form in forms):
        images = in_parallel(Item.pixels, items)
        _check_shapes(items, [form_of(image) for image in images])
        return np.stack(images)
    _check_shapes(items, forms)
    stacked = np.empty((len(forms), *forms[0][0]), np.result_type(*{dtype for _, dtype in forms}))

    def fill(place: int) -> None:
        stacked[place] = items[place].pixels()

    scheduler.shared.each(fill, range(len(items)))
    return stacked


def _check_shapes(items: list[Item], forms: list[Form]) -> None:
    """Refuse to stack images of several shapes."""
    for item, form in zip(items, forms, strict=True):
        if form[0] != forms[0][0]:
            raise ValueError(
                "images of one shape can be stacked; "
                f"{items[0].name} is {describe_pixels(*forms[0])}, "
                f"{item.name} is {describe_pixels(*form)}. load() returns a list"
            )
