"""The binary formats: which path belongs to which, and what opens it."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.file_listing import not_there
from napari_lazyload.sources.picture_tiff import SUFFIXES as TIFF_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.sources.opened import Opened


def _with_packed(suffixes: str, packed: str = "") -> tuple[str, ...]:
    """Return suffixes, and the same ones of compressed files."""
    return tuple(f"{suffix}{more}" for suffix in suffixes.split() for more in ("", *packed.split()))


_FORMATS = (
    ("iwi", (".iwi", ".iwi/"), "itk_wasm", "open_iwi"),
    ("envi", (".hdr", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin"), "envi", "open_envi"),
    ("npy", (".npy", ".npz"), "npy", "open_npy"),
    ("mrc", _with_packed(".mrc .mrcs .map .rec .st .ali .ccp4", ".gz .bz2"), "mrc", "open_mrc"),
    ("nifti", (*_with_packed(".nii .hdr .img .mgh", ".gz"), ".mgz"), "nifti", "open_nifti"),
    ("nrrd", (".nrrd", ".nhdr"), "nrrd", "open_nrrd"),
    ("metaimage", (".mhd", ".mha"), "metaimage", "open_metaimage"),
    ("fits", _with_packed(".fits .fit .fts", ".gz"), "fits", "open_fits"),
    ("hdf5", (".h5", ".hdf5", ".hdf", ".he5", ".ims", ".nxs", ".emd"), "hdf5", "open_hdf5"),
    ("tiff", (*TIFF_SUFFIXES, ".companion.ome"), "tiff_tiles", "open_large_tiff"),
    (
        "bioio",
        _with_packed(".czi .lif .nd2 .oib .oif .oir .vsi .dv .r3d .zvi .sldy .vms"),
        "foreign",
        "open_bioio",
    ),
    (
        "rosettasciio",
        _with_packed(".dm3 .dm4 .ser .emi .blo .mib .tvips .hspy .bcf .prz .seq"),
        "foreign",
        "open_rosettasciio",
    ),
    ("raw", (".raw", ".bin", ".dat", ".vol"), "raw_files", "open_raw"),
)

_LOOKS = {"itk_wasm": "takes_iwi", "envi": "takes_envi", "tiff_tiles": "takes_large_tiff"}
"""Formats that share their suffixes with others, or are folders: what looks at the path."""

_BARE = ("envi",)
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
"""The library that reads the header of each format, where one is needed, and the extra that brings it."""

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
        if one is None or not (one.lower().endswith(suffixes) or (module in _BARE and not os.path.splitext(one)[1])):
            return False
        looks = _LOOKS.get(module)
        if looks is not None:
            return bool(getattr(import_module(f"napari_lazyload.sources.{module}"), looks)(one))
        return os.path.lexists(one) and not os.path.isdir(one)

    return takes


def _opener(module: str, name: str) -> Callable[..., Opened]:
    def open_binary(path: str | list[str], **options: Any) -> Opened:
        one = _alone(path)
        if one is None:
            msg = f"expected one file, got {len(path)} paths: open them one by one"
            raise ValueError(msg)
        if not os.path.lexists(one):
            raise not_there(one)
        opened: Opened = getattr(import_module(f"napari_lazyload.sources.{module}"), name)(one, **options)
        return opened

    return open_binary


ROWS = tuple(
    (name, _taker(suffixes, module), _opener(module, function)) for name, suffixes, module, function in _FORMATS
)
"""Name, whether it takes a path, and what opens it, for each format."""
