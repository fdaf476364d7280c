"""Single image files: which formats there are, what a header says, and the pixels of one page.

`read_info` answers from the header, `decode` gives one page as an array. The contents decide the
format (their first bytes); the suffix only tells which files are worth a look. Whatever a broken
file does comes out as one `ChunkReadError` that says what was expected, what was found and what to
do; nothing is ever decoded in part.

All functions may be called from any thread. Files are opened, read and closed at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from napari_lazyload.core.errors import LazyLoadError, MissingDependencyError
from napari_lazyload.sources.files import read_error
from napari_lazyload.sources.image_files import avif, bmp, gif, jp2, jpeg, jxl, png, webp
from napari_lazyload.sources.image_files.signatures import describe_contents
from napari_lazyload.sources.image_header import (
    FileHead,
    PageLocation,
    ParsedHeader,
    PictureError,
    PictureInfo,
    check_plausible,
)
from napari_lazyload.sources.tiff import description, ifd, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_lazyload.sources.tiff.layout import TiffLayout

__all__ = [
    "PICTURE_SUFFIXES",
    "PictureInfo",
    "decode",
    "images_of",
    "is_picture",
    "parse_header",
    "picture_formats",
    "read_info",
    "read_series",
]


@dataclass(frozen=True, slots=True)
class _Format:
    """One row of the table of formats.

    Parameters
    ----------
    title : str
        Name in messages.
    suffixes : tuple of str
        Lower-case suffixes of its files.
    codec : str
        Class of imagecodecs that tells whether the decoder was built in.
    library : str
        What decodes it.
    read_header : callable
        Parses the beginning of a file.
    decode : callable or None
        Turns all bytes of a file into one page; None for TIFF, which reads parts of files.
    """

    title: str
    suffixes: tuple[str, ...]
    codec: str
    library: str
    read_header: Callable[[FileHead], ParsedHeader]
    decode: Callable[[bytes, ParsedHeader, int], npt.NDArray[Any]] | None


def _row(title: str, suffixes: str, codec: str, library: str, module: Any) -> _Format:
    return _Format(
        title,
        tuple(suffixes.split()),
        codec,
        library,
        module.read_header,
        getattr(module, "decode", None),
    )


_FORMATS = {
    "png": _row("PNG", ".png .apng", "PNG", "imagecodecs", png),
    "jpeg": _row("JPEG", ".jpg .jpeg .jpe .jfif .jif", "JPEG8", "imagecodecs", jpeg),
    "tiff": _row("TIFF", " ".join(pages.SUFFIXES), "TIFF", "tifffile", description),
    "bmp": _row("BMP", ".bmp .dib", "BMP", "imagecodecs, Pillow", bmp),
    "gif": _row("GIF", ".gif", "GIF", "imagecodecs, Pillow", gif),
    "webp": _row("WebP", ".webp", "WEBP", "imagecodecs", webp),
    "jpeg2000": _row(
        "JPEG 2000", ".jp2 .j2k .jpx .jpf .j2c .jpc .jph .jhc", "JPEG2K", "imagecodecs", jp2
    ),
    "jpegxl": _row("JPEG XL", ".jxl", "JPEGXL", "imagecodecs", jxl),
    "avif": _row("AVIF", ".avif .avifs", "AVIF", "imagecodecs", avif),
}

#: First bytes by format, the most frequent first; WebP and AVIF begin with their size.
_SIGNATURES = (
    (png.SIGNATURE, "png"),
    (jpeg.SIGNATURE, "jpeg"),
    (ifd.SIGNATURES, "tiff"),
    (gif.SIGNATURES, "gif"),
    (bmp.SIGNATURE, "bmp"),
    ((jp2.BOX_SIGNATURE, jp2.STREAM_SIGNATURE), "jpeg2000"),
    ((jxl.BOX_SIGNATURE, jxl.STREAM_SIGNATURE), "jpegxl"),
)

#: Suffixes of the files that are worth a look, in lower case and with their dot.
PICTURE_SUFFIXES: frozenset[str] = frozenset(
    suffix for row in _FORMATS.values() for suffix in row.suffixes
)


def is_picture(name: str) -> bool:
    """Whether a file's name ends like an image file's, in any case.

    Parameters
    ----------
    name : str
        Name or path of a file; it need not exist.
    """
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def read_info(path: str, head: bytes | None = None) -> PictureInfo:
    """Describe an image file from its header; no pixel is decoded.

    Parameters
    ----------
    path : str
        The file.
    head : bytes, optional
        Its first bytes (a few KiB), where they have been read already.

    Returns
    -------
    PictureInfo
        Shape, data type and axes of what `decode` gives.

    Raises
    ------
    ChunkReadError
        The file cannot be read, is no image, is damaged, or declares more pixels than it can
        hold.
    """
    return parse_header(path, head).info


def parse_header(path: str, head: bytes | None = None) -> ParsedHeader:
    """Read the header of an image file: what `read_info` gives, and what its format keeps of it.

    Parameters, errors: as of `read_info`.
    """
    try:
        with FileHead(path, head) as source:
            return _read_header(source)
    except Exception as error:  # noqa: BLE001  whatever a parser trips over is a damaged file
        _fail(path, error)


def read_series(path: str) -> tuple[PictureInfo, ...]:
    """Describe every image of an image file; all but TIFF hold one.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    tuple of PictureInfo
        The first one is what `read_info` gives.

    Raises
    ------
    ChunkReadError
        As of `read_info`.
    """
    return images_of(parse_header(path))


def images_of(header: ParsedHeader) -> tuple[PictureInfo, ...]:
    """Return every image that a header describes."""
    if header.info.format != "tiff":
        return (header.info,)
    return tuple(layout.info for layout in header.detail.images)


def decode(
    path: str,
    page: int = 0,
    *,
    series: int = 0,
    expect: PictureInfo | None = None,
    place: PageLocation | None = None,
) -> npt.NDArray[Any]:
    """Decode one page of an image file.

    Parameters
    ----------
    path : str
        The file.
    page : int
        Which page, counted in the order of ``info.shape[:info.page_ndim]``.
    series : int, optional
        Of which image of the file, counted as `read_series` does.
    expect : PictureInfo, optional
        What the file was when it was listed; a page of another shape or data type is an error.
    place : PageLocation, optional
        Where the page was; it tells which image is meant, as `series` does not where files of a set
        come and go.

    Returns
    -------
    ndarray
        C-contiguous, writable, in native byte order, of shape ``info.shape[info.page_ndim:]``; the
        caller's own.

    Raises
    ------
    ChunkReadError
        The file cannot be read, is truncated or damaged, has no such page, or is not what was
        expected.
    MissingDependencyError
        The installed imagecodecs was built without this format.
    """
    try:
        info, array = _decode(path, page, series, place)
    except Exception as error:  # noqa: BLE001  whatever a decoder raises is a damaged file
        _fail(path, error)
    hint = "export it again: it is damaged"
    if expect is not None:
        info = expect
        hint = "reopen the folder: the file was replaced"
    if (array.shape, array.dtype) != (info.page_shape, info.dtype):
        expected = f"shape {info.page_shape} and type {info.dtype}"
        found = f"an image of shape {array.shape} and type {array.dtype}"
        raise read_error(path, expected, found, hint)
    return array


def picture_formats() -> dict[str, dict[str, Any]]:
    """Return the image formats, and which of them can be read here.

    Returns
    -------
    dict
        By format: ``suffixes`` (list), ``readable`` (bool), ``library`` (str), ``extra`` (str or
        None: the extra of this package to install), ``reason`` (str or None: why it is not
        readable). Ready for JSON.
    """
    result: dict[str, dict[str, Any]] = {}
    for name, row in _FORMATS.items():
        reason = _why_missing(row)
        result[name] = {
            "suffixes": list(row.suffixes),
            "readable": reason is None,
            "library": row.library,
            "extra": None,
            "reason": reason,
        }
    return result


def _why_missing(row: _Format) -> str | None:
    """Return why a format cannot be decoded, or None where it can."""
    try:
        import imagecodecs
    except ImportError as error:
        return f"imagecodecs cannot be imported: {error}"
    codec = getattr(imagecodecs, row.codec, None)
    if codec is not None and codec.available:
        return None
    return f"the installed imagecodecs {imagecodecs.__version__} was built without {row.codec}"


def _decode(
    path: str, page: int, series: int, place: PageLocation | None
) -> tuple[PictureInfo, npt.NDArray[Any]]:
    """Read, check and decode one page."""
    with FileHead(path) as source:
        kind = _sniff(source)
        if kind != "tiff":
            source.all()
        header = _read_header(source, kind)
        layout = _layout(header.detail.images, series, page, place) if kind == "tiff" else None
        info = layout.info if layout is not None else header.info
        if not 0 <= page < info.pages:
            raise PictureError(
                f"{info.pages} pages", f"a page {page}", "reopen the folder: the file was replaced"
            )
        decoder = _FORMATS[kind].decode
        if decoder is not None:
            return info, decoder(source.data, header, page)
    assert layout is not None
    return info, pages.decode_page(path, layout, page)


def _layout(
    layouts: Sequence[TiffLayout], series: int, page: int, place: PageLocation | None
) -> TiffLayout:
    """Return the image of a TIFF file that has a page at some place; else the one of that number.

    The first image is one that the file itself holds, whatever is beside it: a plane that it misses
    may come later.
    """
    if place is not None and (series or place.offset):
        for layout in layouts:
            if layout.info.places is not None and layout.info.places.of(page) == place:
                return layout
        expected = f"plane {page} of this image where it was ({place.path or 'in this file'})"
        raise PictureError(
            "none there",
            expected,
            "open it again: files of its set were added, removed or replaced",
        )
    if series >= len(layouts):
        expected = f"an image number {series}"
        raise PictureError(
            f"{len(layouts)} images", expected, "open the file again: it was replaced"
        )
    return layouts[series]


def _read_header(source: FileHead, kind: str = "") -> ParsedHeader:
    """Parse the header, and refuse what the file is too small for."""
    header = _FORMATS[kind or _sniff(source)].read_header(source)
    check_plausible(header, source)
    return header


def _sniff(source: FileHead) -> str:
    """Return the format that the first bytes belong to."""
    data = source.data
    for signatures, kind in _SIGNATURES:
        if data.startswith(signatures):
            return kind
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and avif.is_avif(data):
        return "avif"
    if bmp.is_bare(data):
        return "bmp"
    titles = ", ".join(row.title for row in _FORMATS.values())
    raise PictureError(describe_contents(data), f"an image file ({titles})")


def _fail(path: str, error: Exception) -> NoReturn:
    """Raise the package's own error for anything that went wrong with a file."""
    if isinstance(error, LazyLoadError):
        raise error
    if isinstance(error, ImportError):
        advice = "install a complete build with: pip install --upgrade imagecodecs"
        msg = f"cannot read {path!r}: {error}; {advice}"
        raise MissingDependencyError(msg) from error
    raise read_error(path, *_explain(error, path)) from error


