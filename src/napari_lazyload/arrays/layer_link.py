"""The tie between a napari layer and the image that it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.arrays.image import Image


METADATA_KEY = "napari_lazyload"
"""Where a layer's metadata keeps its `LayerLink`."""


@dataclass(slots=True, eq=False, repr=False)
class LayerLink:
    """Ties a layer to the image it shows.

    A copy of the layer has the same link. In another process the link has no dataset.

    Parameters
    ----------
    dataset : Any
        The dataset, or None for an image alone.
    image : Image
        What the layer shows.
    needs_limits : bool
        Whether the contrast limits are a guess, to be replaced once pixels are seen.
    channel : int, optional
        Which channel of the image the layer shows; all by default.

    Attributes
    ----------
    hidden : bool
        Whether the layer was made invisible until its display is bound, so that adding it reads
        nothing in vain.
    """

    dataset: Any
    image: Image
    needs_limits: bool = field(default=False, kw_only=True)
    channel: int | None = field(default=None, kw_only=True)
    hidden: bool = field(default=False, init=False)

    def __copy__(self) -> LayerLink:
        return self

    def __deepcopy__(self, _memo: Any) -> LayerLink:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_link_elsewhere, (self.image, self.channel))

    def __repr__(self) -> str:
        return f"<{self.image!r} of {getattr(self.dataset, 'path', None)!r}>"

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the layer, the colour axis left out."""
        dropped = () if self.channel is None else (CHANNEL_AXIS,)
        return tuple(axis for axis in self.image.axes if axis not in (RGB_AXIS, *dropped))

    def in_image(self, index: Sequence[Any]) -> tuple[Any, ...]:
        """Return an index into the image for an index into the layer."""
        if self.channel is None:
            return tuple(index)
        at = self.image.axes.index(CHANNEL_AXIS)
        return (*index[:at], self.channel, *index[at:])

    def in_layer(self, index: Sequence[Any]) -> tuple[Any, ...]:
        """Return an index into the layer for an index into the image, without the channel."""
        if self.channel is None:
            return tuple(index)
        at = self.image.axes.index(CHANNEL_AXIS)
        return (*index[:at], *index[at + 1 :])


def _link_elsewhere(image: Image, channel: int | None) -> LayerLink:
    return LayerLink(None, image, channel=channel)
