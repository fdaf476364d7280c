"""GIF: blocks, frames and pixels.

Source: CompuServe, "Graphics Interchange Format, version 89a", sections 18 (screen), 20 (image), 23
(graphic control) and 27 (trailer). Frames are put together as Pillow does, which decides between
grey, RGB and RGBA too.
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
    PictureInfo,
    TruncatedError,
    flat_picture,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

SIGNATURES = (b"GIF87a", b"GIF89a")

#: Longest run of pixels that one code of twelve bits can stand for, per byte.
_RATIO = 4096 * 8 / 12


class _Frame(NamedTuple):
    """One image descriptor."""

    right: int
    bottom: int
    covers: tuple[int, int, int, int]
    transparent: bool
    palette: bytes

    @property
    def gray(self) -> bool:
        """Every colour is its own number."""
        return self.palette == bytes(
            value for i in range(len(self.palette) // 3) for value in (i, i, i)
        )


def read_header(head: FileHead) -> ParsedHeader:
    """Walk over all blocks without unpacking any: where frames begin is written nowhere."""
    data = head.all()
    head.need(13)
    frames = _frames(data)
    if not frames:
        raise PictureError(
            "a GIF file without a picture",
            "at least one image",
            "the file is damaged: export it again",
        )
    width, height = struct.unpack_from("<HH", data, 6)
    height = max(height, *(frame.bottom for frame in frames), 0)
    width = max(width, *(frame.right for frame in frames), 0)
    first = frames[0]
    gray = len(frames) == 1 and first.gray and not first.transparent
    samples = 1 if gray else 4 if first.transparent else 3
    info = flat_picture("gif", height, width, samples, UINT8, metadata={"bits": 8})
    simple = len(frames) == 1 and not first.transparent and first.covers == (0, 0, width, height)
    if len(frames) > 1:
        info = PictureInfo(
            (len(frames), *info.shape),
            UINT8,
            "gif",
            ("t", *info.axes),
            True,
            len(frames),
            1,
            info.metadata,
        )
    return ParsedHeader(info, height * width, _RATIO, 2**26, first.palette if simple else None)


def _frames(data: bytes) -> list[_Frame]:
    """Return what the image descriptors and the control blocks before them say."""
    flags = data[10]
    position = 13
    palette = b""
    if flags & 0x80:
        palette, position = _table(data, position, flags)
    frames = []
    transparent = False
    try:
        while (kind := data[position]) != 0x3B:
            position += 1
            if kind == 0x21:
                if data[position] == 0xF9 and data[position + 1]:
                    transparent = bool(data[position + 2] & 1)
                position = _skip_blocks(data, position + 1)
            elif kind == 0x2C:
                frame, position = _image(data, position, palette, transparent)
                frames.append(frame)
                transparent = False
    except (IndexError, struct.error):
        msg = f"a file that ends after {len(data):,} bytes, inside frame {len(frames)} or before its trailer"
        raise TruncatedError(msg) from None
    return frames


def _image(data: bytes, position: int, palette: bytes, transparent: bool) -> tuple[_Frame, int]:
    """Return the image whose descriptor is at `position`, and where the next block begins."""
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, position)
    position += 9
    if flags & 0x80:
        palette, position = _table(data, position, flags)
    right, bottom = left + width, top + height
    frame = _Frame(right, bottom, (left, top, right, bottom), transparent, palette)
    return frame, _skip_blocks(data, position + 1)


def _table(data: bytes, position: int, flags: int) -> tuple[bytes, int]:
    """Return a colour table and where it ends."""
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
    except (
        imagecodecs.GifError
    ):  # giflib refuses empty comments and long codes, too, which Pillow reads
        if ImageFile.LOAD_TRUNCATED_IMAGES:  # whoever sets this has Pillow make up what is missing
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
        raise PictureError(
            msg, f"at most {limit:,} pixels in a frame", "export its frames as PNG files"
        )
    image = GifImagePlugin.GifImageFile(io.BytesIO(data))
    image.seek(page)
    frame = np.array(image.convert("RGBA" if samples == [4] else "RGB" if samples else "L"))
    if frame.shape == header.info.page_shape:
        return frame
    whole = np.zeros(header.info.page_shape, np.uint8)  # the canvas grows with a later frame
    whole[: frame.shape[0], : frame.shape[1]] = frame
    return whole
