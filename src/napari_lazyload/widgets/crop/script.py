"""The Python script that does what the crop dock would do. No Qt here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.dataset.dataset import open_datasets
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop.export_source import as_opened, origin, whole_levels
from napari_lazyload.layers.crop.geometry import level_box, placement
from napari_lazyload.layers.crop.mask import corners_in_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.layers.crop.export_source import Origin
    from napari_lazyload.widgets.crop.plan import CropPlan
    from napari_lazyload.widgets.crop.run import FileTarget

_DIGITS = 6
"""Decimals of a pixel that the corners of a mask are written with."""


@dataclass(slots=True)
class _Script:
    """What is written so far."""

    imports: set[str] = field(default_factory=lambda: {"import napari_lazyload as nl"})
    lines: list[str] = field(default_factory=list)
    datasets: dict[int, str] = field(default_factory=dict)

    def text(self) -> str:
        imports = sorted(
            self.imports,
            key=lambda text_line: (
                "napari_lazyload" in text_line,
                text_line.startswith("from"),
                text_line,
            ),
        )
        return "\n".join([*imports, "", *self.lines]).rstrip() + "\n"


def script(plans: Sequence[CropPlan], target: FileTarget | None = None) -> str:
    """Return a script with the pixels of each crop, or that writes them into files.

    Parameters
    ----------
    plans : sequence of CropPlan
        What is cropped. The pixels of the first one are called ``pixels``, of the next ones
        ``pixels_2`` and so on.
    target : FileTarget, optional
        Where they are written.
    """
    made = _Script()
    for number, plan in enumerate(plans, 1):
        last = "" if number == 1 else f"_{number}"
        made.lines.append(f"# {' '.join(plan.layer.name.split())}")
        found = _origin_in_dataset(plan)
        if target is None:
            _read(made, plan, found, last)
        else:
            _write(made, plan, found, target, number - 1)
        made.lines.append("")
    return made.text()


def _origin_in_dataset(plan: CropPlan) -> Origin | None:
    """Return the image that a layer shows, where a dataset is known that has it."""
    found = origin(plan.layer)
    return None if found is None or _dataset_of(found) is None else found


def _dataset_of(found: Origin) -> Any:
    """Return the open dataset that an image belongs to; the layer of a lazy crop does not say it itself."""
    told = [found.link.dataset] if found.link.dataset is not None else open_datasets()
    return next((one for one in told if not one.closed and _links(one, found)), None)


def _links(dataset: Any, found: Origin) -> list[int]:
    """Return which layers of a dataset show an image, its channel alone."""
    links = [
        keywords["metadata"][METADATA_KEY]
        for image in dataset.images
        for _, keywords, _ in _layers(image)
    ]
    wanted = (found.image.source.token, found.link.channel)
    return [
        number
        for number, link in enumerate(links)
        if (link.image.source.token, link.channel) == wanted
    ]


def _layers(image: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were said when the layers were made
        return layer_data(image)


def _image_number(plan: CropPlan, found: Origin | None) -> int | None:
    """Return the number of the image in its dataset, None where the layer shows it converted, or not all levels."""
    if found is None or not whole_levels(plan.layer, found):
        return None
    tokens = [image.source.token for image in _dataset_of(found).images]
    return tokens.index(found.image.source.token) if found.image.source.token in tokens else None


# --- pixels
# --------------------------------------------------------------------------------------------------------


def _read(made: _Script, plan: CropPlan, found: Origin | None, last: str) -> None:
    """Write how the pixels come into memory."""
    number = _image_number(plan, found)
    dtype = "" if plan.dtype is None else f", dtype={plan.dtype!r}"
    if found is not None and number is not None:
        made.lines.append(f"image{last} = {_dataset(made, found)}.images[{number}]")
        level = f", level={plan.level}" if plan.level else ""
        drop = (
            ""
            if found.link.channel is None
            else f".squeeze({found.image.axes.index(CHANNEL_AXIS)})"
        )
        call = f"nl.crop(image{last}, {_region(plan, found)}{level}{dtype}){drop}"
    else:
        array, parts = _array(made, plan, found, f"image{last}")
        call = f"nl.crop({array}, ({parts},){dtype})"
    made.lines.append(f"pixels{last} = {call}")
    if plan.mask is not None:
        _mask(made, plan, f"pixels{last}")


def _dataset(made: _Script, found: Origin) -> str:
    """Return the name of a dataset, which is opened where it was not yet."""
    dataset = _dataset_of(found)
    if id(dataset) not in made.datasets:
        made.datasets[id(dataset)] = name = (
            f"dataset{f'_{len(made.datasets) + 1}' if made.datasets else ''}"
        )
        path, options = dataset.opened_with
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        made.lines.append(f"{name} = nl.open_dataset({path!r}{given})")
    return made.datasets[id(dataset)]


def _region(plan: CropPlan, found: Origin) -> str:
    axes = [axis for axis in found.image.axes if axis != RGB_AXIS]
    parts = found.region(plan.region)
    if len(set(axes)) < len(axes):
        return f"({', '.join(f'slice({part.start}, {part.stop})' for part in parts)},)"
    named = (
        f'"{axis}": ({part.start}, {part.stop})' for axis, part in zip(axes, parts, strict=True)
    )
    return f"{{{', '.join(named)}}}"


def _array(made: _Script, plan: CropPlan, found: Origin | None, name: str) -> tuple[str, str]:
    """Write what gives the level that is cropped; return what it is called, and the slices of it."""
    layer = plan.layer
    box = level_box(layer, plan.region, plan.level)[: layer.ndim]
    starts = [0] * layer.ndim
    if found is None:
        made.lines += _placeholder(plan, name)
    else:
        array = layer.data[plan.level] if layer.multiscale else layer.data
        starts = [array.box[axis][0] for axis in array.kept_axes]
        number = _links(_dataset_of(found), found)[0]
        of_level = f"[{array.level}]" if len(found.image.boxes) > 1 else ""
        made.lines.append(
            f"{name} = {_dataset(made, found)}.to_layer_data()[{number}][0]{of_level}"
        )
    parts = (
        f"slice({start + base}, {stop + base})"
        for (start, stop), base in zip(box, starts, strict=False)
    )
    return name, ", ".join(parts)


def _placeholder(plan: CropPlan, name: str) -> list[str]:
    """Return the lines that say what cannot be known of a layer that another plugin, or a script, has made."""
    layer = plan.layer
    data = layer.data[plan.level] if layer.multiscale else layer.data
    which = f"level {plan.level} of its data" if layer.multiscale else "its data"
    path = getattr(layer.source, "path", None)
    return [
        f"# napari-lazyload did not open this layer{f' (napari opened {path!r})' if path else ''}: put here what gives",
        f"# {which}, an array of shape {tuple(map(int, data.shape))} and type {data.dtype}.",
        f"{name} = ...",
    ]


def _mask(made: _Script, plan: CropPlan, pixels: str) -> None:
    """Write how pixels outside of what is drawn become 0."""
    assert plan.mask is not None  # asked by the callers
    made.imports |= {"import numpy as np", "from skimage.measure import grid_points_in_poly"}
    box = level_box(plan.layer, plan.region, plan.level)
    shape = tuple(box[axis][1] - box[axis][0] for axis in plan.mask.axes)
    broad = tuple(
        stop - start if axis in plan.mask.axes else 1 for axis, (start, stop) in enumerate(box)
    )
    polygons = [
        f"grid_points_in_poly({shape}, {corners.round(_DIGITS).tolist()})"
        for corners in corners_in_level(plan.mask, plan.layer, plan.level, box)
    ]
    made.lines.append(f"inside = {' | '.join(polygons)}")
    made.lines.append(f"np.copyto({pixels}, 0, where=~inside.reshape({broad}))")


# --- files
# ---------------------------------------------------------------------------------------------------------


def _write(
    made: _Script, plan: CropPlan, found: Origin | None, target: FileTarget, place: int
) -> None:
    """Write how a file comes into being."""
    path = target.paths[place]
    more = f", dtype={plan.dtype!r}" if plan.dtype is not None and plan.mask is None else ""
    if path.suffix != ".npy" and not target.pyramid:
        more += ", pyramid=False"
    if path.suffix == ".zarr" and target.sharded:
        more += ", shards=True"
    last = f"_{place + 1}" if place else ""
    number = _image_number(plan, found)
    if (
        found is not None
        and number is not None
        and plan.mask is None
        and as_opened(plan.layer, found)
    ):
        made.lines.append(f"image{last} = {_dataset(made, found)}.images[{number}]")
        level = f", level={plan.level}" if plan.level else ""
        made.lines.append(
            f"nl.export(image{last}, {str(path)!r}, {_region(plan, found)}{level}{more})"
        )
        return
    if plan.mask is not None:
        _read(made, plan, found, last)
    else:
        array, parts = _array(made, plan, found, f"image{last}")
        made.lines.append(f"pixels{last} = {array}[{parts}]")
    _layer(made, plan, last)
    made.lines.append(f"nl.export(layer{last}, {str(path)!r}{more})")


def _layer(made: _Script, plan: CropPlan, last: str) -> None:
    """Write the layer that says where the pixels lie, and how they look."""
    layer = plan.layer
    kind = type(layer).__name__
    made.imports.add(f"from napari.layers import {kind}")
    box = level_box(layer, plan.region, plan.level)
    placed = placement(layer, plan.level, [start for start, _ in box])
    keywords: dict[str, Any] = {
        "name": layer.name,
        "axis_labels": list(layer.axis_labels),
        "units": [str(unit) for unit in layer.units],
        "scale": placed["scale"].tolist(),
        "translate": placed["translate"].tolist(),
    }
    ndim = layer.ndim
    for name, matrix in (
        ("rotate", layer.rotate),
        ("shear", layer.shear),
        ("affine", layer.affine.affine_matrix),
    ):
        same = np.zeros(np.shape(matrix)) if np.ndim(matrix) == 1 else np.eye(len(matrix))
        if ndim and not np.array_equal(matrix, same):
            keywords[name] = np.asarray(matrix).tolist()
    if kind == "Image":
        if layer.rgb:
            keywords["rgb"] = True
        else:
            keywords |= {
                "contrast_limits": list(map(float, layer.contrast_limits)),
                "colormap": layer.colormap.name,
            }
    given = "".join(f"\n    {name}={value!r}," for name, value in keywords.items())
    made.lines.append(f"layer{last} = {kind}(\n    pixels{last},{given}\n)")
