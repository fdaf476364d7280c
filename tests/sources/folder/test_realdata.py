"""Real folders and image files, opened as a user does: bit by bit what the reference says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

import napari_lazyload as nl

SIBLING = Path(__file__).resolve().parents[4] / "shared" / "realdata"
ROOT = Path(os.environ.get("NAPARI_LAZYLOAD_REALDATA", SIBLING))
FOLDERS = {"folder", "mm-folder"}
PICTURES = {
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


def entries(*expect, kinds):
    catalogue = ROOT / "catalogue.json"
    known = json.loads(catalogue.read_text(encoding="utf-8")) if catalogue.is_file() else []
    return [
        entry
        for entry in known
        if entry["expect"] in expect and (kinds is None or entry["kind"] in kinds)
    ]


def cases(*expect, kinds=None):
    return [pytest.param(entry, id=entry["path"]) for entry in entries(*expect, kinds=kinds)]


def sha256(array):
    array = np.ascontiguousarray(array)
    return hashlib.sha256(
        array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    ).hexdigest()


def quietly(path, **options):
    """Open without the notes on what is not shown; they are other tests' business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nl.LazyLoadWarning)
        return nl.open_dataset(path, **options)


def read_all(path):
    with quietly(path) as dataset:
        return [np.asarray(image.data) for image in dataset.images]


def by_pillow(path):
    """What Pillow shows: upright, palettes expanded."""
    with warnings.catch_warnings(), Image.open(io.BytesIO(path.read_bytes())) as image:
        warnings.simplefilter("ignore")
        upright = ImageOps.exif_transpose(image)
        return np.array(upright.convert("RGB") if upright.mode in ("P", "CMYK") else upright)


def check_picture(entry, path, pixels):
    """Compare with the catalogue, by its conventions (README.md of the real files)."""
    if entry["lossy"] and path.suffix.lower() not in (".tif", ".tiff"):
        assert np.abs(pixels.astype(int) - by_pillow(path)).max() <= 2
        return
    ref = entry["ref"]
    names = ("transposed_sha256", "rgb_sha256", "imagecodecs_sha256")
    expected = {entry["sha256"], *(ref[name] for name in names if name in ref)}
    shown = [
        pixels,
        pixels[..., :3],
        pixels[0],
    ]  # a transparent palette colour gives alpha; an animation, more frames
    if (pixels[..., :1] == pixels).all():
        shown.append(
            pixels[0, ..., 0]
        )  # an animation in grey is colour here, as its other frames may be
    if pixels.ndim > 2:  # samples as they are stored: planes of colors, or beside each other
        shown += [np.moveaxis(pixels, -1, -3), np.moveaxis(pixels, -3, -1)]
    if pixels.dtype == bool:
        shown.append(pixels.astype("u1") * 255)  # as Pillow hands out single bits
    assert expected & {sha256(np.ascontiguousarray(one)) for one in shown}


@pytest.mark.parametrize("entry", cases("open", kinds=FOLDERS))
def test_a_folder_is_its_reference(realdata, entry):
    with quietly(realdata / entry["path"]) as dataset:
        (image,) = dataset.images
        meta = dataset.meta
        assert np.prod(image.shape) == np.prod(entry["level0_shape"])
        assert image.dtype == np.dtype(entry["dtype"]).newbyteorder("=")
        frames = entry["ref"]["frames"]
        assert meta["original_filename"].tolist() == [name for name, *_ in frames]
        pixels = np.asarray(image.data)
        assert sha256(pixels) == entry["sha256"] == sha256(image.data.compute())
        assert int(pixels.sum(dtype=np.int64)) == entry["reference_sum"]
        for row, (name, shape, _, digest) in enumerate(frames):
            number, index = dataset.locate(row)
            assert (number, dataset.row_of(0, index)) == (0, row)
            frame = np.asarray(image.data[index])
            assert (name, list(frame.shape), sha256(frame)) == (name, shape, digest)


@pytest.mark.parametrize("entry", cases("open", kinds=PICTURES))
def test_a_picture_is_its_reference(realdata, entry):
    path = realdata / entry["path"]
    if "CCITT" in entry["notes"] and not hasattr(imagecodecs, "CCITTFAX4"):
        pytest.skip("this imagecodecs has no CCITT codec; the lowest supported one does not")
    with quietly(path) as dataset:
        image = dataset.images[0]
        series = re.search(r"(\d+) series", entry["notes"])
        assert len(dataset.images) == (int(series[1]) if series else 1)
        assert dataset.kind == "picture"
        check_picture(entry, path, np.asarray(image.data))
        assert image.data.shape == image.shape
        assert image.data.dtype == image.dtype


@pytest.mark.parametrize("entry", cases("error", kinds=None))
def test_what_is_broken_or_unknown_is_refused_clearly(realdata, entry):
    with pytest.raises(
        (nl.SourceOpenError, nl.ChunkReadError),
        match=r"expected .* found|no reader here|not read here",
    ) as info:
        read_all(realdata / entry["path"])
    assert isinstance(info.value, OSError)
    assert info.value.path.startswith(str(realdata / entry["path"]))


@pytest.mark.parametrize("entry", cases("either", kinds=FOLDERS | PICTURES))
def test_what_may_open_opens_right_or_not_at_all(realdata, entry):
    path = realdata / entry["path"]
    try:
        arrays = read_all(path)
    except (nl.SourceOpenError, nl.ChunkReadError):
        return
    if entry["kind"] in PICTURES and entry["sha256"]:
        check_picture(entry, path, arrays[0])


