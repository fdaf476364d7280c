"""The one table of formats: which path belongs to which, what opens it, and what it needs.

A new format is a row here; `napari.yaml` lists the same suffixes, which a test compares. The order
is policy: the first row that takes a path opens it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.sources.files import not_there
from napari_lazyload.sources.folder.open_folder import PATTERN_SIGNS
from napari_lazyload.sources.image_files.decode import is_picture, picture_formats
from napari_lazyload.sources.tiff.pages import SUFFIXES as TIFF_SUFFIXES
from napari_lazyload.sources.zarr.location import is_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.sources.opened import OpenResult

Path: TypeAlias = "str | list[str]"


def _one_file(path: Path) -> str | None:
    """Return the one path that is meant, or None for several: viewers make lists of paths."""
    if isinstance(path, str):
        return path
    return path[0] if len(path) == 1 else None


def _takes_pictures(path: Path) -> bool:
    if not isinstance(path, str):
        return any(map(is_picture, path))
    if os.path.isdir(path):
        return not is_store(path)
    suffix = os.path.splitext(path)[1]
    may_match = not suffix or any(sign in suffix for sign in PATTERN_SIGNS)
    return is_picture(path) or (may_match and is_pattern(path))


def is_pattern(path: str) -> bool:
    """Whether a path is a glob pattern."""
    return any(sign in path for sign in PATTERN_SIGNS) and not os.path.lexists(path)


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table.

    Parameters
    ----------
    name : str
        What ``format=`` calls it.
    suffixes : tuple of str
        In lower case; that of a folder ends with a slash.
    opener : str
        ``module:function``, below `napari_lazyload.sources`: ``function(path, **options)`` returns
        an `OpenResult`.
    looker : str
        ``module:function`` that returns whether a path of these suffixes is one; needed where
        formats share suffixes. By default any file is one.
    looks_at_lists : bool
        Whether only the path of a list of one is looked at, and any file by itself is one.
    takes_bare : bool
        Whether paths without a suffix are looked at too.
    takes_all : callable, optional
        Returns whether a path, or a list of them, is one, whatever its suffix.
    library : str
        The library that reads the header, where one is needed.
    extra : str, optional
        The extra of this package that brings it.
    """

    name: str
    suffixes: tuple[str, ...]
    opener: str
    looker: str = ""
    looks_at_lists: bool = False
    takes_bare: bool = False
    takes_all: Callable[[Path], bool] | None = None
    library: str = ""
    extra: str | None = None

    def takes(self, path: Path) -> bool:
        """Whether this format opens a path (or a list of them), by name and kind of file alone."""
        if self.takes_all is not None:
            return self.takes_all(path)
        file = _one_file(path)
        if file is None:
            return False
        bare = self.takes_bare and not os.path.splitext(file)[1]
        if not bare and not file.lower().endswith(self.suffixes):
            return False
        if self.looker and not (self.looks_at_lists and isinstance(path, str)):
            return bool(_function(self.looker)(file))
        return os.path.lexists(file) and not os.path.isdir(file)

    def open(self, path: Path, **options: Any) -> OpenResult:
        """Open a path, or a list of them where the format takes lists.

        Raises
        ------
        SourceOpenError
            If it does not exist or cannot be opened.
        ValueError
            If there are several paths, and the format takes one.
        """
        if self.takes_all is None:
            file = _one_file(path)
            if file is None:
                raise ValueError(f"expected one file, got {len(path)} paths: open them one by one")
            if not os.path.lexists(file):
                raise not_there(file)
            path = file
        result: OpenResult = _function(self.opener)(path, **options)
        return result


