"""All formats that the package reads, and whether this installation has what each needs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.sources.files import not_there
from napari_lazyload.sources.folder.open_folder import PATTERN_SIGNS, open_pictures
from napari_lazyload.sources.image_files.decode import is_picture, picture_formats
from napari_lazyload.sources.ome_zarr.open import open_zarr, takes_zarr
from napari_lazyload.sources.tiff.pages import SUFFIXES as TIFF_SUFFIXES
from napari_lazyload.sources.zarr.location import is_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.sources.opened import OpenResult


_ZARR = {
    "zarr": ([".zarr", ".zarr.zip", ".ozx"], "zarr", None),
    "zarr at addresses": ([".zarr", ".zarr.zip", ".ozx"], "obstore", "remote"),
}


def supported_formats() -> dict[str, dict[str, Any]]:
    """Tell which formats can be read here: pictures, Zarr stores (OME-Zarr too) and binaries.

    Returns
    -------
    dict
        By format: ``suffixes`` (list), ``readable`` (bool), ``library`` (str, empty where none is
        needed), ``extra`` (str or None: the extra of this package that brings it), ``reason`` (str
        or None: why it is not readable, and how to mend that). Ready for JSON. Folders of pictures
        and Zarr stores without a suffix open too.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> nl.supported_formats()["npy"]["suffixes"]
    ['.npy', '.npz']
    """
    found = picture_formats()
    for name, (suffixes, library, extra) in _ZARR.items():
        found[name] = _row(suffixes, library, extra)
    for name, all_suffixes in SUFFIXES_OF.items():
        library, extra = LIBRARIES.get(name, ("", None))
        suffixes = sorted({suffix.rstrip("/") for suffix in all_suffixes})
        if name in found:  # TIFF: as pictures, and in place by tiles
            found[name]["suffixes"] = sorted({*found[name]["suffixes"], *suffixes})
        else:
            found[name] = _row(suffixes, library, extra)
    return found


def _row(suffixes: list[str], library: str, extra: str | None) -> dict[str, Any]:
    missing = bool(library) and not _is_there(
        {"pynrrd": "nrrd", "rosettasciio": "rsciio"}.get(library, library)
    )
    how = f"pip install 'napari-lazyload[{extra}]'" if extra else f"pip install {library}"
    reason = f"{library} is not installed: {how}" if missing else None
    return {
        "suffixes": suffixes,
        "readable": not missing,
        "library": library,
        "extra": extra,
        "reason": reason,
    }


def _is_there(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return sys.modules.get(module) is not None or find_spec(module) is not None
    except (ImportError, ValueError):  # None in sys.modules, as who hides a package puts it there
        return False


Path: TypeAlias = "str | list[str]"


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table.

    Parameters
    ----------
    name : str
        What ``format=`` calls it.
    takes : callable
        Returns whether this format opens a path (or a list of them), from the name and the kind of
        file alone.
    open : callable
        ``open(path, **options)`` returns an `OpenResult`.
    """

    name: str
    takes: Callable[[Path], bool]
    open: Callable[..., OpenResult]


def _takes_pictures(path: Path) -> bool:
    if not isinstance(path, str):
        return any(map(is_picture, path))
    if os.path.isdir(path):
        return not is_store(path)
    return is_picture(path) or _is_pattern(path)


def _is_pattern(path: str) -> bool:
    """Return whether a path is a glob pattern that pictures may match."""
    suffix = os.path.splitext(path)[1]
    may_match = not suffix or any(sign in suffix for sign in PATTERN_SIGNS)
    return may_match and any(sign in path for sign in PATTERN_SIGNS) and not os.path.lexists(path)


def _with_packed(suffixes: str, packed: str = "") -> tuple[str, ...]:
    """Return suffixes, and the same ones of compressed files."""
    return tuple(f"{suffix}{more}" for suffix in suffixes.split() for more in ("", *packed.split()))