def test_photographs_are_upright_in_one_stack(realdata):
    (entry,) = (one for one in entries("either", kinds=FOLDERS) if "Portrait" in one["path"])
    folder = realdata / entry["path"]
    with nl.open_dataset(folder) as dataset:
        (image,) = dataset.images
        assert (image.axes, image.shape, dataset.notes) == (
            ("frame", "y", "x", "s"),
            (3, 1800, 1200, 3),
            (),
        )
        pixels = np.asarray(image.data)
        for frame, name in zip(pixels, dataset.meta["original_filename"], strict=True):
            assert np.abs(frame.astype(int) - by_pillow(folder / name)).max() <= 2


def test_empty_files_are_left_out_and_named(realdata):
    (entry,) = (one for one in entries("either", kinds=FOLDERS) if "test_stack" in one["path"])
    with nl.open_dataset(realdata / entry["path"]) as dataset:
        assert dataset.images[0].shape == tuple(entry["level0_shape"])
        assert sha256(np.asarray(dataset.images[0].data)) == entry["sha256"]
        empty = [name for name, _ in entry["ref"]["unreadable"]]
        assert dataset.left_out["original_filename"].tolist() == empty
        assert set(dataset.left_out["reason"]) == {"empty file"}
        assert dataset.summary == "1 file, 19 x empty file left out"


# --- all pictures put together
# ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """One folder with every single-page file of the catalogue; what each shows alone, by name."""
    if not ROOT.is_dir():
        pytest.skip(f"no real files at {ROOT}")
    folder = tmp_path_factory.mktemp("together")
    alone = {}
    for number, entry in enumerate(entries("open", kinds=PICTURES)):
        path = ROOT / entry["path"]
        with quietly(path) as dataset:
            image = dataset.images[0]
            if image.shape[-2:] == (4677, 3307):
                continue  # 46 MB of scanned text add nothing here
            name = f"{number}{path.suffix}"
            shutil.copy(path, folder / name)
            alone[name] = image.axes, np.asarray(image.data)
    return folder, alone


def frames_of(dataset):
    """Yield the name of each row, its image, and its pixels."""
    meta = dataset.meta
    for row, name in enumerate(meta["original_filename"]):
        number, index = dataset.locate(row)
        yield name, number, np.asarray(dataset.images[number].data[index])


def test_in_groups_each_is_as_it_is_alone(together):
    folder, alone = together
    with quietly(folder, headers="all") as dataset:
        assert len(dataset.images) == len(
            {(axes, pixels.shape, pixels.dtype) for axes, pixels in alone.values()}
        )
        assert len({image.name for image in dataset.images}) == len(dataset.images)
        seen = set()
        for name, number, frame in frames_of(dataset):
            axes, pixels = alone[name]
            image = dataset.images[number]
            assert (image.axes[1:], frame.dtype) == (axes, pixels.dtype)
            np.testing.assert_array_equal(frame, pixels)
            seen.add(name)
        assert seen == set(alone)
        assert dataset.problems() == {}


def test_filled_up_each_is_as_it_is_alone_where_it_is(together):
    folder, alone = together
    with quietly(folder, headers="all", mixed="pad") as dataset:
        assert len(dataset.images) <= 64
        covered = {}
        for number, image in enumerate(dataset.images):
            if image.kind == "labels":
                covered[number - 1] = np.asarray(image.data)
        for name, number, frame in frames_of(dataset):
            axes, pixels = alone[name]
            inside = tuple(slice(0, size) for size in pixels.shape[: len(axes) - (axes[-1] == "s")])
            colors = frame[inside]
            if dataset.images[number].rgb and axes[-1] != "s":
                pixels = np.stack([pixels] * 3, axis=-1)
            shown = colors[..., : pixels.shape[-1]] if dataset.images[number].rgb else colors
            np.testing.assert_array_equal(shown, pixels)
            assert np.can_cast(pixels.dtype, frame.dtype)
            if number in covered:
                row = next(
                    row
                    for row, other in enumerate(dataset.meta["original_filename"])
                    if other == name
                )
                mask = np.zeros(frame.shape[: frame.ndim - dataset.images[number].rgb], "u1")
                mask[inside] = 1
                np.testing.assert_array_equal(covered[number][dataset.locate(row)[1]], mask)
                assert not frame[mask == 0].any()
            elif frame.dtype.kind == "f" and frame.shape != pixels.shape:
                outside = np.ones(frame.shape, bool)
                outside[inside] = False
                assert np.isnan(frame[outside]).all()


def test_real_folders_put_together_are_an_axis_or_a_stack(realdata, tmp_path):
    source = realdata / "given" / "folder" / "mobie-viewer-fiji" / "mri-stack"
    files = sorted(source.iterdir())
    for place in range(3):
        target = tmp_path / "even" / f"t{place * 5}"
        target.mkdir(parents=True)
        for path in files[place * 4 : place * 4 + 4]:
            shutil.copy(path, target)
    with nl.open_dataset(source) as whole, nl.open_dataset(tmp_path / "even") as tree:
        assert tree.images[0].shape == (3, 4, 226, 186)
        assert tree.meta["original_filename"][4].startswith("t5/")
        np.testing.assert_array_equal(
            np.asarray(tree.images[0].data).reshape(12, 226, 186), np.asarray(whole.images[0].data)
        )
    (tmp_path / "even" / "t10" / files[11].name).unlink()
    with nl.open_dataset(tmp_path / "even") as tree:
        assert tree.images[0].shape == (11, 226, 186)
