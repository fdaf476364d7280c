"""Strided pixels read in place: exact over shapes, types, orders and gaps, and never read wrong."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core import coarse_levels
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.coarse_levels import strided_levels
from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.loading.read_box import read_block, read_box
from napari_lazyload.sources.binary import chunk_sizes as raw_grid
from napari_lazyload.sources.binary import read_strided
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks, chunk_sizes, run_nbytes
from napari_lazyload.sources.binary.strided import Frames, StridedFileSource, StridedLayout, dense
from napari_lazyload.sources.binary.strided_chunks import BlankChunk, GroupChunk, Linear, Shifted
from napari_lazyload.sources.files import FileStamp

DTYPES = ["u1", "i1", "<u2", ">u2", "<i4", ">i4", "<f4", ">f4", ">f8", "<c8", ">c16", "<f2", "?"]


def values(shape, dtype, seed=0):
    made = np.random.default_rng(seed).integers(0, 200, shape)
    return (made * (1 + 1j) if np.dtype(dtype).kind == "c" else made).astype(dtype)


def full(source):
    grid = source.meta.levels[0].grid
    result = np.empty(grid.shape, source.meta.dtype)
    for index in grid.touched(grid.full_box):
        pixels = source.chunk(0, index).load()
        assert pixels.flags.c_contiguous
        assert pixels.flags.owndata or pixels.base.nbytes == pixels.nbytes
        assert pixels.dtype == source.meta.dtype
        assert pixels.dtype.isnative
        result[tuple(slice(*span) for span in grid.bounds(index))] = pixels
    return result


def source_of(path, layout, **options):
    stat = os.stat(path)
    axes = tuple("uvtczyx"[-len(layout.shape) :])
    return StridedFileSource(
        layout, [(str(path), FileStamp.from_stat(stat))], "raw", axes, **options
    )


@pytest.fixture
def counted(monkeypatch):
    """The pieces that are read: (offset, bytes) of each."""
    pieces = []
    original = read_strided._read_into

    def read_into(file, offset, target):
        pieces.append((offset, target.nbytes))
        original(file, offset, target)

    monkeypatch.setattr(read_strided, "_read_into", read_into)
    return pieces


def test_a_key_tells_which_bytes_are_read_as_what(tmp_path):
    path = tmp_path / "a.raw"
    values((4, 9, 9), "<i2").tofile(path)
    chunk = source_of(path, dense((4, 9, 9), "<i2"), chunks=(1, 9, 9)).chunk(0, (1, 0, 0))
    others = [
        dataclasses.replace(chunk, offset=0),
        dataclasses.replace(chunk, shape=(1, 9, 8)),
        dataclasses.replace(chunk, strides=(162, 2, 18)),
        dataclasses.replace(chunk, dtype=np.dtype(">i2")),
        dataclasses.replace(chunk, convert=Linear(2.0, 0.0, "<f8")),
        dataclasses.replace(chunk, convert=Linear(3.0, 0.0, "<f8")),
    ]
    assert len({chunk.key, *(other.key for other in others)}) == 1 + len(others)
    blank = BlankChunk(str(path), (1, 9, 9), np.dtype("i2"))
    groups = [
        GroupChunk(parts, (2, 9, 9), chunk.dtype) for parts in ((blank, chunk), (blank, others[0]))
    ]
    assert groups[0].key != groups[1].key
    assert groups[0].path == str(path)


# --- exact
# --------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_any_strided_block_is_what_numpy_sees(tmp_path_factory, data):
    ndim = data.draw(st.integers(1, 4))
    shape = tuple(data.draw(st.integers(1, 7)) for _ in range(ndim))
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    order = data.draw(st.permutations(range(ndim)))
    strides, step = [0] * ndim, dtype.itemsize
    for axis in order:  # fastest first, with gaps of any length
        strides[axis] = step + data.draw(st.sampled_from([0, 0, 0, 1, 13, 5000]))
        step = strides[axis] * (shape[axis] - 1) + step
    offset = data.draw(st.integers(0, 40))
    layout = StridedLayout(shape, dtype, offset, tuple(strides))
    path = tmp_path_factory.getbasetemp() / "strided.raw"
    content = np.random.default_rng(0).integers(0, 2, layout.end, np.uint8)
    content.tofile(path)
    expected = np.ndarray(shape, dtype, content, offset, tuple(strides)).astype(
        dtype.newbyteorder("=")
    )
    chunks = data.draw(st.sampled_from(["auto", 1, 2, -1, "40 B"]))
    most = data.draw(st.sampled_from([64, 1 << 20]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_strided, "MOST_SPAN", most)
        source = source_of(path, layout, chunks=chunks)
        assert full(source).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_both_orders_and_every_type(tmp_path, dtype, order):
    stack = values((3, 40, 50), dtype)
    path = tmp_path / "a.raw"
    path.write_bytes(b"head!" + stack.tobytes(order))
    source = source_of(path, dense(stack.shape, dtype, 5, order))
    np.testing.assert_array_equal(full(source), stack)


def test_padded_rows_and_headers_between_frames(tmp_path):
    record = np.dtype([("header", "V30"), ("rows", [("pixels", "<u2", 11), ("pad", "V3")], 7)])
    records = np.zeros(5, record)
    records["rows"]["pixels"] = values((5, 7, 11), "u2")
    path = tmp_path / "a.raw"
    records.tofile(path)
    source = source_of(
        path, StridedLayout((5, 7, 11), np.dtype("<u2"), 30, (record.itemsize, 25, 2))
    )
    np.testing.assert_array_equal(full(source), records["rows"]["pixels"])


def test_frames_over_several_files_and_with_gaps_in_the_grid(tmp_path):
    stack = values((7, 6, 8), ">u2")
    files = []
    for number in range(0, 7, 3):  # three frames a file, one in the last
        path = tmp_path / f"{number}.raw"
        path.write_bytes(b"12345" + stack[number : number + 3].tobytes())
        files.append((str(path), FileStamp.at_open(str(path))))
    layout = dense((7, 6, 8), ">u2", 5)
    frames = Frames(1, 96, 3)
    for chunks in ("auto", 1, (2, 6, 8), (2, 4, 3)):
        source = StridedFileSource(
            layout, files, "raw", ("z", "y", "x"), frames=frames, chunks=chunks
        )
        np.testing.assert_array_equal(full(source), stack)
    assert isinstance(
        StridedFileSource(layout, files, "raw", ("z", "y", "x"), frames=frames).chunk(0, (0, 0, 0)),
        GroupChunk,
    )
    numbers = np.array([2, -1, 0, 6, 5, 4, 3, 1])
    grid = dense((2, 4, 6, 8), ">u2", 5)
    source = StridedFileSource(
        grid,
        files,
        "raw",
        ("t", "z", "y", "x"),
        frames=Frames(2, 96, 3, numbers),
        chunks=(1, 1, 6, 8),
    )
    expected = np.concatenate([stack, np.zeros((1, 6, 8))])[numbers].reshape(2, 4, 6, 8)
    np.testing.assert_array_equal(full(source), expected)
    assert isinstance(source.chunk(0, (0, 1, 0, 0)), BlankChunk)
    assert source.chunk(0, (0, 1, 0, 0)).key == source.chunk(0, (0, 1, 0, 0)).key
    whole = StridedFileSource(
        grid, files, "raw", ("t", "z", "y", "x"), frames=Frames(2, 96, 3, numbers), chunks=-1
    )
    np.testing.assert_array_equal(full(whole), expected)
    chunk = pickle.loads(pickle.dumps(whole.chunk(0, (0, 0, 0, 0))))
    assert chunk.key == whole.chunk(0, (0, 0, 0, 0)).key
    assert chunk.path == files[0][0]


def test_values_are_converted_chunk_by_chunk(tmp_path):
    stored = values((4, 9, 9), "<i2")
    path = tmp_path / "a.raw"
    stored.tofile(path)
    source = source_of(
        path, dense(stored.shape, "<i2"), convert=Linear(0.5, 3.0, "<f8", blank=7), dtype="f8"
    )
    expected = stored * 0.5 + 3.0
    expected[stored == 7] = np.nan
    np.testing.assert_array_equal(full(source), expected)
    far = Linear(1e38, 0.0, "<f4")(np.array([10, np.nan], "<f4"))
    np.testing.assert_array_equal(far, np.array([np.inf, np.nan], "f4"))  # without a warning
    source = source_of(path, dense(stored.shape, "<i2"), convert=Shifted(), dtype="u2")
    np.testing.assert_array_equal(full(source), (stored.astype(int) + 32768).astype("u2"))
    source = source_of(path, dense((4, 9, 18), "u1"), convert=Shifted(), dtype="i1")
    np.testing.assert_array_equal(full(source), (stored.view("u1").astype(int) - 128).astype("i1"))


def test_threads_and_a_copy_from_a_pickle_read_the_same(tmp_path):
    stack = values((20, 64, 64), ">u2")
    path = tmp_path / "a.raw"
    stack.tofile(path)
    source = source_of(path, dense(stack.shape, ">u2"), chunks=(1, 64, 64))
    with ThreadPoolExecutor(4) as pool:
        read = list(
            pool.map(
                lambda z: pickle.loads(pickle.dumps(source.chunk(0, (z, 0, 0)))).load()[0],
                range(20),
            )
        )
    np.testing.assert_array_equal(read, stack)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.token == source.token
    assert copy.meta == source.meta
    assert len(pickle.dumps(source)) < 2000


# --- what is read
# --------------------------------------------------------------------------------------------------


def test_a_plane_reads_its_own_bytes(tmp_path, counted):
    path = tmp_path / "a.raw"
    with path.open("wb") as file:
        file.truncate(100 * 2048 * 2048 * 2 + 512)
    source = source_of(path, dense((100, 2048, 2048), "<u2", 512))
    read_box(source, 0, ((7, 8), (0, 2048), (0, 2048)))
    assert counted == [(512 + 7 * 2**23, 2**23)]
    counted.clear()
    for part in range(4):
        read_block(source, 0, (7, part, 0))  # what is looked at is read in bands, and kept
    assert counted == [(512 + 7 * 2**23 + part * 2**21, 2**21) for part in range(4)]


def test_rows_far_apart_are_read_alone_and_near_ones_together(tmp_path, counted):
    path = tmp_path / "a.raw"
    with path.open("wb") as file:
        file.truncate(1000 * 10_000)
    far = source_of(path, StridedLayout((1000, 100), np.dtype("u1"), 0, (10_000, 1)), chunks=-1)
    far.chunk(0, (0, 0)).load()
    assert (len(counted), sum(size for _, size in counted)) == (1000, 100_000)
    counted.clear()
    near = source_of(path, StridedLayout((1000, 9000), np.dtype("u1"), 0, (10_000, 1)), chunks=-1)
    near.chunk(0, (0, 0)).load()
    assert 1 < len(counted) < 4  # 10 MB, in pieces of at most 8 MiB
    assert sum(size for _, size in counted) <= 9_999_000


def test_a_terabyte_opens_and_steps_by_its_own_bytes(tmp_path, counted):
    path = tmp_path / "vol.raw"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek((1 << 40) - 2)
        file.write(b"\x01\x02")
    source = source_of(path, dense((65536, 4096, 2048), ">u2"))
    assert counted == []
    grid = source.meta.levels[0].grid
    assert grid.chunks == (1, 512, 2048)
    last = source.chunk(0, tuple(count - 1 for count in grid.numblocks)).load()
    assert last[-1, -1, -1] == 0x0102
    assert counted == [((1 << 40) - 2**21, 2**21)]


def test_a_crop_reads_the_rows_of_its_box_alone(tmp_path, counted):
    path = tmp_path / "a.raw"
    stack = values((4, 300, 5000), "<u2")
    stack.tofile(path)
    source = source_of(path, dense(stack.shape, "<u2"))
    box = ((1, 3), (30, 130), (2000, 3000))
    expected = stack[1:3, 30:130, 2000:3000]
    np.testing.assert_array_equal(read_box(source, 0, box, keep=False), expected)
    assert sum(size for _, size in counted) == expected.nbytes
    assert len(counted) == 200
    counted.clear()
    np.testing.assert_array_equal(
        read_box(source, 0, box), expected
    )  # a view reads and keeps whole chunks
    assert sum(size for _, size in counted) > 4 * expected.nbytes
    counted.clear()
    np.testing.assert_array_equal(
        read_box(source, 0, box, keep=False), expected
    )  # which a crop then uses
    assert counted == []
    cut = source.chunk(0, (0, 0, 0)).sub_chunk(((0, 1), (2, 4), (6, 9)))
    np.testing.assert_array_equal(cut.load(), stack[:1, 2:4, 6:9])


# --- the grid
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "order", "expected"),
    [
        pytest.param((100, 1000, 1000), "u2", "C", (1, 1000, 1000), id="a plane at a time"),
        pytest.param((100, 4096, 4096), "u2", "C", (1, 256, 4096), id="bands of rows"),
        pytest.param((1000, 64, 64), "u2", "C", (32, 64, 64), id="small planes together"),
        pytest.param((5, 20, 8, 8), "u1", "C", (5, 20, 8, 8), id="a tiny stack at once"),
        pytest.param((5, 20, 64, 64), "u1", "C", (3, 20, 64, 64), id="evenly"),
        pytest.param((2, 3_000_000), "u2", "C", (1, 1_000_000), id="a row longer than a band"),
        pytest.param((40, 500, 600), "u2", "F", (40, 500, 50), id="as it is stored"),
        pytest.param((7, 8), "u2", "F", (7, 8), id="small enough"),
    ],
)
def test_chunks_fit_how_people_look_and_how_bytes_lie(shape, dtype, order, expected):
    layout = dense(shape, dtype, 0, order)
    found = auto_chunks(shape, layout.strides, layout.dtype.itemsize)
    assert found == expected


def test_frames_that_are_counted_stay_apart_where_bytes_lie_otherwise():
    assert auto_chunks((8, 64, 64), (1, 8, 512), 1)[0] > 1
    assert auto_chunks((8, 64, 64), (1, 8, 512), 1, single=1)[0] == 1


def test_a_little_padding_is_no_gap():
    assert run_nbytes((4, 100), (110, 1), 1) == 3 * 110 + 100
    assert run_nbytes((4, 100), (120, 1), 1) == 100


def test_interleaved_bands_follow_their_runs():
    rows, bands, columns = 1000, 200, 1000
    by_line = (
        columns * 2,
        columns * bands * 2,
        2,
    )  # shown as (band, row, column), stored row, band, column
    assert auto_chunks((bands, rows, columns), by_line, 2) == (1, 1000, 1000)
    by_pixel = (2, columns * bands * 2, bands * 2)
    assert auto_chunks((bands, rows, columns), by_pixel, 2) == (bands, 5, columns)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ("auto", (1, 500, 600)),
        (None, (1, 500, 600)),
        (-1, (40, 500, 600)),
        (100, (40, 100, 100)),
        ((2, 500, -1), (2, 500, 600)),
        ((None, "auto", 300), (1, 500, 300)),
        (((10, 30), 500, 600), ((10, 30), 500, 600)),
        ({"z": 5}, (5, 500, 600)),
        ({-1: 50, 0: (20, 20)}, ((20, 20), 500, 50)),
        ("1.2 MB", (2, 500, 600)),
        ("16 MiB", (20, 500, 600)),
        (np.int64(7), (7, 7, 7)),
    ],
)
def test_chunks_as_users_write_them(chunks, expected):
    assert (
        chunk_sizes(chunks, tuple("zyx"), (40, 500, 600), dense((40, 500, 600), "u2").strides, 2)
        == expected
    )


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ("16 parsec", "16 MiB"),
        ("0 B", "at least one byte"),
        (0, "at least 1"),
        (-2, "at least 1"),
        (1.5, "whole number"),
        (True, "whole number"),
        ((1, 2), "expected 3 sizes"),
        (((10, 20), 500, 600), "sum to 40"),
        (((40, 0), 500, 600), "positive"),
        ({"q": 1}, "'q'"),
        ({3: 1}, "numbers below 3"),
        ({"z": "many"}, "whole number"),
    ],
)
def test_a_bad_chunk_is_refused_with_the_reason(chunks, said):
    with pytest.raises(ValueError, match=said):
        chunk_sizes(chunks, tuple("zyx"), (40, 500, 600), dense((40, 500, 600), "u2").strides, 2)


def test_colors_are_never_split(tmp_path):
    path = tmp_path / "a.raw"
    pixels = values((3000, 1000, 3), "u1")
    pixels.tofile(path)
    stamp = FileStamp.at_open(str(path))
    source = StridedFileSource(
        dense(pixels.shape, "u1"), [(str(path), stamp)], "rgb", ("y", "x", "s")
    )
    assert source.meta.rgb
    assert source.meta.levels[0].grid.chunks == (600, 1000, 3)
    np.testing.assert_array_equal(full(source), pixels)
    assert source.rechunked(500).meta.levels[0].grid.chunks == (500, 500, 3)


def test_the_limits_are_those_of_the_documentation():
    assert (raw_grid.BAND, raw_grid.SMALL) == (2 << 20, 256 << 10)


# --- files that change
# -----------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path):
    path = tmp_path / "a.raw"
    values((4, 30, 40), "u2").tofile(path)
    return path, source_of(path, dense((4, 30, 40), "u2"), chunks=(1, 30, 40))


def replace(path, content):
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


def test_a_replaced_file_is_never_shown_as_the_old_one(opened):
    path, source = opened
    chunk = source.chunk(0, (0, 0, 0))
    before = chunk.key
    content = values((4, 30, 40), "u2", seed=1).tobytes()
    replace(path, content)
    for use in (chunk.load, lambda: chunk.key):
        with pytest.raises(ChunkReadError, match=r"expected .* found a file changed since") as info:
            use()
        assert info.value.path == str(path)
    free = StridedFileSource(source.layout, [(str(path), None)], "raw", ("z", "y", "x"))
    assert free.chunk(0, (0, 0, 0)).key != before
    np.testing.assert_array_equal(full(free).tobytes(), content)


def test_a_file_cut_short_gives_an_error_not_a_signal(opened):
    path, source = opened
    free = StridedFileSource(
        source.layout, [(str(path), None)], "raw", ("z", "y", "x"), chunks=(1, 30, 40)
    )
    os.truncate(path, 30 * 40 * 2 * 3 + 1)
    with pytest.raises(ChunkReadError, match=r"expected 9,600 bytes .* found 7,201 bytes"):
        source.chunk(0, (3, 0, 0)).load()
    with pytest.raises(
        ChunkReadError,
        match="expected a file of at least 9,600 bytes, found one that ends at byte 7,201",
    ):
        free.chunk(0, (3, 0, 0)).load()
    assert free.chunk(0, (2, 0, 0)).load().shape == (1, 30, 40)
    os.truncate(path, 10)
    with pytest.raises(ChunkReadError, match="one that ends at byte 10;"):
        free.chunk(0, (3, 0, 0)).load()


def test_a_file_that_is_gone_or_something_else(opened):
    path, source = opened
    path.unlink()
    for use in (source.chunk(0, (0, 0, 0)).load, lambda: source.chunk(0, (0, 0, 0)).key):
        with pytest.raises(ChunkReadError, match="found nothing there"):
            use()
    path.mkdir()
    with pytest.raises(ChunkReadError, match="no regular file"):
        source.chunk(0, (0, 0, 0)).load()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_the_file_does_not_hang(opened):
    path, source = opened
    free = StridedFileSource(source.layout, [(str(path), None)], "raw", ("z", "y", "x"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ChunkReadError, match="no regular file"):
        free.chunk(0, (0, 0, 0)).load()
    with pytest.raises(SourceOpenError, match="no regular file"):
        FileStamp.at_open(str(path))


def test_errors_of_the_disk_are_the_packages_own(opened, monkeypatch):
    path, source = opened
    path.chmod(0)
    monkeypatch.setattr(
        "builtins.open",
        lambda *_args, **_more: (_ for _ in ()).throw(PermissionError(13, "denied")),
    )
    with pytest.raises(ChunkReadError, match="denied"):
        source.chunk(0, (0, 0, 0)).load()
    path.chmod(0o600)


# --- rows
# --------------------------------------------------------------------------------------------------


def test_frames_that_the_table_counts_have_chunks_of_one(tmp_path):
    path = tmp_path / "a.raw"
    stack = values((6, 5, 8, 8), "u1")
    stack.tofile(path)
    source = source_of(path, dense(stack.shape, "u1"), row_axes=2)
    rows, finest = source.row_map, source.meta.levels[0]
    assert rows.axes == {"c": 6, "z": 5}
    assert finest.grid.chunks == (1, 1, 8, 8)
    for row, index in enumerate(itertools.product(range(6), range(5))):
        assert rows.index_of(row) == index
        assert rows.row_of((*index, 0, 0)) == row
        assert rows.row_of_chunk(finest, (*index, 0, 0)) == row
    grouped = source.rechunked({"z": 5})
    assert grouped.row_map.axes == rows.axes
    assert grouped.row_map.row_of((3, 1)) == 16
    assert grouped.row_map.row_of_chunk(grouped.meta.levels[0], (3, 0, 0, 0)) == 15


# --- coarse levels
# --------------------------------------------------------------------------------------------------


def test_a_big_volume_gets_an_overview_of_few_planes(tmp_path, counted):
    path = tmp_path / "a.raw"
    with path.open("wb") as file:
        file.truncate(640 * 2048 * 2048 * 2)
    source = source_of(path, dense((640, 2048, 2048), "<u2"))
    assert len(source.meta.levels) == 1
    source = source.with_strided_levels()
    assert source.with_strided_levels() is source
    finest, coarse = source.meta.levels
    assert coarse.shape == (40, 256, 256)
    assert (coarse.factors, coarse.first_center) == ((16, 8, 8), (0, 0, 0))
    read_box(source, 1, coarse.grid.full_box)
    assert sum(size for _, size in counted) < 40 * 256 * 2048 * 2 + 1  # its rows alone
    assert source.rechunked((2, -1, -1)).meta.levels[0].grid.chunks == (2, 2048, 2048)
    assert source.rechunked(-1).meta.levels[1] == coarse
    assert finest.grid == source_of(path, dense((640, 2048, 2048), "<u2")).meta.levels[0].grid


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        pytest.param("zyx", (100, 1000, 1000), [], id="small"),
        pytest.param("tyx", (600, 1024, 1024), [], id="time is not space"),
        pytest.param("czyx", (2, 600, 1024, 1024), [(1, 16, 4, 4)], id="channels stay"),
        pytest.param(("page", "y", "x"), (600, 1024, 1024), [(16, 4, 4)], id="pages are planes"),
        pytest.param(
            "yx",
            (40_000, 30_000),
            [(2, 2), (4, 4), (8, 8), (16, 16), (32, 32)],
            id="large planes",
        ),
        pytest.param(
            "zyx",
            (20, 20_000, 9000),
            [(1, 2, 2), (1, 4, 4), (1, 8, 8), (1, 16, 16)],
            id="planes first",
        ),
    ],
)
def test_which_levels_an_image_gets(axes, shape, expected):
    finest = LevelMeta(ChunkGrid(shape, shape), (1.0,) * len(shape))
    meta = ImageMeta("", tuple(axes), np.dtype("<u2"), (finest,))
    assert [level.steps for level in strided_levels(meta, 0)] == expected


def test_coarse_levels_are_every_kth_pixel(tmp_path, monkeypatch):
    limits = {"PLANE_NBYTES": 0, "PLANE_SIDE": 16, "LEAST_SIDE": 1}
    limits |= {"VOLUME_NBYTES": 0, "VOLUME_SIDE": 5, "VOLUME_PLANES": 3}
    for name, value in limits.items():
        monkeypatch.setattr(coarse_levels, name, value)
    path = tmp_path / "a.raw"
    stack = values((3, 10, 30, 40), ">i2")
    stack.tofile(path)
    for more in ({}, {"row_axes": 2}, {"frames": Frames(2, 30 * 40 * 2, 30)}):
        layout = dense(stack.shape, ">i2")
        stamp = FileStamp.at_open(str(path))
        source = StridedFileSource(
            layout, [(str(path), stamp)], "raw", ("c", "z", "y", "x"), coarse=True, **more
        )
        assert [level.factors for level in source.meta.levels] == [
            (1, 1, 1, 1),
            (1, 1, 2, 2),
            (1, 1, 4, 4),
            (1, 4, 8, 8),
        ]
        for number, level in enumerate(source.meta.levels):
            expected = stack[tuple(slice(None, None, int(factor)) for factor in level.factors)]
            np.testing.assert_array_equal(read_box(source, number, level.grid.full_box), expected)
        if more.get("row_axes"):
            assert source.row_map.row_of_chunk(source.meta.levels[3], (2, 1, 0, 0)) == 24


def test_rows_that_are_interleaved_are_read_together(tmp_path):
    path = tmp_path / "a.raw"
    cube = values((50, 60, 200), "<u2")  # lines, samples, bands
    cube.tofile(path)
    layout = StridedLayout((200, 50, 60), np.dtype("<u2"), 0, (2, 24_000, 400))
    source = source_of(path, layout, row_axes=1)
    assert source.meta.levels[0].grid.chunks == (200, 50, 60)
    assert source.row_map.axes == {"z": 200}
    np.testing.assert_array_equal(full(source), np.moveaxis(cube, -1, 0))
