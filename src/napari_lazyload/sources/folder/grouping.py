"""Which files become which image: folders apart or as axes, like with like, or all padded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.core.text import describe_pixels
from napari_lazyload.sources.folder.file_set import FileSet, common_items
from napari_lazyload.sources.image_files.decode import PictureInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    Array = np.ndarray[Any, Any]

MAX_IMAGES = 64

Subfolders = Literal["axis", "stack", "separate", "ignore"]
Mixed = Literal["groups", "pad"]
Headers = Literal["budget", "all"]

_CHOICES = {
    "subfolders": ("axis", "stack", "separate", "ignore"),
    "mixed": ("groups", "pad"),
    "headers": ("budget", "all"),
}


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How a folder is opened.

    Parameters
    ----------
    subfolders : {"axis", "stack", "separate", "ignore"}
        Sub-folders become an axis where they agree in number and shape (else one stack), always one
        stack, one image each, or are left out.
    mixed : {"groups", "pad"}
        Pictures of several shapes or dtypes become one image for each group, or one image filled up
        to the largest.
    headers : {"budget", "all"}
        Read some headers, which decide for all files, and leave the rest to the background, or
        read all before opening. Files of one family, whose names are alike but for their digits,
        are taken for alike until their headers are read.
    pattern : str or None
        A glob pattern that names must match.
    max_images : int
        More images than this are not made from one path: more groups are padded, more sub-folders
        refused.
    """

    subfolders: Subfolders = "axis"
    mixed: Mixed = "groups"
    headers: Headers = "budget"
    pattern: str | None = None
    max_images: int = MAX_IMAGES

    def __post_init__(self) -> None:
        """Refuse what is not a choice."""
        for name, allowed in _CHOICES.items():
            chosen = getattr(self, name)
            if chosen not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, allowed))}, got {chosen!r}"
                )
        if not (self.pattern is None or isinstance(self.pattern, str)):
            raise TypeError(f"pattern must be a glob pattern such as '*.png', got {self.pattern!r}")
        if (
            isinstance(self.max_images, bool)
            or not isinstance(self.max_images, int)
            or self.max_images < 1
        ):
            raise ValueError(
                f"max_images must be a whole number of at least 1, got {self.max_images!r}"
            )


@dataclass(slots=True)
class Group:
    """Files that become one image.

    Parameters
    ----------
    name : str
        Of the image.
    rows : numpy.ndarray of int
        Which files, in slider order.
    info : PictureInfo
        What each is expected to be, or the frame that each is fitted into.
    lead : dict of str to int
        The axes that count files.
    padded : bool
        Whether frames are filled up.
    """

    name: str
    rows: Array
    info: PictureInfo
    lead: dict[str, int]
    padded: bool = False

    @property
    def images(self) -> int:
        """Number of images: whole numbers that are filled up come with their coverage."""
        return 2 if self.has_coverage else 1

    @property
    def has_coverage(self) -> bool:
        """Whether a second image says where the files' pixels are: no value of the first can."""
        return self.padded and self.info.dtype.kind not in "fc"


def group_files(files: FileSet, name: str, options: FolderOptions, notes: list[str]) -> list[Group]:
    """Return which files become which image.

    Parameters
    ----------
    files : FileSet
        With at least one readable picture.
    name : str
        What the path is called.
    options : FolderOptions
        What the user asked for.
    notes : list of str
        Takes what the user should be told.

    Raises
    ------
    SourceOpenError
        If there would be more images than ``options.max_images``.
    """
    parts = (
        _by_folder(files, name)
        if options.subfolders == "separate"
        else {name: np.arange(len(files))}
    )
    _check_number(len(parts), name, options, files)
    for rows in parts.values():
        files.read_header(int(rows[0]))  # none is taken for what the others are
    expected = files.expected_kinds()
    kinds = {part: _in_order(expected[rows]) for part, rows in parts.items()}
    pad = options.mixed == "pad"
    shapes = sum(map(len, kinds.values()))
    if not pad and shapes > options.max_images:
        pad = True
        what = f"{shapes} groups of different shape or type"
        notes.append(f"{name}: {what}; each stack is filled up to its largest")
    groups: list[Group] = []
    for part, rows in parts.items():
        split = _classes(files, kinds[part]) if pad else [[kind] for kind in kinds[part]]
        groups += _split(files, part, rows, expected[rows], split)
    _check_number(sum(group.images for group in groups), name, options, files)
    if options.subfolders == "axis":
        for group in groups:
            if "/" in files.listing.names[group.rows[0]]:
                group.lead = _folder_axes(files.listing.names[group.rows]) or group.lead
    return groups


def single(files: FileSet, name: str) -> Group:
    """Return the image of one file, without an axis that counts files."""
    info = files.header_classes[files.main_kind()]
    if "images" in info.metadata:  # all are shown
        left = {key: value for key, value in info.metadata.items() if key not in ("note", "images")}
        info = replace(info, metadata=left)
    return Group(name, np.arange(1), info, {})


def _by_folder(files: FileSet, name: str) -> dict[str, Array]:
    """Return the files of each folder, by its name."""
    folders: dict[str, list[int]] = {}
    for row, path in enumerate(files.listing.names):
        folders.setdefault(path.rpartition("/")[0], []).append(row)
    return {
        f"{name}/{folder}".removesuffix("/"): np.array(rows) for folder, rows in folders.items()
    }


