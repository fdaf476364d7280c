"""The Python script that does what the crop dock would do. No Qt here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core.confidential import public_address, public_options
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.dataset.dataset import open_datasets
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop.export_source import as_opened, origin, whole_levels
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
        imports = sorted(self.imports)
        imports.sort(key=lambda line: ("napari_lazyload" in line, line.startswith("from")))
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
    return found if found is not None and _dataset_of(found) is not None else None


def _dataset_of(found: Origin) -> Any:
    """Return the open dataset of an image; the layer of a lazy crop does not know it."""
    datasets = open_datasets() if found.link.dataset is None else [found.link.dataset]
    fitting = (dataset for dataset in datasets if not dataset.closed and _links(dataset, found))
    return next(fitting, None)


def _links(dataset: Any, found: Origin) -> list[int]:
    """Return which layers of a dataset show an image, its channel alone."""
    numbers = []
    for number, (_, keywords, _) in enumerate(chain.from_iterable(map(_layers, dataset.images))):
        link = keywords["metadata"][METADATA_KEY]
        if link.image.source.token == found.image.source.token:
            numbers += [number] * (link.channel == found.link.channel)
    return numbers


def _layers(image: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when the layers were made
        return layer_data(image)


def _image_number(plan: CropPlan, found: Origin | None) -> int | None:
    """Return the number of the image in its dataset.

    None where the layer shows it converted, or not all levels.
    """
    if found is None or not whole_levels(plan.layer, found):
        return None
    for number, image in enumerate(_dataset_of(found).images):
        if image.source.token == found.image.source.token:
            return number
    return None


# --- pixels


def _read(made: _Script, plan: CropPlan, found: Origin | None, last: str) -> None:
    """Write how the pixels come into memory."""
    number = _image_number(plan, found)
    more = "" if plan.dtype is None else f", dtype={plan.dtype!r}"
    more += _on_error(plan)
    if found is not None and number is not None:
        made.lines.append(f"image{last} = {_dataset(made, found)}.images[{number}]")
        level = f", level={plan.level}" if plan.level else ""
        call = f"nl.crop(image{last}, {_region(plan, found)}{level}{more})"
        if found.link.channel is not None:
            call += f".squeeze({found.image.axes.index(CHANNEL_AXIS)})"
    else:
        array, parts = _array(made, plan, found, f"image{last}")
        call = f"nl.crop({array}, ({parts},){more})"
    made.lines.append(f"pixels{last} = {call}")
    if plan.mask is not None:
        _mask(made, plan, f"pixels{last}")


def _on_error(plan: CropPlan) -> str:
    return "" if plan.on_error is None else f", on_error={plan.on_error!r}"


def _dataset(made: _Script, found: Origin) -> str:
    """Return the name of a dataset, which is opened where it was not yet."""
    dataset = _dataset_of(found)
    if id(dataset) not in made.datasets:
        last = f"_{len(made.datasets) + 1}" if made.datasets else ""
        made.datasets[id(dataset)] = name = f"dataset{last}"
        path, options = dataset.opened_with
        made.lines += _opening(name, path, options)
    return made.datasets[id(dataset)]


def _opening(name: str, path: str | list[str], options: dict[str, Any]) -> list[str]:
    """Return the lines that open a dataset, without what nobody else may see."""
    left_out: list[str] = []
    secret: list[str] = []
    if isinstance(path, str) and "://" in path:
        path, parts = public_address(path)
        left_out = [f"the {part} of the address" for part in parts]
        options, secret = public_options(options)
    given = "".join(f", {key}={value!r}" for key, value in options.items())
    given += "".join(f", {key}=..." for key in secret)
    left_out += secret
    lines = [f"{name} = nl.open_dataset({path!r}{given})"]
    if left_out:
        lines.insert(0, f"# Left out, for it may be secret: {', '.join(left_out)}.")
    return lines


def _region(plan: CropPlan, found: Origin) -> str:
    axes = [axis for axis in found.image.axes if axis != RGB_AXIS]
    parts = found.region(plan.region)
    if len(set(axes)) < len(axes):
        return f"({', '.join(f'slice({part.start}, {part.stop})' for part in parts)},)"
    pairs = zip(axes, parts, strict=True)
    named = [f'"{axis}": ({part.start}, {part.stop})' for axis, part in pairs]
    return f"{{{', '.join(named)}}}"


def _array(made: _Script, plan: CropPlan, found: Origin | None, name: str) -> tuple[str, str]:
    """Write what gives the level that is cropped; return its name, and the slices of it."""
    ndim = plan.target.ndim
    starts = [0] * ndim
    if found is None:
        made.lines += _placeholder(plan, name)
    else:
        array = plan.target.arrays[plan.level]
        starts = [array.box[axis][0] for axis in array.kept_axes]
        number = _links(_dataset_of(found), found)[0]
        of_level = f"[{array.level}]" if len(found.image.boxes) > 1 else ""
        made.lines.append(
            f"{name} = {_dataset(made, found)}.to_layer_data()[{number}][0]{of_level}"
        )
    pairs = zip(plan.box[:ndim], starts, strict=False)
    parts = [f"slice({start + base}, {stop + base})" for (start, stop), base in pairs]
    return name, ", ".join(parts)


def _placeholder(plan: CropPlan, name: str) -> list[str]:
    """Return the lines that ask for the pixels of a layer that another plugin or a script made."""
    layer, data = plan.layer, plan.target.arrays[plan.level]
    which = f"level {plan.level} of its data" if layer.multiscale else "its data"
    opened = (
        f" (napari opened {public_address(layer.source.path)[0]!r})" if layer.source.path else ""
    )
    return [
        f"# napari-lazyload did not open this layer{opened}: put here what gives",
        f"# {which}, an array of shape {tuple(map(int, data.shape))} and type {data.dtype}.",
        f"{name} = ...",
    ]


def _mask(made: _Script, plan: CropPlan, pixels: str) -> None:
    """Write how pixels outside of what is drawn become 0."""
    assert plan.mask is not None  # the callers check it
    made.imports |= {"import numpy as np", "from skimage.measure import grid_points_in_poly"}
    shape, broad = plan.mask.shapes(plan.box)
    polygons = [
        f"grid_points_in_poly({shape}, {corners.round(_DIGITS).tolist()})"
        for corners in corners_in_level(plan.mask, plan.target, plan.level, plan.box)
    ]
    made.lines.append(f"inside = {' | '.join(polygons)}")
    made.lines.append(f"np.copyto({pixels}, 0, where=~inside.reshape({broad}))")


# --- files


def _write(
    made: _Script, plan: CropPlan, found: Origin | None, target: FileTarget, place: int
) -> None:
    """Write how a file is made."""
    path, more = target.paths[place], ""
    if plan.dtype is not None and plan.mask is None:
        more = f", dtype={plan.dtype!r}"
    if plan.mask is None:
        more += _on_error(plan)
    if path.suffix != ".npy" and not target.pyramid:
        more += ", pyramid=False"
    if path.suffix == ".zarr" and target.sharded:
        more += ", shards=True"
    last = f"_{place + 1}" if place else ""
    number = _image_number(plan, found)
    whole = found is not None and number is not None and plan.mask is None
    if found is not None and whole and as_opened(plan.layer, found):
        made.lines.append(f"image{last} = {_dataset(made, found)}.images[{number}]")
        region = _region(plan, found)
        level = f", level={plan.level}" if plan.level else ""
        made.lines.append(f"nl.export(image{last}, {str(path)!r}, {region}{level}{more})")
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
    placement = plan.target.placement(plan.level, plan.box)
    keywords: dict[str, Any] = {
        "name": layer.name,
        "axis_labels": list(layer.axis_labels),
        "units": list(plan.target.units),
        "scale": placement["scale"].tolist(),
        "translate": placement["translate"].tolist(),
    }
    for name, matrix in (
        ("rotate", layer.rotate),
        ("shear", layer.shear),
        ("affine", layer.affine.affine_matrix),
    ):
        same = np.zeros(np.shape(matrix)) if np.ndim(matrix) == 1 else np.eye(len(matrix))
        if not np.array_equal(matrix, same):
            keywords[name] = np.asarray(matrix).tolist()
    if kind == "Image" and layer.rgb:
        keywords["rgb"] = True
    elif kind == "Image":
        keywords["contrast_limits"] = list(map(float, layer.contrast_limits))
        keywords["colormap"] = layer.colormap.name
    given = "".join(f"\n    {name}={value!r}," for name, value in keywords.items())
    made.lines.append(f"layer{last} = {kind}(\n    pixels{last},{given}\n)")
