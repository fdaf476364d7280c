"""Broken image files: one clear error whatever is wrong, never a part of an image."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sources.image_files.decode import decode, read_info

RNG = np.random.default_rng(4)
COLOR = np.stack([np.add.outer(np.arange(0, 60, 2), np.arange(0, 80, 2))] * 3, -1).astype(np.uint8)
COLOR = COLOR + RNG.integers(0, 9, COLOR.shape, dtype=np.uint8)
GRAY = COLOR[..., 0].copy()
DEEP = GRAY.astype(np.uint16) * 211
ALPHA = np.dstack([COLOR, GRAY])
STACK = np.stack([DEEP, DEEP + 1, DEEP + 2])


def saved(array, kind, **options):
    stream = io.BytesIO()
    image = Image.fromarray(array) if isinstance(array, np.ndarray) else array
    image.save(stream, kind, **options)
    return stream.getvalue()


def tiff(array, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def turned():
    block = Image.Exif()
    block[0x0112] = 6
    return block


PALETTE = Image.fromarray(COLOR).quantize(60)
FILES = {
    "png": saved(COLOR, "png"),
    "png 16": imagecodecs.png_encode(DEEP),
    "png palette": saved(PALETTE, "png", transparency=3),
    "png 1 bit": saved(GRAY > 60, "png"),
    "png turned": saved(COLOR, "png", exif=turned()),
    "apng": saved(
        COLOR, "png", save_all=True, append_images=[Image.fromarray(ALPHA[::-1, :, :3].copy())]
    ),
    "jpeg": saved(COLOR, "jpeg"),
    "jpeg progressive": saved(COLOR, "jpeg", progressive=True),
    "jpeg turned": saved(COLOR, "jpeg", exif=turned()),
    "jpeg cmyk": saved(Image.fromarray(COLOR).convert("CMYK"), "jpeg"),
    "bmp": saved(COLOR, "bmp"),
    "bmp palette": saved(PALETTE, "bmp"),
    "bmp without a file header": saved(PALETTE, "dib"),
    "bmp bits": saved(GRAY > 60, "bmp"),
    "gif": saved(PALETTE, "gif"),
    "gif moving": saved(PALETTE, "gif", save_all=True, append_images=[PALETTE.rotate(180)]),
    "webp": saved(COLOR, "webp"),
    "webp lossless": saved(ALPHA, "webp", lossless=True),
    "webp moving": saved(
        COLOR, "webp", save_all=True, append_images=[Image.fromarray(ALPHA[::-1].copy())]
    ),
    "jp2": imagecodecs.jpeg2k_encode(COLOR, level=0),
    "j2k": imagecodecs.jpeg2k_encode(DEEP, level=0, codecformat="j2k"),
    "jxl": imagecodecs.jpegxl_encode(COLOR, lossless=True),
    "jxl in boxes": imagecodecs.jpegxl_encode(ALPHA, usecontainer=True),
    "avif": imagecodecs.avif_encode(COLOR, level=90),
    "avif alpha": imagecodecs.avif_encode(ALPHA, level=90),
    "tiff": tiff(DEEP),
    "tiff deflate": tiff(DEEP, compression="zlib", rowsperstrip=7),
    "tiff tiles": tiff(COLOR, tile=(16, 16), compression="lzw", photometric="rgb"),
    "tiff of Pillow": saved(COLOR, "tiff", compression="tiff_lzw"),
    "bigtiff": tiff(DEEP, bigtiff=True, byteorder=">"),
    "tiff stack": tiff(STACK, photometric="minisblack"),
    "tiff stack deflate": tiff(STACK, photometric="minisblack", compression="zlib"),
    "tiff imagej": tiff(STACK, imagej=True),
    "tiff ome": tiff(STACK, photometric="minisblack", ome=True, compression="zlib"),
}


def read_all(path):
    """Decode all pages as a user would, and make sure that each is what the header says."""
    info = read_info(path)
    pages = [decode(path, page, expect=info) for page in range(min(info.pages, 8))]
    for page in pages:
        assert (page.shape, page.dtype) == (info.page_shape, info.dtype)
    return info, pages


def read_or_refuse(path):
    """Decode all pages, or return None after one clear error."""
    try:
        return read_all(str(path))
    except ChunkReadError as error:
        problem = error
    assert problem.path == str(path)
    assert all(word in str(problem) for word in ("cannot read", "expected", "found", str(path)))
    return None


WHOLE = {}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One file name for all examples: what is cached for it must not outlive it."""
    return tmp_path_factory.mktemp("broken") / "picture.png"


def whole(name, path):
    if name not in WHOLE:
        path.write_bytes(FILES[name])
        WHOLE[name] = read_all(str(path))
    return WHOLE[name]


def check_cut(name, path, length):
    info, pages = whole(name, path)
    path.write_bytes(FILES[name][:length])
    result = read_or_refuse(path)
    if result is None:
        return
    found, decoded = result
    # tifffile ends some files with bytes that nothing refers to, and BMP with a filled row:
    # complete without them
    assert name.startswith(("tiff", "bmp")), (
        f"{length} of {len(FILES[name])} bytes were taken for the whole"
    )
    assert found == info
    for one, other in zip(decoded, pages, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", FILES)
def test_whole_files_decode(name, path):
    whole(name, path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("missing", [1, 2, 3, 4, 8, 11, 12, 13, 16, 20])
def test_a_file_without_its_last_bytes_is_an_error(name, path, missing):
    check_cut(name, path, len(FILES[name]) - missing)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncated_file_is_an_error(path, data):
    name = data.draw(st.sampled_from(sorted(FILES)))
    check_cut(name, path, data.draw(st.integers(0, len(FILES[name]) - 1)))


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_an_error_or_a_picture_of_the_right_shape(path, data):
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[name])
    within = data.draw(st.sampled_from([64, 512, len(content)]))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(within, len(content)) - 1))
        content[position] = data.draw(st.one_of(st.sampled_from([0, 0xFF]), st.integers(0, 255)))
    path.write_bytes(content)
    read_or_refuse(path)


