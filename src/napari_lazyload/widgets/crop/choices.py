"""What the lists of the crop dock offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Shapes

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.text import describe_computed
from napari_lazyload.cropping.target import LayerTarget
from napari_lazyload.layers.crop import geometry
from napari_lazyload.layers.crop.named_regions import kept_names
from napari_lazyload.layers.crop.outline import is_outline
from napari_lazyload.widgets.crop.fields import set_choices
from napari_lazyload.widgets.crop.region_source import CENTER, KEPT, NUMBERS, RANDOM, VIEW

if TYPE_CHECKING:
    from napari_lazyload.widgets.crop.form import CropForm

_TYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float16", "float32", "float64")


def offer_layers(form: CropForm, viewer: Any) -> None:
    """Offer the layers that can be cropped, the top one first, as napari lists them."""
    images = [
        (layer.name, layer)
        for layer in reversed(viewer.layers)
        if isinstance(layer, (Image, Labels))
    ]
    set_choices(form.layer, images, viewer.layers.selection.active)


def offer_regions(form: CropForm, viewer: Any) -> None:
    """Offer what a region can be taken from."""
    layer = form.layer.value
    choices: list[tuple[str, Any]] = []
    default: Any = VIEW
    for shapes in viewer.layers:
        if isinstance(shapes, Shapes) and not is_outline(shapes):
            choices.insert(0, (f"Rectangle in {shapes.name}", shapes))
            default = shapes if shapes.data else default
    choices += [
        ("Current view", VIEW),
        ("Numbers", NUMBERS),
        ("Center box", CENTER),
        ("Random box", RANDOM),
    ]
    if layer is not None:
        choices += [(f"Kept: {name}", f"{KEPT}{name}") for name in kept_names(layer)]
    set_choices(form.region, choices, default)


def show_layer(form: CropForm) -> None:
    """Show the axes, levels and types of the chosen layer."""
    layer = form.layer.value
    if layer is None:
        form.show_layer(())
        return
    own = str(layer.dtype)
    whole = isinstance(layer, Labels)
    types = [name for name in _TYPES if name != own and not (whole and name.startswith("float"))]
    target = LayerTarget(layer)
    axes = list(zip(target.slider_names, target.sizes, strict=True))
    named = [(data.shape[: layer.ndim], _computed(data)) for data in target.arrays]
    form.show_layer(axes, named, own, types, geometry.axis_scales(layer))


def _computed(data: Any) -> str:
    """Return which pixels a level has that no file holds, in words."""
    if not isinstance(data, LazyArray) or data.source is None:
        return ""
    return describe_computed(data.source.meta.levels[data.level], data.source.meta.axes)


def selected_layers(viewer: Any, layer: Any) -> list[Any]:
    """Return the selected layers that can be cropped together with one, that one first."""
    selection = viewer.layers.selection
    if layer not in selection:
        return [layer]
    selected = [each for each in viewer.layers if each in selection and each is not layer]
    return [layer, *(each for each in selected if isinstance(each, (Image, Labels)))]
