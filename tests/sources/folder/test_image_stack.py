"""Image files as the chunks of an image: exact, checked at each read, padded on request."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.sources.folder import image_stack, page_chunk
from napari_lazyload.sources.folder.file_set import FileSet
from napari_lazyload.sources.folder.grouping import padded_info
from napari_lazyload.sources.folder.image_stack import CoverageSource, PictureSource
from napari_lazyload.sources.folder.listing import list_folder
from napari_lazyload.sources.folder.padding import fit_frame, fits_frame
from napari_lazyload.sources.image_files import decode
from napari_lazyload.sources.image_files.decode import PictureInfo


def write(path, pixels):
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        path.write_bytes(imagecodecs.png_encode(pixels))
    os.utime(
        path, ns=(1, 1 + path.stat().st_mtime_ns)
    )  # however coarse the clock of the file system is


def source_of(folder, *, lead=None, padded=False, probe=True):
    files = FileSet(list_folder(str(folder)))
    (files.read_for(np.inf) if probe else files.read_header(0))
    info = padded_info(files.header_classes) if padded else files.header_classes[files.main_kind()]
    rows = np.arange(len(files))
    return PictureSource(
        files, rows, lead or {"frame": len(files)}, info, "pictures", padded=padded
    )


def load(source, *index):
    return source.chunk(0, index).load()


def full(source):
    """Read every chunk into one array."""
    grid = source.meta.levels[0].grid
    result = np.empty(grid.shape, source.meta.dtype)
    for index in grid.touched(grid.full_box):
        chunk = source.chunk(0, index).load()
        assert chunk.flags.c_contiguous
        assert chunk.dtype == source.meta.dtype
        result[tuple(slice(*span) for span in grid.bounds(index))] = chunk
    return result


def test_each_file_is_a_chunk(tmp_path, write_folder):
    stack = write_folder(tmp_path, 5)
    source = source_of(tmp_path)
    assert source.meta.axes == ("frame", "y", "x")
    assert source.meta.levels[0].grid.chunks == (1, 24, 32)
    np.testing.assert_array_equal(full(source), stack)


def test_files_on_two_axes(tmp_path, write_folder):
    stack = write_folder(tmp_path, 6)
    source = source_of(tmp_path, lead={"t": 2, "z": 3})
    np.testing.assert_array_equal(full(source), stack.reshape(2, 3, 24, 32))
    rows = source.row_map
    assert [rows.row_of(rows.index_of(row)) for row in range(6)] == list(range(6))
    assert rows.index_of(4) == (1, 1)


def test_pages_are_chunks_of_their_own(tmp_path):
    stacks = np.arange(2 * 3 * 4 * 5, dtype="u2").reshape(2, 3, 4, 5)
    for number, pixels in enumerate(stacks):
        write(tmp_path / f"{number}.tif", pixels)
    source = source_of(tmp_path)
    assert source.meta.axes == ("frame", "page", "y", "x")
    assert source.meta.levels[0].grid.chunks == (1, 1, 4, 5)
    np.testing.assert_array_equal(full(source), stacks)
    assert source.row_map.row_of((1, 2, 0, 0)) == 1


def test_a_key_names_the_file_as_it_is_now(tmp_path, write_folder):
    write_folder(tmp_path, 2)
    source = source_of(tmp_path)
    chunk = source.chunk(0, (1, 0, 0))
    before = chunk.key
    assert before == source.chunk(0, (1, 0, 0)).key != source.chunk(0, (0, 0, 0)).key
    write(tmp_path / "img_1.png", np.full((24, 32), 7, "u1"))
    assert chunk.key != before
    assert (chunk.load() == 7).all()
    (tmp_path / "img_1.png").unlink()
    with pytest.raises(ChunkReadError, match="cannot be found any more"):
        _ = chunk.key
    with pytest.raises(ChunkReadError, match=r"img_1\.png"):
        chunk.load()


OTHERS = {
    "shape": (
        np.zeros((24, 33), "u1"),
        "expected 24 x 32 uint8, found 24 x 33 uint8",
    ),
    "dtype": (
        np.zeros((24, 32), "u2"),
        "expected 24 x 32 uint8, found 24 x 32 uint16",
    ),
    "colour": (np.zeros((24, 32, 3), "u1"), "found 24 x 32 x 3 uint8; reopen in groups"),
}


@pytest.mark.parametrize(("pixels", "message"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("probe", [True, False], ids=["replaced", "never looked at"])
def test_a_file_that_is_another_one_is_an_error(tmp_path, write_folder, pixels, message, probe):
    write_folder(tmp_path, 3)
    if probe:
        source = source_of(tmp_path)
    write(tmp_path / "img_2.png", pixels)
    if not probe:
        source = source_of(tmp_path, probe=False)
        assert source.files.probed(2) is None
    with pytest.raises(ChunkReadError, match=message) as info:
        load(source, 2, 0, 0)
    assert info.value.path == str(tmp_path / "img_2.png")
    assert load(source, 1, 0, 0).shape == (1, 24, 32)


@pytest.mark.parametrize(("was", "now"), [(1, 3), (3, 1), (3, 4), (3, 2)])
@pytest.mark.parametrize("probe", [True, False], ids=["replaced", "never looked at"])
def test_other_pages_than_expected_are_an_error(tmp_path, was, now, probe):
    """The frame has the right shape, but what is shown would not be all of the file."""
    for number in range(2):
        write(tmp_path / f"{number}.tif", np.zeros((was, 4, 5) if was > 1 else (4, 5), "u1"))
    if probe:
        source = source_of(tmp_path)
    write(tmp_path / "1.tif", np.zeros((now, 4, 5) if now > 1 else (4, 5), "u1"))
    if not probe:
        source = source_of(tmp_path, probe=False)
    with pytest.raises(ChunkReadError, match=f"expected {was} pages?, found {now}; reopen"):
        load(source, 1, *(0,) * (len(source.meta.axes) - 1))


def test_a_known_file_is_not_looked_at_twice(tmp_path, write_folder, monkeypatch):
    write_folder(tmp_path, 2)
    source = source_of(tmp_path)
    monkeypatch.setattr(page_chunk, "read_info", lambda path: pytest.fail("the header is known"))
    assert load(source, 1, 0, 0).shape == (1, 24, 32)


def test_a_decoder_that_is_missing_is_an_error_of_the_chunk(tmp_path, write_folder, monkeypatch):
    write_folder(tmp_path, 1)

    def missing(path, page):
        raise MissingDependencyError("install it")

    monkeypatch.setattr(decode, "decode", missing)
    with pytest.raises(ChunkReadError, match="install it"):
        load(source_of(tmp_path), 0, 0, 0)


def test_sources_and_chunks_pickle(tmp_path, write_folder):
    stack = write_folder(tmp_path, 4)
    source = source_of(tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.token == source.token
    np.testing.assert_array_equal(full(copy), stack)
    chunk = source.chunk(0, (3, 0, 0))
    again = pickle.loads(pickle.dumps(chunk))
    assert again.key == chunk.key
    np.testing.assert_array_equal(again.load()[0], stack[3])
    assert len(pickle.dumps(chunk)) < 500


# --- filled up
# ------------------------------------------------------------------------------------------


def test_padded_frames_and_where_they_have_data(tmp_path):
    decode = [np.full((4, 5), 1, "u1"), np.full((6, 3), 300, "u2"), np.full((2, 2), 2, "u1")]
    for number, pixels in enumerate(decode):
        write(tmp_path / f"{number}.png", pixels)
    source = source_of(tmp_path, padded=True)
    coverage = CoverageSource(source)
    assert (source.meta.shape, source.meta.dtype) == ((3, 6, 5), np.dtype("u2"))
    assert (coverage.meta.shape, coverage.meta.kind) == ((3, 6, 5), "labels")
    for row, pixels in enumerate(decode):
        height, width = pixels.shape
        expected = np.zeros((6, 5), "u2")
        expected[:height, :width] = pixels
        np.testing.assert_array_equal(full(source)[row], expected)
        np.testing.assert_array_equal(full(coverage)[row], expected > 0)
    assert coverage.row_map.row_of((2, 0, 0)) == 2
    np.testing.assert_array_equal(full(pickle.loads(pickle.dumps(coverage))), full(coverage))


def test_gray_color_and_alpha_in_one_frame(tmp_path):
    gray, rgb = np.full((3, 4), 7, "u1"), np.arange(2 * 5 * 3, dtype="u1").reshape(2, 5, 3)
    rgba = np.full((2, 2, 4), 9, "u1")
    for name, pixels in (("0", gray), ("1", rgb), ("2", rgba)):
        write(tmp_path / f"{name}.png", pixels)
    source = source_of(tmp_path, padded=True)
    frames = full(source)
    assert (frames.shape, source.meta.axes, source.meta.rgb) == (
        (3, 3, 5, 4),
        ("frame", "y", "x", "s"),
        True,
    )
    np.testing.assert_array_equal(
        frames[0, :, :4], np.dstack([gray, gray, gray, np.full_like(gray, 255)])
    )
    assert not frames[0, :, 4:].any()
    np.testing.assert_array_equal(frames[1, :2, :, :3], rgb)
    assert (frames[1, :2, :, 3] == 255).all()
    assert not frames[1, 2:].any()
    np.testing.assert_array_equal(frames[2, :2, :2], rgba)
    coverage = CoverageSource(source)
    assert coverage.meta.axes == ("frame", "y", "x")
    np.testing.assert_array_equal(full(coverage).sum(axis=(1, 2)), [12, 10, 4])


def test_floats_are_filled_up_with_nan(tmp_path):
    write(tmp_path / "0.tif", np.ones((2, 3), "f4"))
    write(tmp_path / "1.tif", np.full((3, 2), 7, "u2"))
    source = source_of(tmp_path, padded=True)
    assert source.meta.dtype == np.dtype("f4")
    np.testing.assert_array_equal(full(source)[0], [[1, 1, 1], [1, 1, 1], [np.nan] * 3])
    np.testing.assert_array_equal(full(source)[1], [[7, 7, np.nan]] * 3)


def test_missing_pages_are_blank(tmp_path):
    stacks = [np.ones((2, 3, 4), "u1"), np.full((3, 2, 4), 2, "u1")]
    for number, pixels in enumerate(stacks):
        write(tmp_path / f"{number}.tif", pixels)
    source = source_of(tmp_path, padded=True)
    expected = np.zeros((2, 3, 3, 4), "u1")
    expected[0, :2] = 1
    expected[1, :, :2] = 2
    np.testing.assert_array_equal(full(source), expected)
    np.testing.assert_array_equal(full(CoverageSource(source)), expected > 0)


def test_what_does_not_fit_a_padded_frame_is_an_error(tmp_path, write_folder):
    write_folder(tmp_path, 3)
    source = source_of(tmp_path, padded=True)
    for pixels in (np.zeros((25, 32), "u1"), np.zeros((24, 32), "u2"), np.zeros((4, 4, 3), "u1")):
        write(tmp_path / "img_1.png", pixels)
        with pytest.raises(
            ChunkReadError,
            match=r"expected at most 24 x 32 uint8, found .*groups",
        ):
            load(source, 1, 0, 0)
    write(tmp_path / "img_1.png", np.ones((2, 3), "u1"))
    assert load(source, 1, 0, 0).sum() == 6


def test_a_padded_frame_and_a_plain_one_are_not_one_chunk(tmp_path, write_folder):
    """A plain stack must fail, and not find the padded frame of an odd file in the cache."""
    write_folder(tmp_path, 2)
    write(tmp_path / "img_1.png", np.ones((2, 3), "u1"))
    plain, padded = source_of(tmp_path, probe=False), source_of(tmp_path, padded=True)
    assert plain.meta.shape == padded.meta.shape
    assert plain.chunk(0, (1, 0, 0)).key != padded.chunk(0, (1, 0, 0)).key


AXES = st.sampled_from([("y", "x"), ("y", "x", "s"), ("page", "y", "x"), ("c", "y", "x")])


@given(AXES, st.data())
def test_whatever_fits_keeps_its_values(axes, data):
    rgb = axes[-1] == "s"
    sides = st.integers(1, 4)
    own = [data.draw(sides) for _ in axes[: len(axes) - rgb]]
    frame = [size + data.draw(st.integers(0, 2)) for size in own]
    if rgb:
        channels = data.draw(st.sampled_from([(), (3,), (4,)]))
        room = data.draw(st.sampled_from([3, 4]))
        own, frame = [*own, *channels], [*frame, room]
    types = st.sampled_from(["?", "u1", "i1", "u2", "i8", "f4", "f8", "c8"])
    kind, into = np.dtype(data.draw(types)), np.dtype(data.draw(types))
    info = PictureInfo(tuple(own), kind, "png", axes[: len(own)], rgb=rgb and len(own) == len(axes))
    if not fits_frame(info, tuple(frame), axes, into):
        assert not np.can_cast(kind, into) or own[-1] == 4 > frame[-1]
        return
    pixels = np.random.default_rng(0).integers(0, 2, own).astype(kind)
    fitted = fit_frame(pixels, tuple(frame), into, rgb=rgb)
    assert (fitted.shape, fitted.dtype) == (tuple(frame), into)
    inside = tuple(slice(0, size) for size in own[: len(axes) - rgb])
    if rgb:
        colors = fitted[inside][..., :3]
        np.testing.assert_array_equal(
            colors, pixels[..., :3] if info.rgb else np.stack([pixels] * 3, axis=-1)
        )
        if frame[-1] == 4 and own[-1:] != [4]:
            assert (
                fitted[inside][..., 3] == (np.iinfo(into).max if into.kind in "iu" else 1)
            ).all()
    else:
        np.testing.assert_array_equal(fitted[inside], pixels)
    outside = np.ones(frame[: len(axes) - rgb], bool)
    outside[inside] = False
    rest = fitted[outside]
    assert np.isnan(rest).all() if into.kind in "fc" else not rest.any()


# --- what the header says
# --------------------------------------------------------------------------------------------


def test_scale_and_units_by_axis_name(tmp_path):
    for number in range(2):
        tifffile.imwrite(
            tmp_path / f"{number}.ome.tif",
            np.zeros((3, 4, 5), "u2"),
            metadata={
                "axes": "ZYX",
                "PhysicalSizeX": 0.5,
                "PhysicalSizeY": 0.25,
                "PhysicalSizeZ": 2.0,
            },
        )
    meta = source_of(tmp_path).meta
    assert meta.axes == ("frame", "z", "y", "x")
    assert meta.scale == (1.0, 2.0, 0.25, 0.5)
    assert meta.units == (None, "micrometer", "micrometer", "micrometer")


@pytest.mark.parametrize(("values", "top"), [(65535, 65535), (255, 255)], ids=["16 bits", "8 bits"])
def test_a_palette_gives_colors_and_limits(tmp_path, values, top):
    palette = (np.random.default_rng(0).integers(0, values, (3, 256), endpoint=True)).astype("u2")
    palette[:, 255] = values
    indices = np.arange(256, dtype="u1").reshape(16, 16)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=palette)
    meta = source_of(tmp_path).meta
    np.testing.assert_allclose(meta.colormap, palette.T / top)
    assert meta.contrast_limits == (0.0, 255.0)
    assert "colormap" not in meta.metadata


def test_the_name_of_a_path():
    assert image_stack.file_name(str(Path("/data") / "run 1")) == "run 1"
    assert image_stack.file_name(f"/data/run 1{os.sep}") == "run 1"
    assert image_stack.file_name(os.sep) == os.sep