#: What was expected, what was found, and what to do, by the kind of error.
_KNOWN_ERRORS = (
    (
        PermissionError,
        "an image file",
        "one that may not be read",
        "allow reading it (permissions of file and folder)",
    ),
    (IsADirectoryError, "an image file", "a folder", "open the folder itself"),
    (
        MemoryError,
        "an image that fits into memory",
        "one that does not",
        "close other programs, or convert it to OME-Zarr",
    ),
)


def _explain(error: Exception, path: str) -> tuple[str, str, str]:
    """Return what was expected, what was found, and what to do."""
    again = "copy or export the file again"
    if isinstance(error, PictureError):
        return error.expected or "an image", error.found, error.hint or again
    if isinstance(error, FileNotFoundError):
        if os.path.exists(path):
            found = f"no {error.filename or 'file of that name'}"
            return "all files of a set", found, "put it back"
        found = "nothing (moved, renamed or deleted)"
        return "an image file", found, "put it back, or reopen the folder"
    for kind, expected, found, hint in _KNOWN_ERRORS:
        if isinstance(error, kind):
            return expected, found, hint
    if isinstance(error, OSError) and error.errno is not None:
        found = f"an error of the system: {error.strerror}"
        return "a file that can be read", found, "check the disk or the network"
    text = " ".join(str(error).split())[:200]
    if "not supported" in text or isinstance(error, NotImplementedError):
        hint = "convert it, or try newer versions of imagecodecs and tifffile"
        return "a kind of image that can be decoded here", f"another one ({text})", hint
    found = f"data that cannot be decoded ({type(error).__name__}: {text})"
    return "an undamaged image", found, again
