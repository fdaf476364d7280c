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
from .core.region import Estimate
from .cropping import crop, estimate
from .dataset import Dataset, open_dataset
from .exporting import export
from .image import Image
from .imports import import_status
from .layers.wait import wait
from .memmap import open_memmap
from .process import compute, configure, is_lazy, status
from .sequence import ImageSequence
from .sequence_images import LazyImage
from .sequence_open import read_images
from .sources.supported import supported_formats

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
