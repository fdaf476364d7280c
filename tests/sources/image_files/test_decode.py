"""Image files of Pillow, imagecodecs and by hand: what a header says, and what is decoded."""

from __future__ import annotations

import io
import json
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.sources.image_files import decode as pictures
from napari_lazyload.sources.image_files.decode import PictureInfo, decode, is_picture, read_info

RNG = np.random.default_rng(2)
COLOR = RNG.integers(0, 256, (23, 37, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(0, 92, 4), np.arange(0, 148, 4)) % 256] * 3, -1).astype(
    np.uint8
)
GRAY = COLOR[..., 0].copy()
ALPHA = np.dstack([COLOR, GRAY])
DEEP = RNG.integers(0, 2**16, (23, 37, 4), dtype=np.uint16)
DEEP_GRAY = DEEP[..., 0].copy()
EVERY_GRAY = (np.arange(23 * 37) % 256).astype(np.uint8).reshape(23, 37)
BITS = GRAY > 127
PILLOW_SUFFIXES = Image.registered_extensions()


def saved(array, kind, *, mode=None, **options):
    image = Image.fromarray(array) if isinstance(array, np.ndarray) else array
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def palette_image(colors=200):
    return Image.fromarray(COLOR).quantize(colors)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, shape, depth, color, *, before=b"", after=b"", interlaced=0):
    height, width = shape
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), before, chunk(b"IDAT", data), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def packed(values, depth):
    """Rows of samples of less than eight bits, the first one in the highest bits."""
    bits = np.unpackbits(values[..., np.newaxis], axis=2)[..., 8 - depth :].reshape(len(values), -1)
    return [row.tobytes() for row in np.packbits(bits, axis=1)]


def interlaced(array):
    """The rows of the seven passes of Adam7 (PNG specification, section 8)."""
    steps = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    stored = array.astype(array.dtype.newbyteorder(">"))
    return [row.tobytes() for x, y, dx, dy in steps for row in stored[y::dy, x::dx]]


def bmp(rows, width, height, bits, *, compression=0, palette=b"", extra=b"", colors=0):
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(rows), 0, 0, colors, 0
    )
    offset = 14 + len(header) + len(extra) + len(palette)
    return (
        b"BM"
        + struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
        + header
        + extra
        + palette
        + rows
    )


def rgba_bmp(array):
    height, width, _ = array.shape
    header = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, array.size, 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    rows = array[..., [2, 1, 0, 3]].tobytes()
    return b"BM" + struct.pack("<IHHI", 122 + len(rows), 0, 0, 122) + header + rows


def os2_bmp(indices, palette):
    header = struct.pack("<IHHHH", 12, 8, 4, 1, 8)
    offset = 26 + len(palette)
    return (
        b"BM"
        + struct.pack("<IHHI", offset + 32, 0, 0, offset)
        + header
        + palette
        + indices[::-1].tobytes()
    )


def commented(gif):
    """The same GIF with a comment without a word behind its palette."""
    palette = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:palette] + b"!\xfe\0" + gif[palette:]


def few_colors(gif, exponent):
    """The same GIF with the first colours of its palette alone."""
    flags = gif[10] & ~7 | exponent - 1
    return (
        gif[:10]
        + bytes((flags,))
        + gif[11 : 13 + (3 << exponent)]
        + gif[13 + (6 << (gif[10] & 7)) :]
    )


TWO_BITS = GRAY[:, :36] % 4
FOUR_BITS = GRAY[:, :36] % 16
INDICES = np.arange(32, dtype=np.uint8).reshape(4, 8)
RAMP = b"".join(bytes((i, i, i, 0)) for i in range(256))
TABLE = RNG.integers(0, 256, (256, 4), dtype=np.uint8)
TABLE[:, 3] = 0
FROM_TABLE = TABLE[INDICES][..., 2::-1]
RLE = (
    b"".join(
        bytes((2, a, 2, b, 0, 4, 7, 8, 9, 10, 0, 0)) for a, b in ((1, 2), (3, 4), (5, 6), (7, 8))
    )
    + b"\0\1"
)
RLE_INDICES = np.array(
    [[a, a, b, b, 7, 8, 9, 10] for a, b in ((7, 8), (5, 6), (3, 4), (1, 2))], np.uint8
)
LEAP = b"\2\1\0\2\4\1\2\3\0\0" + b"\10\5\0\0" * 2 + b"\0\1"
PLTE = chunk(b"PLTE", TABLE[:, :3].tobytes())
FIVE = RNG.integers(0, 32, (4, 8, 3), dtype=np.uint16)
FIFTEEN = (FIVE[..., 0] << 10 | FIVE[..., 1] << 5 | FIVE[..., 2]).astype("<u2")