_FORMATS = (
    ("iwi", (".iwi", ".iwi/"), "binary.itk_wasm", "open_iwi"),
    (
        "envi",
        (".hdr", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin"),
        "binary.envi",
        "open_envi",
    ),
    ("npy", (".npy", ".npz"), "binary.npy", "open_npy"),
    (
        "mrc",
        _with_packed(".mrc .mrcs .map .rec .st .ali .ccp4", ".gz .bz2"),
        "binary.mrc",
        "open_mrc",
    ),
    ("nifti", (*_with_packed(".nii .hdr .img .mgh", ".gz"), ".mgz"), "binary.nifti", "open_nifti"),
    ("nrrd", (".nrrd", ".nhdr"), "binary.nrrd", "open_nrrd"),
    ("metaimage", (".mhd", ".mha"), "binary.metaimage", "open_metaimage"),
    ("fits", _with_packed(".fits .fit .fts", ".gz"), "binary.fits", "open_fits"),
    ("hdf5", (".h5", ".hdf5", ".hdf", ".he5", ".ims", ".nxs", ".emd"), "hdf5.open", "open_hdf5"),
    ("tiff", (*TIFF_SUFFIXES, ".companion.ome"), "folder.open_tiff", "open_tiff"),
    (
        "bioio",
        _with_packed(".czi .lif .nd2 .oib .oif .oir .vsi .dv .r3d .zvi .sldy .vms"),
        "external",
        "open_bioio",
    ),
    (
        "rosettasciio",
        _with_packed(".dm3 .dm4 .ser .emi .blo .mib .tvips .hspy .bcf .prz .seq"),
        "external",
        "open_rosettasciio",
    ),
    ("raw", (".raw", ".bin", ".dat", ".vol"), "binary.raw", "open_raw"),
)

_LOOKS = {
    "binary.itk_wasm": "takes_iwi",
    "binary.envi": "takes_envi",
    "folder.open_tiff": "takes_listed_tiff",
}
"""Formats that share their suffixes with others, or are folders: what looks at the path."""

_BY_SUFFIX = ("folder.open_tiff",)
"""Formats that look at the only path of a list alone: one that stands by itself is theirs."""

_BARE = ("binary.envi",)
"""Formats whose data often has no suffix: these look at such paths too."""

SUFFIXES_OF = {name: suffixes for name, suffixes, _, _ in _FORMATS}
"""The suffixes of each format, in lower case; a folder's ends with a slash."""

LIBRARIES = {
    "envi": ("spectral", "formats"),
    "mrc": ("mrcfile", "formats"),
    "nifti": ("nibabel", "formats"),
    "nrrd": ("pynrrd", "formats"),
    "fits": ("astropy", "formats"),
    "hdf5": ("h5py", "formats"),
    "bioio": ("bioio", "bioio"),
    "rosettasciio": ("rosettasciio", "rosettasciio"),
}
"""The library that reads the header of each format, where one is needed, and the extra that brings
it."""

SUFFIXES = tuple(suffix for _, suffixes, _, _ in _FORMATS for suffix in suffixes)
"""All suffixes, in lower case."""


def _alone(path: str | Sequence[str]) -> str | None:
    """Return the one path that is meant, or None for several: a viewer makes a list of whatever it is given."""
    if isinstance(path, str):
        return path
    return path[0] if len(path) == 1 else None


def _taker(suffixes: tuple[str, ...], module: str) -> Callable[[str | list[str]], bool]:
    def takes(path: str | list[str]) -> bool:
        one = _alone(path)
        if one is None or not (
            one.lower().endswith(suffixes) or (module in _BARE and not os.path.splitext(one)[1])
        ):
            return False
        looks = _LOOKS.get(module)
        if looks is not None and not (module in _BY_SUFFIX and isinstance(path, str)):
            return bool(getattr(import_module(f"napari_lazyload.sources.{module}"), looks)(one))
        return os.path.lexists(one) and not os.path.isdir(one)

    return takes


def _opener(module: str, name: str) -> Callable[..., OpenResult]:
    def open_binary(path: str | list[str], **options: Any) -> OpenResult:
        one = _alone(path)
        if one is None:
            msg = f"expected one file, got {len(path)} paths: open them one by one"
            raise ValueError(msg)
        if not os.path.lexists(one):
            raise not_there(one)
        opened: OpenResult = getattr(import_module(f"napari_lazyload.sources.{module}"), name)(
            one, **options
        )
        return opened

    return open_binary


ROWS = tuple(
    (name, _taker(suffixes, module), _opener(module, function))
    for name, suffixes, module, function in _FORMATS
)
"""Name, whether it takes a path, and what opens it, for each format."""

FORMATS: tuple[Format, ...] = (
    Format("zarr", takes_zarr, open_zarr),
    *(Format(*row) for row in ROWS),
    Format("pictures", _takes_pictures, open_pictures),
)
