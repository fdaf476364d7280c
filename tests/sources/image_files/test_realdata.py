"""Files of other software: each is what its reference library says, or a clear error."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sources.image_files.decode import decode, read_info

KINDS = {
    *(
        "png",
        "jpg",
        "bmp",
        "gif",
        "webp",
        "tif",
        "tiff",
        "bigtiff",
        "ome-tiff",
        "imagej-tiff",
        "geotiff",
        "tiff-fuzz",
    ),
}
SIBLING = Path(__file__).resolve().parents[4] / "shared" / "realdata"
CATALOGUE = Path(os.environ.get("NAPARI_LAZYLOAD_REALDATA", SIBLING)) / "catalogue.json"


def cases():
    entries = json.loads(CATALOGUE.read_text(encoding="utf-8")) if CATALOGUE.is_file() else []
    return [pytest.param(entry, id=entry["path"]) for entry in entries if entry["kind"] in KINDS]


def sha256(array):
    return hashlib.sha256(
        array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    ).hexdigest()


def read_all(path):
    """Return the info and the whole file as one array, page by page."""
    info = read_info(path)
    pages = [decode(path, page, expect=info) for page in range(info.pages)]
    return info, np.stack(pages).reshape(info.shape) if info.page_ndim else pages[0]


def sums_of(entry):
    """The hashes that the catalogue calls right; the expanded, upright and deep image first."""
    ref = entry["ref"]
    named = [ref[key] for key in ("transposed_sha256", "rgb_sha256") if key in ref]
    if entry["dtype"] == "|u1" and ref.get("imagecodecs_dtype") == "<u2":
        named.append(ref["imagecodecs_sha256"])
    return named or [entry["sha256"]]


def shown_by_pillow(path):
    """The first frame as Pillow shows it: upright and with its palette expanded."""
    with warnings.catch_warnings(), Image.open(io.BytesIO(Path(path).read_bytes())) as image:
        warnings.simplefilter(
            "ignore"
        )  # Pillow's of a broken EXIF block; this package's own would be errors
        upright = ImageOps.exif_transpose(image)
        return np.array(upright.convert("RGB") if upright.mode in ("P", "CMYK") else upright)


def is_reference(entry, path, info, array):
    """Tell whether an array is what the catalogue describes."""
    if info.format == "tiff" or not entry.get("lossy"):
        first = array[0] if info.format in ("gif", "webp") and info.page_ndim else array
        # Pillow hands out single bits as bytes of 0 and 255, with which the catalogue counts
        values = (
            first.astype(np.uint8) * 255 if first.dtype == bool and info.format != "tiff" else first
        )
        # a colour key is dropped; a palette with a transparent colour keeps the colours of the
        # reference
        shown = [values, values[..., :3]] if info.rgb else [values]
        if info.format == "gif" and info.rgb and (values == values[..., :1]).all():
            shown.append(
                values[..., 0]
            )  # an animation in grey is colour here, as its other frames may be
        if info.format == "tiff" and values.ndim > 2:  # samples where the file has them
            shown += [np.moveaxis(values, -1, -3), np.moveaxis(values, -3, -1)]
        return any(sha256(np.ascontiguousarray(each)) in sums_of(entry) for each in shown)
    wanted = shown_by_pillow(path)
    return array.shape == wanted.shape and int(np.abs(array.astype(int) - wanted).max()) <= 2


def _skip_where_tifffile_fails(path):
    """Older versions of tifffile and imagecodecs lack some compressions."""
    try:
        tifffile.imread(path)
    except ValueError as error:
        if "not supported" in str(error):
            pytest.skip(str(error))


@pytest.mark.parametrize("entry", cases())
def test_real_file(realdata, entry):
    path = str(realdata / entry["path"])
    if entry["expect"] == "error":
        with pytest.raises(ChunkReadError, match=r"cannot read .* expected .* found"):
            read_all(path)
        return
    try:
        info, array = read_all(path)
    except ChunkReadError:
        if entry["expect"] == "open":
            _skip_where_tifffile_fails(path)
            raise
        return
    if entry.get("level0_shape"):
        assert is_reference(entry, path, info, array)
    assert (array.shape, array.dtype) == (info.shape, info.dtype)
    assert len(set(info.axes)) == len(info.axes) == array.ndim
    assert array.dtype.isnative


@pytest.mark.parametrize("entry", [case for case in cases() if case.values[0]["expect"] == "open"])
def test_a_real_file_cut_in_two(realdata, tmp_path, entry):
    content = (realdata / entry["path"]).read_bytes()
    path = tmp_path / Path(entry["path"]).name
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ChunkReadError):
        read_all(str(path))