@settings(max_examples=200)
@given(
    beginning=st.sampled_from(
        sorted({data[:n] for data in FILES.values() for n in (2, 4, 8, 12, 30)})
    ),
    tail=st.binary(),
)
def test_noise_behind_a_signature(path, beginning, tail):
    path.write_bytes(beginning + tail)
    with pytest.raises(ChunkReadError):
        read_all(str(path))


def test_missing_pixels_are_an_error_even_where_pillow_was_told_to_make_them_up(path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in ("gif", "gif moving", "bmp", "bmp palette", "jpeg", "png"):
        path.write_bytes(FILES[name][: len(FILES[name]) * 2 // 3])
        with pytest.raises(ChunkReadError):
            read_all(str(path))


def test_run_lengths_that_end_too_early_are_an_error(path):
    rows = b"\x08\x01\0\0" * 3  # of four
    header = struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(rows), 0, 0, 0, 0) + bytes(1024)
    path.write_bytes(
        b"BM"
        + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header))
        + header
        + rows
    )
    with pytest.raises(ChunkReadError, match="not enough image data"):
        read_all(str(path))


def test_a_gif_that_only_pillow_reads_is_not_made_up_in_part(path, monkeypatch):
    palette = 13 + 3 * (2 << (FILES["gif"][10] & 7))
    path.write_bytes(FILES["gif"][:palette] + b"!\xfe\0" + FILES["gif"][palette:])
    read_all(str(path))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ChunkReadError):
        read_all(str(path))


# --- no file, no picture


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"these are just words", "text that begins with 'these are just words'"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%PDF-1.4", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\0" * 5000, "zero bytes"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\x8b\x00\xfe\x01", "bytes that no image format here begins with"),
    ],
)
def test_what_is_no_picture_is_named(path, content, words):
    path.write_bytes(content)
    for read in (read_info, decode):
        with pytest.raises(ChunkReadError, match="expected an image file") as caught:
            read(str(path))
        assert words in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    for read in (read_info, decode):
        with pytest.raises(ChunkReadError, match="moved, renamed or deleted"):
            read(str(tmp_path / "gone.png"))


def test_a_folder_with_a_suffix(tmp_path):
    with pytest.raises(ChunkReadError, match=r"a folder|may not be read"):
        read_info(str(tmp_path))


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(ChunkReadError):
        read_info(str(tmp_path / ("a" * 300 + ".png")))


def test_a_file_that_may_not_be_read(path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(13, "Permission denied")

    path.write_bytes(FILES["png"])
    monkeypatch.setattr(os, "open", refuse)
    for read in (read_info, decode):
        with pytest.raises(ChunkReadError, match="permissions"):
            read(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_does_not_wait_for_a_writer(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for read in (read_info, decode):
        with pytest.raises(ChunkReadError):
            read(str(pipe))


# --- declared sizes


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(2000)))
        + chunk(b"IEND", b"")
    )


def jpeg_of(width, height):
    data = FILES["jpeg"]
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def tiff_of(width, height):
    data = bytearray(tiff(DEEP, compression="zlib", metadata=None))
    for tag, value in ((256, width), (257, height)):
        at = next(
            i
            for i in range(0, len(data), 2)
            if data[i : i + 2] == struct.pack("<H", tag) and data[i + 2] in (3, 4)
        )
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


BOMBS = {
    "png": png_of(60000, 60000),
    "jpeg": jpeg_of(65500, 65500),
    "bmp": FILES["bmp"][:18] + struct.pack("<ii", 3_000_000, 2_000_000) + FILES["bmp"][26:],
    "gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + FILES["gif"][10:],
    "j2k": FILES["j2k"][:8] + struct.pack(">II", 1 << 30, 1 << 30) + FILES["j2k"][16:],
    "tiff": tiff_of(3_000_000, 2_000_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_absurd_sizes_are_refused_before_anything_is_allocated(path, name):
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    try:
        for read in (read_info, decode):
            with pytest.raises(ChunkReadError, match="decompression bomb"):
                read(str(path))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_large_pictures_are_no_bombs(path):
    """Two thousand million pixels in a file that can hold them: Pillow alone would refuse."""
    path.write_bytes(png_of(2**16, 2**15)[:-12])
    with path.open("r+b") as file:
        file.truncate(2**16 * 2**15 * 3 // 1000)
    assert read_info(str(path)).shape == (2**15, 2**16, 3)


def test_no_room_in_memory_is_told(path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise MemoryError

    path.write_bytes(FILES["png"])
    monkeypatch.setattr(imagecodecs, "png_decode", refuse)
    with pytest.raises(ChunkReadError, match="fits into memory"):
        decode(str(path))


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0)])
def test_no_pixels_are_an_error(path, width, height):
    path.write_bytes(png_of(width, height))
    with pytest.raises(ChunkReadError, match=r"0 pixels|0 x"):
        read_info(str(path))