def _function(name: str) -> Callable[..., Any]:
    """Import what a row names when it is first needed."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), function)
    return found


def _takes_stack(path: Path) -> bool:
    several = not isinstance(path, str) or os.path.isdir(path) or is_pattern(path)
    return several and bool(_function("file_stack:takes_stack")(path))


def _takes_zarr(path: Path) -> bool:
    return bool(_function("ome_zarr.open:takes_zarr")(path))


def _packed(suffixes: str, *packings: str) -> tuple[str, ...]:
    """Return suffixes, and the same ones of compressed files."""
    return tuple(suffix + packing for suffix in suffixes.split() for packing in ("", *packings))


FORMATS: tuple[Format, ...] = (
    Format(
        "zarr",
        (".zarr", ".zspy", ".zarr.zip", ".ozx"),
        "ome_zarr.open:open_zarr",
        takes_all=_takes_zarr,
        library="zarr",
    ),
    Format("iwi", (".iwi", ".iwi/"), "binary.itk_wasm:open_iwi", "binary.itk_wasm:takes_iwi"),
    Format(
        "envi",
        (".hdr", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin"),
        "binary.envi:open_envi",
        "binary.envi:takes_envi",
        takes_bare=True,
        library="spectral",
        extra="formats",
    ),
    Format(
        "esri",
        (".hdr", ".bil", ".bip", ".bsq", ".flt", ".dem"),
        "binary.esri:open_esri",
        "binary.esri:takes_esri",
    ),
    Format("npy", (".npy", ".npz"), "binary.npy:open_npy"),
    Format("pnm", (".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm"), "binary.pnm:open_pnm"),
    Format(
        "parrec",
        (".par", ".rec"),
        "binary.parrec:open_parrec",
        "binary.parrec:takes_parrec",
        library="nibabel",
        extra="formats",
    ),
    Format(
        "mrc",
        _packed(".mrc .mrcs .map .rec .st .ali .ccp4", ".gz", ".bz2"),
        "binary.mrc:open_mrc",
        library="mrcfile",
        extra="formats",
    ),
    Format(
        "nifti",
        (*_packed(".nii .hdr .img .mgh", ".gz"), ".mgz"),
        "binary.nifti:open_nifti",
        library="nibabel",
        extra="formats",
    ),
    Format(
        "afni",
        (".head", ".brik", ".brik.gz", ".brik.bz2"),
        "binary.afni:open_afni",
        library="nibabel",
        extra="formats",
    ),
    Format("minc", (".mnc",), "hdf5.minc:open_minc", library="nibabel", extra="formats"),
    Format("nrrd", (".nrrd", ".nhdr"), "binary.nrrd:open_nrrd", library="pynrrd", extra="formats"),
    Format("metaimage", (".mhd", ".mha"), "binary.metaimage:open_metaimage"),
    Format(
        "fits",
        _packed(".fits .fit .fts", ".gz", ".fz"),
        "binary.fits:open_fits",
        library="astropy",
        extra="formats",
    ),
    Format(
        "hdf5",
        (".h5", ".hdf5", ".hdf", ".he5", ".ims", ".nxs", ".emd"),
        "hdf5.open:open_hdf5",
        library="h5py",
        extra="formats",
    ),
    Format(
        "tiff",
        (*TIFF_SUFFIXES, ".companion.ome"),
        "folder.open_tiff:open_tiff",
        "folder.open_tiff:takes_listed_tiff",
        looks_at_lists=True,
    ),
    Format(
        "bioio",
        _packed(".czi .lif .nd2 .oib .oif .oir .vsi .dv .r3d .zvi .sldy .vms"),
        "external:open_bioio",
        library="bioio",
        extra="bioio",
    ),
    Format(
        "rosettasciio",
        _packed(
            ".dm3 .dm4 .ser .emi .blo .mib .tvips .hspy .bcf .prz .seq .rpl .spd .lsd .app5 .mrcz "
            ".sur .pro .unf .elid .asw .pts .de5 .wdf .tvf"
        ),
        "external:open_rosettasciio",
        library="rosettasciio",
        extra="rosettasciio",
    ),
    Format("raw", (".raw", ".bin", ".dat", ".vol"), "binary.raw:open_raw"),
    Format("stack", (), "file_stack:open_stack", takes_all=_takes_stack),
    # Pictures alone, in folders and by patterns; the table of their codecs is in image_files.
    Format("pictures", (), "folder.open_folder:open_pictures", takes_all=_takes_pictures),
)

SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes if row.takes_all is None)
"""All suffixes of binaries, in lower case."""


def supported_formats() -> dict[str, dict[str, Any]]:
    """Return which formats can be read here: pictures, Zarr stores (OME-Zarr too) and binaries.

    Returns
    -------
    dict
        By format: ``suffixes`` (list), ``readable`` (bool), ``library`` (str, empty where none is
        needed), ``extra`` (str or None: the extra of this package that brings it), ``reason`` (str
        or None: why it is not readable, and how to change that). Ready for JSON. Folders of
        pictures and Zarr stores without a suffix open too.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> nl.supported_formats()["npy"]["suffixes"]
    ['.npy', '.npz']
    """
    found = picture_formats()
    for row in FORMATS:
        suffixes = {suffix.rstrip("/") for suffix in row.suffixes}
        if row.name in found:  # TIFF: as pictures, and in place by tiles
            found[row.name]["suffixes"] = sorted(suffixes.union(found[row.name]["suffixes"]))
        elif suffixes:
            found[row.name] = _availability(sorted(suffixes), row.library, row.extra)
    addresses = found["zarr"]["suffixes"]
    found["zarr at addresses"] = _availability(addresses, "obstore", "remote")
    return found


_MODULES = {"pynrrd": "nrrd", "rosettasciio": "rsciio"}
"""Libraries that are imported by another name."""


def _availability(suffixes: Sequence[str], library: str, extra: str | None) -> dict[str, Any]:
    readable = not library or _is_installed(_MODULES.get(library, library))
    reason = None
    if not readable:
        package = f"'napari-lazyload[{extra}]'" if extra else library
        reason = f"{library} is not installed: pip install {package}"
    return {
        "suffixes": list(suffixes),
        "readable": readable,
        "library": library,
        "extra": extra,
        "reason": reason,
    }


def _is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return sys.modules.get(module) is not None or find_spec(module) is not None
    except (ImportError, ValueError):  # None in sys.modules, as who hides a package puts it there
        return False