def gray_as_rgba(gray, alpha):
    return np.dstack([gray, gray, gray, alpha])


def pillow(data, mode=None):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert(mode) if mode else image)


#: name -> (suffix, bytes of the file, what it must decode to or the mode for Pillow to judge)
CASES = {
    "png grey": (".png", saved(GRAY, "png"), GRAY),
    "png rgb": (".png", saved(COLOR, "png"), COLOR),
    "png rgba": (".png", saved(ALPHA, "png"), ALPHA),
    "png grey alpha": (
        ".png",
        saved(np.dstack([GRAY, 255 - GRAY]), "png"),
        gray_as_rgba(GRAY, 255 - GRAY),
    ),
    "png grey 16": (".png", imagecodecs.png_encode(DEEP_GRAY), DEEP_GRAY),
    "png rgb 16": (".png", imagecodecs.png_encode(DEEP[..., :3].copy()), DEEP[..., :3]),
    "png rgba 16": (".png", imagecodecs.png_encode(DEEP), DEEP),
    "png grey alpha 16": (
        ".png",
        imagecodecs.png_encode(DEEP[..., 2:].copy()),
        gray_as_rgba(DEEP[..., 2], DEEP[..., 3]),
    ),
    "png 1 bit": (".png", saved(BITS, "png"), BITS),
    "png 2 bits": (".png", png(packed(TWO_BITS, 2), (23, 36), 2, 0), TWO_BITS * 85),
    "png 4 bits": (".png", png(packed(FOUR_BITS, 4), (23, 36), 4, 0), FOUR_BITS * 17),
    "png palette": (".png", saved(palette_image(), "png"), "RGB"),
    "png palette 4 bits": (".png", saved(palette_image(11), "png"), "RGB"),
    "png palette with a transparent colour": (
        ".png",
        saved(palette_image(), "png", transparency=3),
        "RGBA",
    ),
    "png palette with alpha": (
        ".png",
        saved(palette_image(), "png", transparency=bytes(range(90, 190))),
        "RGBA",
    ),
    "png grey with a colour key": (".png", saved(GRAY, "png", transparency=7), GRAY),
    "png rgb with a colour key": (".png", saved(COLOR, "png", transparency=(1, 2, 3)), COLOR),
    "png 1 bit with a colour key": (".png", saved(BITS, "png", transparency=1), BITS),
    "png interlaced": (".png", png(interlaced(COLOR), (23, 37), 8, 2, interlaced=1), COLOR),
    "png interlaced 16": (".png", png(interlaced(DEEP), (23, 37), 16, 6, interlaced=1), DEEP),
    "png interlaced palette": (
        ".png",
        png(interlaced(GRAY), (23, 37), 8, 3, before=PLTE, interlaced=1),
        "RGB",
    ),
    "png interlaced palette with alpha": (
        ".png",
        png(
            interlaced(GRAY),
            (23, 37),
            8,
            3,
            before=PLTE + chunk(b"tRNS", bytes(range(90, 190))),
            interlaced=1,
        ),
        "RGBA",
    ),
    "png with text before the pixels": (
        ".png",
        png(
            [row.tobytes() for row in GRAY],
            (23, 37),
            8,
            0,
            before=chunk(b"tEXt", b"Comment\0" + b"x" * 9000),
        ),
        GRAY,
    ),
    "jpeg rgb": (".jpg", saved(SMOOTH, "jpeg"), "RGB"),
    "jpeg grey": (".jpg", saved(SMOOTH[..., 0], "jpeg"), "L"),
    "jpeg progressive": (".jpg", saved(SMOOTH, "jpeg", progressive=True, subsampling=0), "RGB"),
    "jpeg cmyk": (".jpg", saved(SMOOTH, "jpeg", mode="CMYK"), "RGB"),
    "jpeg ycck": (
        ".jpg",
        imagecodecs.jpeg8_encode(ALPHA, colorspace="CMYK", outcolorspace="YCCK"),
        "RGB",
    ),
    "jpeg lossless": (".jpg", imagecodecs.jpeg8_encode(COLOR, lossless=True), COLOR),
    "jpeg lossless 16": (
        ".jpg",
        imagecodecs.jpeg8_encode(DEEP_GRAY, lossless=True, bitspersample=16),
        DEEP_GRAY,
    ),
    "jpeg with bytes behind its end": (".jpg", saved(SMOOTH, "jpeg") + b"\0" * 100, "RGB"),
    "bmp rgb": (".bmp", saved(COLOR, "bmp"), COLOR),
    "bmp rgba": (".bmp", rgba_bmp(ALPHA), ALPHA),
    "bmp rgb of 32 bits": (".bmp", saved(ALPHA, "bmp"), "RGB"),
    "bmp grey": (".bmp", saved(GRAY, "bmp"), GRAY),
    "bmp palette": (".bmp", saved(palette_image(), "bmp"), "RGB"),
    "bmp 4 bits": (".bmp", saved(palette_image(16), "bmp"), "RGB"),
    "bmp black and white": (".bmp", saved(BITS, "bmp"), BITS),
    "bmp 1 bit in colour": (".bmp", saved(palette_image(2), "bmp"), "RGB"),
    "bmp from the top": (".bmp", bmp(INDICES.tobytes(), 8, -4, 8, palette=RAMP), INDICES),
    "bmp run-length coded": (
        ".bmp",
        bmp(RLE, 8, 4, 8, compression=1, palette=TABLE.tobytes()),
        "RGB",
    ),
    "bmp run-length coded grey": (
        ".bmp",
        bmp(RLE, 8, 4, 8, compression=1, palette=RAMP),
        RLE_INDICES,
    ),
    "bmp run-length coded with a leap": (
        ".bmp",
        bmp(LEAP, 8, 4, 8, compression=1, palette=TABLE.tobytes()),
        "RGB",
    ),
    "bmp 15 bits": (".bmp", bmp(FIFTEEN.tobytes(), 8, -4, 16), "RGB"),
    "bmp of OS/2": (".bmp", os2_bmp(INDICES, TABLE[:, :3].tobytes()), FROM_TABLE),
    "dib": (".dib", saved(COLOR, "dib"), COLOR),
    "dib palette": (".dib", saved(palette_image(90), "dib"), "RGB"),
    "dib bits": (".dib", saved(BITS, "dib"), BITS),
    "dib bit fields": (".dib", saved(ALPHA, "bmp")[14:], "RGB"),
    "gif palette": (".gif", saved(palette_image(), "gif"), "RGB"),
    "gif grey": (".gif", saved(EVERY_GRAY, "gif"), EVERY_GRAY),
    "gif with a transparent colour": (
        ".gif",
        saved(palette_image(), "gif", transparency=5),
        "RGBA",
    ),
    "gif with an empty comment": (".gif", commented(saved(palette_image(), "gif")), "RGB"),
    "gif with numbers beyond its palette": (
        ".gif",
        few_colors(saved(palette_image(), "gif"), 4),
        "RGB",
    ),
    "webp": (".webp", saved(SMOOTH, "webp"), "RGB"),
    "webp lossless": (".webp", saved(COLOR, "webp", lossless=True), COLOR),
    "webp alpha": (".webp", saved(ALPHA, "webp", lossless=True, exact=True), ALPHA),
    "jp2 rgb": (".jp2", imagecodecs.jpeg2k_encode(COLOR, level=0), COLOR),
    "jp2 rgba": (".jp2", imagecodecs.jpeg2k_encode(ALPHA, level=0), ALPHA),
    "jp2 grey 16": (".jp2", imagecodecs.jpeg2k_encode(DEEP_GRAY, level=0), DEEP_GRAY),
    "jp2 signed": (
        ".jp2",
        imagecodecs.jpeg2k_encode(GRAY.astype(np.int16) - 99, level=0),
        GRAY.astype(np.int16) - 99,
    ),
    "jp2 12 bits": (
        ".jp2",
        imagecodecs.jpeg2k_encode(DEEP_GRAY >> 4, level=0, bitspersample=12),
        DEEP_GRAY >> 4,
    ),
    "jp2 grey alpha": (
        ".jp2",
        imagecodecs.jpeg2k_encode(np.dstack([GRAY, 255 - GRAY]), level=0),
        gray_as_rgba(GRAY, 255 - GRAY),
    ),
    "j2k codestream": (".j2k", imagecodecs.jpeg2k_encode(COLOR, level=0, codecformat="j2k"), COLOR),
    "j2k with a marker alone": (
        ".j2k",
        imagecodecs.jpeg2k_encode(COLOR, level=0, codecformat="j2k").replace(
            b"\xff\x90", b"\xff\x30\xff\x90", 1
        ),
        COLOR,
    ),
    "jxl grey": (".jxl", imagecodecs.jpegxl_encode(GRAY, lossless=True), GRAY),
    "jxl rgb": (".jxl", imagecodecs.jpegxl_encode(COLOR, lossless=True), COLOR),
    "jxl rgba": (".jxl", imagecodecs.jpegxl_encode(ALPHA, lossless=True), ALPHA),
    "jxl grey alpha": (
        ".jxl",
        imagecodecs.jpegxl_encode(np.dstack([GRAY, 255 - GRAY]), lossless=True),
        gray_as_rgba(GRAY, 255 - GRAY),
    ),
    "jxl grey 16": (".jxl", imagecodecs.jpegxl_encode(DEEP_GRAY, lossless=True), DEEP_GRAY),
    "jxl 10 bits": (
        ".jxl",
        imagecodecs.jpegxl_encode(DEEP_GRAY >> 6, lossless=True, bitspersample=10),
        DEEP_GRAY >> 6,
    ),
    "jxl float": (
        ".jxl",
        imagecodecs.jpegxl_encode(GRAY.astype(np.float32) / 255, lossless=True),
        GRAY.astype(np.float32) / 255,
    ),
    "jxl in boxes": (
        ".jxl",
        imagecodecs.jpegxl_encode(COLOR, lossless=True, usecontainer=True),
        COLOR,
    ),
    "avif": (".avif", imagecodecs.avif_encode(SMOOTH, level=90), imagecodecs.avif_decode),
    "avif alpha": (".avif", imagecodecs.avif_encode(ALPHA, level=90), imagecodecs.avif_decode),
    "avif grey": (".avif", imagecodecs.avif_encode(GRAY, level=90), imagecodecs.avif_decode),
    "avif 10 bits": (
        ".avif",
        imagecodecs.avif_encode(DEEP[..., :3] >> 6, level=90, bitspersample=10),
        imagecodecs.avif_decode,
    ),
}