def _in_order(kinds: Array) -> list[int]:
    """Return the different classes of some files, in the order in which they come first."""
    present, first = np.unique(kinds, return_index=True)
    return [int(kind) for kind in present[np.argsort(first)]]


def _classes(files: FileSet, kinds: Iterable[int]) -> list[list[int]]:
    """Return the classes that one frame can hold: those of the same axes, with or without color."""
    classes: dict[Any, list[int]] = {}
    for kind in kinds:
        info = files.header_classes[kind]
        axes = info.axes[: len(info.axes) - info.rgb]
        classes.setdefault((axes, info.page_ndim), []).append(kind)
    return list(classes.values())


def _split(
    files: FileSet, name: str, rows: Array, kinds: Array, classes: list[list[int]]
) -> list[Group]:
    """Return a group for each list of classes; `kinds` are those that the files should have."""
    members = [np.isin(kinds, wanted) for wanted in classes]
    groups: list[Group] = []
    for wanted, mask in zip(classes, members, strict=True):
        infos = [files.header_classes[kind] for kind in wanted]
        info = infos[0] if len(infos) == 1 else padded_info(infos)
        title = name if len(classes) == 1 else f"{name} [{describe_pixels(info.shape, info.dtype)}]"
        if any(group.name == title for group in groups):
            title = f"{title[:-1]} {''.join(info.axes)}, {len(groups) + 1}]"
        lead = {"frame": int(mask.sum())}
        groups.append(Group(title, rows[mask], info, lead, padded=len(infos) > 1))
    return groups


def padded_info(infos: list[PictureInfo]) -> PictureInfo:
    """Return a frame that holds several: largest sides, most channels, a dtype for all values."""
    ndim = len(infos[0].axes) - infos[0].rgb
    sides = tuple(np.max([info.shape[:ndim] for info in infos], axis=0).tolist())
    channels = max(info.shape[-1] if info.rgb else 0 for info in infos)
    metadata = dict(infos[0].metadata)
    for info in infos[1:]:
        metadata = common_items(metadata, info.metadata)
    return PictureInfo(
        shape=(*sides, channels) if channels else sides,
        dtype=np.result_type(*(info.dtype for info in infos)),
        format="mixed",
        axes=(*infos[0].axes[:ndim], RGB_AXIS) if channels else infos[0].axes[:ndim],
        rgb=bool(channels),
        pages=int(np.prod(sides[: infos[0].page_ndim])),
        page_ndim=infos[0].page_ndim,
        metadata=metadata,
    )


def _check_number(count: int, name: str, options: FolderOptions, files: FileSet) -> None:
    if count > options.max_images:
        way = "subfolders='stack'" if options.subfolders == "separate" else "mixed='pad'"
        found = f"{name} would open as {count} images; {options.max_images} is the most"
        raise SourceOpenError(f"{found}. Use {way} or max_images={count}", files.listing.root)


def _folder_axes(names: Array) -> dict[str, int] | None:
    """Return the axes of a regular tree of sub-folders, or None where the tree is not regular."""
    depth = names[0].count("/")
    if any(name.count("/") != depth for name in names):
        return None
    sizes: list[int] = []
    members: list[str] = names.tolist()
    for _ in range(depth + 1):
        counts = [(folder, len([*inside])) for folder, inside in groupby(members, _folder_of)]
        members = [folder for folder, _ in counts]
        if len({count for _, count in counts}) > 1 or len(set(members)) < len(members):
            return None
        sizes.insert(0, counts[0][1])
    sizes = [size for size in sizes if size > 1] or [1]
    labels = (
        ["folder"] if len(sizes) == 2 else [f"folder_{number}" for number in range(1, len(sizes))]
    )
    return dict(zip([*labels, "frame"], sizes, strict=True))


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def grouping_notes(files: FileSet, name: str, groups: list[Group]) -> list[str]:
    """Return what a user would not expect of the images."""
    notes = []
    forms = {(group.info.shape, group.info.dtype, group.info.axes) for group in groups}
    if len(forms) > 1 and not any(group.padded for group in groups):
        notes.append(f"{name}: pictures of {len(forms)} shapes or types; one image for each")
    for what, shown in (
        ("colormap", "palettes; their indices are shown in gray"),
        ("scale", "pixel sizes; no scale"),
    ):
        if what in files.differing:
            notes.append(f"{name}: pictures of one shape and type have different {shown}")
    for group in groups:
        notes += _group_notes(files, group)
    return notes


def _group_notes(files: FileSet, group: Group) -> list[str]:
    """Return what a user would not expect of one image."""
    notes, info, metadata = [], group.info, group.info.metadata
    kinds = set(files.kind[group.rows].tolist()) if group.padded else set()
    types = {files.header_classes[kind].dtype for kind in kinds if kind >= 0}
    if len(types) > 1 and info.rgb:
        notes.append(
            f"{group.name}: colors keep their values in {info.dtype}, in which those of a smaller "
            "type look dark; open with mixed='groups' to see each as it is"
        )
    wide = any(dtype.kind in "iu" and dtype.itemsize == 8 for dtype in types)
    if info.dtype.kind == "f" and wide:
        notes.append(f"{group.name}: 64-bit numbers above 2**53 are rounded in {info.dtype}")
    if "missing" in metadata:
        planes = f"{metadata['missing']:,} of {info.pages:,} planes"
        notes.append(f"{group.name}: {planes} are described, but not there: blank")
    if "note" in metadata:
        notes.append(f"{group.name}: {metadata['note']}")
    return notes
