"""GIF: blocks, frames and pixels.

Source: CompuServe, "Graphics Interchange Format, version 89a", sections 18 (screen), 20 (image), 23
(graphic control) and 27 (trailer). Pillow puts frames together and decides between gray, RGB and
RGBA. It cannot say whether a file is complete, nor how far the canvas grows: the walk is for that.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_header import (
    UINT8,
    ParsedHeader,
    PictureError,
    TruncatedError,
    animated,
    damaged,
    flat_picture,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

SIGNATURES = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9

#: Longest run of pixels that one code of twelve bits can stand for, per byte.
_RATIO = 4096 * 8 / 12

_GRAY_RAMP = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()


class _Frame(NamedTuple):
    """One image descriptor."""

    left: int
    top: int
    right: int
    bottom: int
    transparent: bool
    palette: bytes


def read_header(head: FileHead) -> ParsedHeader:
    """Walk over all blocks without unpacking any: where frames begin is written nowhere."""
    data = head.all()
    head.need(13)
    frames = _frames(data)
    if not frames:
        raise damaged("a GIF file without an image", "at least one image")
    width, height = struct.unpack_from("<HH", data, 6)
    height = max(height, *(frame.bottom for frame in frames), 0)
    width = max(width, *(frame.right for frame in frames), 0)
    first = frames[0]
    still = len(frames) == 1 and not first.transparent
    gray = still and _GRAY_RAMP.startswith(first.palette)
    samples = 1 if gray else 3 + first.transparent
    info = flat_picture("gif", height, width, samples, UINT8, metadata={"bits": 8})
    if len(frames) > 1:
        info = animated(info, len(frames))
    covers_all = first[:4] == (0, 0, width, height)
    palette = first.palette if still and covers_all else None
    return ParsedHeader(info, height * width, _RATIO, 2**26, palette)


def _frames(data: bytes) -> list[_Frame]:
    """Return what the image descriptors and the control blocks before them say."""
    screen_palette, position = _color_table(data, 13, data[10])
    frames = []
    transparent = False
    try:
        while (kind := data[position]) != _TRAILER:
            position += 1
            if kind == _EXTENSION:
                if data[position] == _CONTROL and data[position + 1]:
                    transparent = bool(data[position + 2] & 1)
                position = _skip_blocks(data, position + 1)
            elif kind == _IMAGE:
                left, top, width, height, flags = struct.unpack_from("<HHHHB", data, position)
                palette, position = _color_table(data, position + 9, flags)
                box = left, top, left + width, top + height
                position = _skip_blocks(data, position + 1)
                frames.append(_Frame(*box, transparent, palette or screen_palette))
                transparent = False
    except (IndexError, struct.error):
        place = f"inside frame {len(frames)} or before its trailer"
        msg = f"a file that ends after {len(data):,} bytes, {place}"
        raise TruncatedError(msg) from None
    return frames


def _color_table(data: bytes, position: int, flags: int) -> tuple[bytes, int]:
    """Return the color table that may be at `position`, and where it ends."""
    if not flags & 0x80:
        return b"", position
    end = position + 3 * (2 << (flags & 7))
    return data[position:end], end


def _skip_blocks(data: bytes, position: int) -> int:
    """Return the position behind a chain of blocks that each begin with their length."""
    while size := data[position]:
        position += size + 1
    return position + 1


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode one frame, put together with those before it."""
    if header.detail is None:
        return _compose(data, header, page)
    import imagecodecs
    from PIL import ImageFile

    try:
        indices: npt.NDArray[Any] = imagecodecs.gif_decode(data, 0, asrgb=False)
    except imagecodecs.GifError:
        # giflib refuses empty comments and long codes, which Pillow reads; with this switch
        # Pillow makes up what is missing
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            raise
        return _compose(data, header, page)
    if not header.info.rgb:
        return indices
    # Numbers beyond its end are black; imagecodecs gives what lies there in memory.
    palette = np.zeros((256, 3), np.uint8)
    palette.reshape(-1)[: len(header.detail)] = np.frombuffer(header.detail, np.uint8)
    return np.take(palette, indices, axis=0)


def _compose(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Let Pillow put the frames up to `page` together."""
    from PIL import GifImagePlugin, Image

    height, width, *samples = header.info.page_shape
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        msg = f"an animated, transparent or unusual GIF of {width} x {height} pixels"
        hint = "export its frames as PNG files"
        raise PictureError(msg, f"at most {limit:,} pixels in a frame", hint)
    image = GifImagePlugin.GifImageFile(io.BytesIO(data))
    image.seek(page)
    mode = {(): "L", (3,): "RGB", (4,): "RGBA"}[tuple(samples)]
    frame = np.array(image.convert(mode))
    if frame.shape == header.info.page_shape:
        return frame
    whole = np.zeros(header.info.page_shape, np.uint8)  # the canvas grows with a later frame
    whole[: frame.shape[0], : frame.shape[1]] = frame
    return whole
