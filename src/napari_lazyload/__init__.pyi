from .arrays.image import Image
from .core.errors import (
    CancelledError,
    ChunkReadError,
    ExportError,
    LazyLoadError,
    LazyLoadWarning,
    MissingDependencyError,
    RegionError,
    SourceOpenError,
    UnknownFormatError,
)
from .core.lazy_imports import import_status
from .core.region import Estimate
from .cropping.crop import crop, estimate
from .dataset.dataset import Dataset
from .dataset.memmap import open_memmap
from .dataset.opening import open_dataset
from .dataset.runtime import configure, status
from .exporting.export import export
from .layers.wait import wait
from .sequences.lazy_image import LazyImage
from .sequences.lazy_values import compute, is_lazy
from .sequences.reading import read_images
from .sequences.sequence import ImageSequence
from .sources.formats import supported_formats

__all__ = [
    "CancelledError",
    "ChunkReadError",
    "Dataset",
    "Estimate",
    "ExportError",
    "Image",
    "ImageSequence",
    "LazyImage",
    "LazyLoadError",
    "LazyLoadWarning",
    "MissingDependencyError",
    "RegionError",
    "SourceOpenError",
    "UnknownFormatError",
    "compute",
    "configure",
    "crop",
    "estimate",
    "export",
    "import_status",
    "is_lazy",
    "open_dataset",
    "open_memmap",
    "read_images",
    "status",
    "supported_formats",
    "wait",
]