@pytest.fixture
def written(tmp_path):
    """Write bytes to a new file and return its path."""

    def write(data, name="picture.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write


@pytest.mark.parametrize("name", CASES)
def test_decodes_to_what_the_reference_gives_and_the_header_says(written, name):
    suffix, data, wanted = CASES[name]
    path = written(data, f"picture{suffix}")
    if isinstance(wanted, str):
        wanted = pillow(data, wanted)
    elif callable(wanted):
        wanted = wanted(data)
    info = read_info(path)
    array = decode(path, expect=info)
    np.testing.assert_array_equal(array, wanted)
    assert array.dtype == wanted.dtype
    assert array.dtype != bool or array.view(np.uint8).max() == 1
    assert (info.shape, info.dtype) == (wanted.shape, wanted.dtype)
    assert info.axes == (("y", "x") if wanted.ndim == 2 else ("y", "x", "s"))
    assert info.rgb == (wanted.ndim == 3)
    assert (info.pages, info.page_ndim) == (1, 0)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.dtype.isnative


@pytest.mark.parametrize("name", CASES)
def test_info_comes_from_the_header_alone(written, monkeypatch, name):
    def refuse(*_args, **_kwargs):
        pytest.fail("read_info decoded pixels")

    for codec in ("png", "spng", "jpeg8", "bmp", "gif", "webp", "jpeg2k", "jpegxl", "avif"):
        monkeypatch.setattr(imagecodecs, f"{codec}_decode", refuse)
    monkeypatch.setattr(Image.Image, "load", refuse)
    suffix, data, _ = CASES[name]
    path = written(data, f"picture{suffix}")
    info = read_info(path)
    assert info == read_info(path, data[:4096])
    assert info == read_info(path, data[:64])


def test_lossy_twelve_bits_keep_their_depth(written):
    try:
        data = imagecodecs.jpeg8_encode(SMOOTH.astype(np.uint16) * 16, level=98, bitspersample=12)
    except ValueError:
        pytest.skip("this imagecodecs writes no JPEG of 12 bits")
    path = written(data, "deep.jpg")
    info = read_info(path)
    assert (info.dtype, info.metadata["bits"]) == (np.uint16, 12)
    assert np.abs(decode(path).astype(int) - SMOOTH.astype(int) * 16).max() < 200


@pytest.mark.parametrize(
    ("name", "words"),
    [("png grey with a colour key", "transparent"), ("png rgb with a colour key", "transparent")],
)
def test_what_is_dropped_is_noted(written, name, words):
    assert words in read_info(written(CASES[name][1])).metadata["note"]


# --- orientation


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def xmp(orientation, *, attribute=True):
    value = (
        f'tiff:Orientation="{orientation}"'
        if attribute
        else f"><tiff:Orientation>{orientation}</tiff:Orientation"
    )
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {value}/></x:xmpmeta>'.encode()


def as_pillow_turns_it(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(ImageOps.exif_transpose(image))


def as_pillow_turns_exif(data, orientation):
    """What exif_transpose makes of these pixels: older Pillows do not know each place of XMP."""
    return as_pillow_turns_it(saved(pillow(data), "png", exif=exif(orientation)))


def turned(orientation):
    """COLOUR with an EXIF orientation, by format and place of the block."""
    rows = [row.tobytes() for row in COLOR]
    block = exif(orientation).tobytes()
    raw = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(orientation)
    packet = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(orientation, attribute=False))
    shape = (23, 37)
    return {
        "jpeg": saved(SMOOTH, "jpeg", exif=exif(orientation)),
        "jpeg with xmp": saved(SMOOTH, "jpeg", xmp=xmp(orientation)),
        "webp": saved(COLOR, "webp", lossless=True, exif=exif(orientation)),
        "webp with xmp": saved(COLOR, "webp", lossless=True, xmp=xmp(orientation)),
        **(
            {"avif": saved(SMOOTH, "avif", exif=exif(orientation))}
            if ".avif" in PILLOW_SUFFIXES
            else {}
        ),
        "png": saved(COLOR, "png", exif=exif(orientation)),
        "png behind the pixels": png(rows, shape, 8, 2, after=chunk(b"eXIf", block[6:])),
        "png raw profile": png(rows, shape, 8, 2, before=chunk(b"tEXt", raw)),
        "png with xmp": png(rows, shape, 8, 2, before=chunk(b"iTXt", text)),
        "png with compressed xmp behind": png(rows, shape, 8, 2, after=chunk(b"iTXt", packet)),
    }


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", turned(1))
def test_orientation_is_that_of_exif_transpose(written, name, orientation):
    data = turned(orientation)[name]
    path = written(data)
    wanted = as_pillow_turns_exif(data, orientation)
    info = read_info(path)
    np.testing.assert_array_equal(decode(path, expect=info), wanted)
    assert info.shape == wanted.shape == ((37, 23, 3) if orientation > 4 else (23, 37, 3))
    assert info.metadata.get("orientation", 1) == orientation


@pytest.mark.parametrize(
    "array", [GRAY, BITS, DEEP, DEEP[..., :3].copy()], ids=["grey", "bool", "rgba16", "rgb16"]
)
def test_orientation_of_other_pixel_types(written, array):
    block = chunk(b"eXIf", exif(6).tobytes()[6:])
    data = saved(array, "png") if array.ndim == 2 else imagecodecs.png_encode(array)
    path = written(data[:33] + block + data[33:])
    np.testing.assert_array_equal(decode(path), np.rot90(array, -1))


def jxl_with_orientation(orientation):
    """A JPEG XL whose header gets the bits of an orientation (ISO/IEC 18181-1, annex D)."""
    array = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    data = imagecodecs.jpegxl_encode(array, lossless=True)
    bits = "".join(f"{byte:08b}"[::-1] for byte in data[2:])
    # 14 bits of size, "not default", then "extra fields" with orientation; tone mapping before
    # the last three bits
    header = (
        bits[:15] + "1" + f"{orientation - 1:03b}"[::-1] + "000" + bits[16:24] + "1" + bits[24:27]
    )
    header += "0" * (-len(header) % 8)
    stream = header + bits[32:]
    return array, data[:2] + bytes(
        int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpeg_xl(written, orientation):
    array, data = jxl_with_orientation(orientation)
    path = written(data, "turned.jxl")
    wanted = as_pillow_turns_it(saved(array, "png", exif=exif(orientation)))
    np.testing.assert_array_equal(decode(path, expect=read_info(path)), wanted)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        exif(6).tobytes()[:17],
    ],
)
def test_a_broken_exif_block_turns_nothing(written, block):
    data = saved(SMOOTH, "jpeg")
    path = written(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
    np.testing.assert_array_equal(decode(path, expect=read_info(path)), pillow(data))


def test_an_orientation_out_of_range_turns_nothing(written):
    data = saved(SMOOTH, "jpeg", exif=exif(9))
    np.testing.assert_array_equal(decode(written(data)), pillow(data))


# --- pages


def frames(count=4):
    return [Image.fromarray(np.roll(COLOR, step * 5, axis=1)) for step in range(count)]


@pytest.mark.parametrize(
    ("kind", "options", "samples"),
    [
        ("gif", {}, 3),
        ("gif", {"disposal": 2}, 3),
        ("webp", {"lossless": True}, 3),
    ],
)
def test_frames_of_an_animation_are_pages(written, kind, options, samples):
    first, *rest = frames()
    data = saved(first, kind, save_all=True, append_images=rest, **options)
    path = written(data, f"moving.{kind}")
    info = read_info(path)
    assert (info.axes, info.pages, info.page_ndim, info.rgb) == (("t", "y", "x", "s"), 4, 1, True)
    with Image.open(io.BytesIO(data)) as image:
        mode = "RGBA" if info.shape[-1] == 4 else "RGB"
        for page in (2, 0, 3, 1):
            image.seek(page)
            np.testing.assert_array_equal(
                decode(path, page, expect=info), np.array(image.convert(mode))
            )
    if kind == "gif":
        assert info.shape == (4, 23, 37, samples)


def test_a_transparent_first_frame_gives_every_frame_alpha(written):
    layers = [np.full((8, 8, 4), (200, 0, 0, 255), np.uint8) for _ in range(3)]
    for step, layer in enumerate(layers):
        layer[step : step + 3, 2:5] = 0
    first, *rest = map(Image.fromarray, layers)
    data = saved(first, "gif", save_all=True, append_images=rest, disposal=2)
    path = written(data, "moving.gif")
    info = read_info(path)
    assert info.shape == (3, 8, 8, 4)
    for page in range(3):
        assert (decode(path, page, expect=info)[..., 3] == layers[page][..., 3]).all()


@pytest.mark.parametrize(
    "picture", [palette_image(), Image.fromarray(BITS)], ids=["colours", "bits"]
)
def test_a_bmp_may_end_without_what_fills_its_last_row(picture, written):
    data = saved(picture, "bmp")
    whole = decode(written(data, "whole.bmp"))
    np.testing.assert_array_equal(decode(written(data[:-3], "shorter.bmp")), whole)
    with pytest.raises(ChunkReadError, match="as its header says"):
        decode(written(data[:-4], "short.bmp"))


def test_a_frame_that_covers_a_part_of_the_screen(written):
    data = bytearray(saved(palette_image(), "gif"))
    data[6:10] = struct.pack("<HH", 50, 40)  # a larger screen
    path = written(bytes(data), "part.gif")
    info = read_info(path)
    assert info.shape == (40, 50, 3)
    np.testing.assert_array_equal(decode(path, expect=info), pillow(bytes(data), "RGB"))


def test_an_apng_shows_its_default_image_and_says_so(written):
    first, *rest = frames()
    path = written(saved(first, "png", save_all=True, append_images=rest))
    info = read_info(path)
    assert info.pages == 1
    assert "animation of 4 frames" in info.metadata["note"]
    np.testing.assert_array_equal(decode(path), COLOR)


def test_a_page_that_is_not_there(written):
    path = written(saved(COLOR, "png"))
    for page in (1, -1):
        with pytest.raises(ChunkReadError, match="expected a page"):
            decode(path, page)


# --- files


def test_the_contents_decide_the_format(written):
    jpeg = saved(SMOOTH, "jpeg")
    path = written(jpeg, "a jpeg.png")
    assert read_info(path).format == "jpeg"
    np.testing.assert_array_equal(decode(path), pillow(jpeg))
    assert read_info(written(saved(COLOR, "png"), "a png.tif")).format == "png"
    np.testing.assert_array_equal(decode(written(saved(COLOR, "tiff"), "a tiff.jpg")), COLOR)


@pytest.mark.parametrize(
    "name",
    ["with space.png", "später/日本 語.png", "a" * 200 + ".png", "UPPER.PNG", "two.dots.png"],
)
def test_names_of_all_kinds(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(saved(COLOR, "png"))
    assert is_picture(name)
    np.testing.assert_array_equal(decode(str(path), expect=read_info(str(path))), COLOR)


@pytest.mark.parametrize("name", ["notes.txt", "png", ".png", "picture.png.part", "table.csv", ""])
def test_what_is_no_picture_by_name(name):
    assert not is_picture(name)


def test_every_format_has_its_suffixes():
    for name in (
        "a.TIFF",
        "a.tif",
        "a.Jpg",
        "a.jpeg",
        "a.bmp",
        "a.gif",
        "a.webp",
        "a.jp2",
        "a.jxl",
        "a.avif",
    ):
        assert is_picture(name), name
    assert {
        s for row in pictures.picture_formats().values() for s in row["suffixes"]
    } == pictures.PICTURE_SUFFIXES


def test_supported_formats_are_ready_for_json():
    formats = json.loads(json.dumps(pictures.picture_formats()))
    assert {"png", "jpeg", "tiff", "bmp", "gif", "webp", "jpeg2000", "jpegxl", "avif"} == set(
        formats
    )
    assert all(
        row["readable"] and row["reason"] is None and row["library"] for row in formats.values()
    )


def test_a_codec_that_was_not_built_in_is_named(written, monkeypatch):
    class Missing:
        available = False

    def refuse(*_args, **_kwargs):
        raise ImportError("no JPEG XL in this build")

    path = written(imagecodecs.jpegxl_encode(COLOR, lossless=True), "picture.jxl")
    monkeypatch.setattr(imagecodecs, "JPEGXL", Missing)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", refuse)
    row = pictures.picture_formats()["jpegxl"]
    assert not row["readable"]
    assert "without JPEGXL" in row["reason"]
    with pytest.raises(MissingDependencyError, match="pip install"):
        decode(path)


def test_a_replaced_file_is_not_what_was_expected(written):
    path = written(saved(COLOR, "png"))
    info = read_info(path)
    written(saved(ALPHA, "png"))
    with pytest.raises(
        ChunkReadError, match=r"expected shape \(23, 37, 3\).*found.*\(23, 37, 4\).*replaced"
    ):
        decode(path, expect=info)


def test_info_is_a_value(written):
    import pickle

    path = written(saved(COLOR, "png"))
    info = read_info(path)
    assert pickle.loads(pickle.dumps(info)) == info
    assert {info: 1}[read_info(path)] == 1
    assert info != read_info(written(saved(GRAY, "png"), "grey.png"))
    assert isinstance(info, PictureInfo)
    with pytest.raises(AttributeError):
        info.format = "other"


# --- threads


def test_threads_decode_the_same_as_one(written):
    paths = [
        written(data, f"{index}{suffix}") for index, (suffix, data, _) in enumerate(CASES.values())
    ]
    alone = [decode(path) for path in paths]
    order = [int(i) for i in RNG.permutation(np.tile(np.arange(len(paths)), 6))]
    start = threading.Barrier(8)

    def work(lane):
        start.wait()
        return [(i, read_info(paths[i]), decode(paths[i])) for i in order[lane::8]]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for i, info, array in results:
                np.testing.assert_array_equal(array, alone[i])
                assert info.shape == alone[i].shape


def test_an_array_is_the_callers_own(written):
    path = written(saved(COLOR, "png"))
    first = decode(path)
    first[:] = 0
    np.testing.assert_array_equal(decode(path), COLOR)
