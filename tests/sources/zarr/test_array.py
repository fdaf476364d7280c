"""Arrays against zarr's own reading, bit by bit: types, orders, codecs, chunk forms; damage."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from operator import methodcaller
from pathlib import Path

import imagecodecs
import numcodecs
import numpy as np
import pytest
import zarr
import zarr.codecs as zc
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_lazyload as nl
from helpers.stores import (
    ArraySource,
    CountingStore,
    array_at,
    v2_json,
    v3_json,
    write_raw,
)
from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.loading.read_box import read_block, read_box
from napari_lazyload.sources.zarr import codecs
from napari_lazyload.sources.zarr.array import IndexCache
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import open_store

DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
V2_CODECS = {
    "none": None,
    "zstd": numcodecs.Zstd(1),
    "blosc lz4": numcodecs.Blosc("lz4", 3, numcodecs.Blosc.SHUFFLE),
    "blosc zstd": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE),
    "blosc blosclz": numcodecs.Blosc("blosclz", 9, numcodecs.Blosc.NOSHUFFLE),
    "gzip": numcodecs.GZip(1),
    "zlib": numcodecs.Zlib(1),
    "lz4": numcodecs.LZ4(),
    "bz2": numcodecs.BZ2(1),
    "lzma": numcodecs.LZMA(),
}
V3_CODECS = {
    "none": (),
    "zstd": (zc.ZstdCodec(level=1, checksum=True),),
    "gzip": (zc.GzipCodec(level=1),),
    "blosc lz4": (zc.BloscCodec(cname="lz4", shuffle="shuffle", typesize=2),),
    "blosc zstd": (zc.BloscCodec(cname="zstd", shuffle="bitshuffle", typesize=2),),
    "zstd + gzip": (zc.ZstdCodec(), zc.Crc32cCodec(), zc.GzipCodec()),
}


def pixels_of(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(
            limits.min, limits.max, shape, dtype.newbyteorder("="), endpoint=True
        ).astype(dtype)
    real = rng.normal(0, 100, shape)
    return (real + 1j * rng.normal(0, 100, shape) if dtype.kind == "c" else real).astype(dtype)


def make(path, **options):
    """Write an array by zarr, whose warnings about codecs outside the standard are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zarr.create_array(str(path), **options)


def read_all(array):
    return read_box(ArraySource(array), 0, array.grid.full_box, keep=False)


def equal_bits(found, expected):
    return (
        found.shape == expected.shape
        and found.tobytes() == np.ascontiguousarray(expected).tobytes()
    )


def small_shapes(most=4):
    return st.lists(st.integers(0, 9), min_size=0, max_size=most).map(tuple)


@st.composite
def arrays(draw):
    """Shape, chunks that may be larger, shards, type, order and what goes with them."""
    shape = draw(small_shapes())
    chunks = tuple(draw(st.integers(1, 11)) for _ in shape)
    version = draw(st.sampled_from([2, 3]))
    options = {"shape": shape, "chunks": chunks, "zarr_format": version}
    codecs = V2_CODECS if version == 2 else V3_CODECS
    name = draw(st.sampled_from(sorted(codecs)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    big = draw(st.booleans()) and dtype.itemsize > 1
    if version == 2:
        dtype = dtype.newbyteorder(">" if big else "<")
        options |= {"order": draw(st.sampled_from("CF")), "compressors": codecs[name]}
    else:
        options["serializer"] = zc.BytesCodec(endian="big" if big else "little")
        options["compressors"] = codecs[name]
        if draw(st.booleans()) and shape:
            options["filters"] = (
                zc.TransposeCodec(order=draw(st.permutations(range(len(shape))))),
            )
        if draw(st.booleans()) and shape:
            options["shards"] = tuple(size * draw(st.integers(1, 3)) for size in chunks)
    kind = "v2" if version == 2 or draw(st.booleans()) else "default"
    options["chunk_key_encoding"] = {"name": kind, "separator": draw(st.sampled_from("./"))}
    fill = draw(st.sampled_from([0, 1]))
    return (
        {**options, "dtype": dtype, "fill_value": dtype.type(fill)},
        name,
        draw(st.integers(0, 1000)),
    )


def draw_box(data, shape):
    pairs = [
        sorted((data.draw(st.integers(0, size)), data.draw(st.integers(0, size)))) for size in shape
    ]
    return tuple(map(tuple, pairs))


@settings(max_examples=100)
@given(case=arrays(), data=st.data())
def test_random_boxes_of_arrays_that_zarr_wrote_are_zarrs_own(tmp_path_factory, case, data):
    options, codec, seed = case
    folder = tmp_path_factory.mktemp("zarr")
    written = make(folder / "a", **options)
    shape = options["shape"]
    if all(shape):  # else there is nothing to write
        pixels = pixels_of(shape, options["dtype"], seed)
        part = tuple(slice(*pair) for pair in draw_box(data, shape))
        written[part] = pixels[part]  # chunks outside the part stay away

    array = array_at(str(folder / "a"))
    box = draw_box(data, shape)
    found = read_box(ArraySource(array), 0, box, keep=False)

    assert array.shape == shape
    assert array.dtype == options["dtype"].newbyteorder("=")
    assert array.dtype.isnative
    assert (
        array.codec == ("sharded " + codec).removesuffix(" none") if "shards" in options else codec
    )
    assert array.shard_shape == options.get("shards")
    assert array.nbytes == found.itemsize * np.prod(shape, dtype=int)
    expected = np.asarray(written[...]).astype(array.dtype)
    assert equal_bits(found, expected[tuple(slice(*pair) for pair in box)])
    for index in array.grid.touched(array.grid.full_box):
        chunk = array.chunk(index).load()
        assert chunk.flags.c_contiguous
        assert chunk.shape == tuple(b - a for a, b in array.grid.bounds(index))
        assert chunk.dtype == array.dtype


@pytest.mark.parametrize("version", [2, 3])
def test_a_single_number_opens(tmp_path, version):
    make(tmp_path / "a", shape=(), dtype="float32", zarr_format=version)[...] = 2.5

    array = array_at(str(tmp_path / "a"))
    assert (array.shape, array.grid.numblocks) == ((), ())
    assert read_all(array) == np.float32(2.5)


V2_FILTERS = {
    "delta": ([numcodecs.Delta("<i4")], numcodecs.Zstd(1), "int32"),
    "fixedscaleoffset": (
        [numcodecs.FixedScaleOffset(offset=10, scale=10, dtype="<f8", astype="<i4")],
        None,
        "float64",
    ),
    "shuffle + zlib": ([numcodecs.Shuffle(4)], numcodecs.Zlib(1), "int32"),
    "quantize": ([numcodecs.Quantize(3, "<f4")], numcodecs.Zstd(1), "float32"),
    "bitround": ([numcodecs.BitRound(4)], numcodecs.Blosc(), "float32"),
    "astype": ([numcodecs.AsType("<i2", "<i4")], numcodecs.GZip(1), "int32"),
    "packbits": ([numcodecs.PackBits()], numcodecs.Zstd(1), "bool"),
    "crc32 + fletcher32": ([numcodecs.CRC32(), numcodecs.Fletcher32()], numcodecs.LZ4(), "uint16"),
    "delta, F": ([numcodecs.Delta("<i4")], numcodecs.Zstd(1), "int32"),
}


@pytest.mark.parametrize("case", V2_FILTERS)
def test_filters_of_version_2_are_undone(tmp_path, case):
    filters, compressor, dtype = V2_FILTERS[case]
    pixels = (pixels_of((13, 9), "float64") * 10).astype(dtype)
    order = "F" if case.endswith("F") else "C"
    written = make(
        tmp_path / "a", shape=(13, 9), chunks=(5, 4), dtype=dtype, zarr_format=2, order=order,
        filters=filters, compressors=compressor,
    )  # fmt: skip
    written[...] = pixels

    array = array_at(str(tmp_path / "a"))

    assert equal_bits(read_all(array), written[...])
    assert array.codec.split(" + ")[0] == filters[0].codec_id


def v3_extras():
    try:
        from zarr.codecs import numcodecs as zn
    except ImportError:  # before zarr 3.1
        from numcodecs import zarr3 as zn

    return {
        "delta": {"filters": [zn.Delta(dtype="int32")]},
        "shuffle": {"compressors": [zn.Shuffle(elementsize=4), zn.Zlib(level=1)]},
        "lz4 + crc32": {"compressors": [zn.LZ4(), zn.CRC32()]},
        "bz2": {"compressors": [zn.BZ2(level=1)]},
        "delta in shards": {"filters": [zn.Delta(dtype="int32")], "shards": (10, 8)},
        "lzma in shards": {"compressors": [zn.LZMA()], "shards": (10, 8)},
    }


@pytest.mark.parametrize(
    "case", ["delta", "shuffle", "lz4 + crc32", "bz2", "delta in shards", "lzma in shards"]
)
def test_codecs_of_version_3_that_only_libraries_know_are_undone(tmp_path, case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = v3_extras()[case]
    written = make(tmp_path / "a", shape=(13, 9), chunks=(5, 4), dtype="int32", **options)
    written[...] = pixels_of((13, 9), "int32")

    array = array_at(str(tmp_path / "a"))

    assert equal_bits(read_all(array), written[...])
    assert array.shard_shape == options.get("shards")
    again = pickle.loads(pickle.dumps(array.chunk((1, 1))))
    assert equal_bits(again.load(), written[5:10, 4:8])


def test_several_transposes_follow_one_another(tmp_path):
    pixels = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    turn = {"name": "transpose", "configuration": {"order": [1, 0, 2]}}
    other = {"name": "transpose", "configuration": {"order": [1, 2, 0]}}
    codecs = [turn, other, {"name": "bytes", "configuration": {"endian": "little"}}]
    grid = {"name": "regular", "configuration": {"chunk_shape": [2, 3, 4]}}
    data = pixels.transpose(1, 0, 2).transpose(1, 2, 0).tobytes()
    path = write_raw(
        tmp_path / "a", v3_json(shape=[2, 3, 4], chunk_grid=grid, codecs=codecs), {"c/0/0/0": data}
    )

    np.testing.assert_array_equal(read_all(array_at(path)), pixels)


def test_shards_in_shards_and_packed_shards_are_read_whole(tmp_path):
    inner = zc.ShardingCodec(chunk_shape=(2, 2), codecs=[zc.BytesCodec(), zc.ZstdCodec()])
    nested = make(
        tmp_path / "nested",
        shape=(9, 9),
        chunks=(4, 4),
        shards=(8, 8),
        dtype="uint16",
        serializer=inner,
        compressors=(),
    )
    packed = make(
        tmp_path / "packed", shape=(9, 9), chunks=(8, 8), dtype="uint16",
        serializer=zc.ShardingCodec(chunk_shape=(4, 4)), compressors=[zc.GzipCodec()],
    )  # fmt: skip
    names = {"nested": "sharded sharded zstd", "packed": "sharded gzip"}
    for name, written in (("nested", nested), ("packed", packed)):
        written[...] = pixels_of((9, 9), "uint16")
        try:
            written[...]
        except AssertionError as err:
            pytest.skip(f"this zarr cannot read what it wrote: {err}")
        array = array_at(str(tmp_path / name))
        assert equal_bits(read_all(array), written[...]), name
        assert array.codec == names[name]
    assert array_at(str(tmp_path / "packed")).shard_shape is None


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize(
    "codecs", [["bytes"], ["bytes", "crc32c"], ["transpose", "bytes", "crc32c"]]
)
def test_the_index_of_shards_lies_at_either_end_with_or_without_a_checksum(
    tmp_path, location, codecs
):
    index = {
        "bytes": zc.BytesCodec(endian="big"),
        "crc32c": zc.Crc32cCodec(),
        "transpose": zc.TransposeCodec(order=(2, 1, 0)),
    }
    sharding = zc.ShardingCodec(
        chunk_shape=(2, 3),
        codecs=[zc.BytesCodec()],
        index_codecs=[index[name] for name in codecs],
        index_location=location,
    )
    written = make(
        tmp_path / "a",
        shape=(9, 9),
        chunks=(4, 6),
        dtype="uint16",
        serializer=sharding,
        compressors=(),
    )
    written[...] = pixels_of((9, 9), "uint16")

    array = array_at(str(tmp_path / "a"))

    assert array.shard_shape == (4, 6)
    assert array.grid.chunks == (2, 3)
    assert equal_bits(read_all(array), written[...])


def test_where_no_separator_is_named_both_are_tried(tmp_path):
    chunk = np.arange(6, dtype="<u2").tobytes()
    path = write_raw(tmp_path / "a", v2_json(), {"0.0": chunk, "1/1": chunk})

    found = read_all(array_at(path))

    assert found[:2, :3].tobytes() == found[2:, 3:].tobytes() == chunk
    assert (found[2:, :3] == 7).all()
    for index, name in (((0, 0), "0.0"), ((1, 1), "1/1")):
        before = array_at(path).chunk(index).key
        os.utime(tmp_path / "a" / name, (1, 1))
        assert array_at(path).chunk(index).key != before
    named = array_at(write_raw(tmp_path / "b", v2_json(dimension_separator="."), {"1/1": chunk}))
    assert (read_all(named) == 7).all()


@pytest.mark.parametrize("index", [(0, 0), (1, 1), (1, 0)])
def test_the_first_chunk_tells_whether_names_are_others_whichever_is_asked_for(tmp_path, index):
    chunk = np.arange(6, dtype="<u2").tobytes()
    stray = array_at(write_raw(tmp_path / "a", v2_json(dimension_separator="."), {"1/1": chunk}))
    assert (stray.chunk(index).load() == 7).all()
    assert (stray.chunk((1, 1)).load() == 7).all()
    both = {"0/0": chunk, "1/1": chunk}
    other = array_at(write_raw(tmp_path / "b", v2_json(dimension_separator="."), both))
    with pytest.warns(nl.LazyLoadWarning, match="they are read by the names that they have"):
        other.chunk(index).load()
    assert other.chunk((1, 1)).load().tobytes() == chunk


def test_looking_for_other_names_changes_nothing_for_other_threads(tmp_path, monkeypatch):
    from napari_lazyload.sources.zarr import array as array_module

    chunk = np.arange(6, dtype="<u2").tobytes()
    array = array_at(write_raw(tmp_path / "b", v2_json(dimension_separator="."), {"1/1": chunk}))
    seen, read = [], array_module.read_encoded

    def looking(store, key, *args):
        if key.endswith("0/0"):  # another thread asks at this very moment
            seen.append(array.keys((1, 1)))
        return read(store, key, *args)

    monkeypatch.setattr(array_module, "read_encoded", looking)
    assert (array.chunk((0, 0)).load() == 7).all()
    assert seen == [("1.1",)]


def test_chunks_of_different_sizes_are_read(tmp_path):
    grid = {
        "name": "rectilinear",
        "configuration": {"kind": "inline", "chunk_shapes": [[1, [2, 2]], 4]},
    }
    chunks = {
        f"c/{y}/{x}": np.full((1 if y == 0 else 2) * 4, 10 * y + x, "<u2").tobytes()
        for y in range(3)
        for x in range(2)
    }
    array = array_at(write_raw(tmp_path / "a", v3_json(chunk_grid=grid), chunks))

    assert array.grid.chunks == ((1, 2, 1), 4)
    expected = np.array([[0] * 4 + [1] * 2, *[[10] * 4 + [11] * 2] * 2, [20] * 4 + [21] * 2])
    assert np.array_equal(read_all(array), expected)


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
SIZES = {
    "name": "rectilinear",
    "configuration": {"kind": "inline", "chunk_shapes": [[2, 4], [2, [4, 1]]]},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_chunks_of_different_sizes_go_through_filters(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 9999, (6, 6)).astype("<u2")
    delta = numcodecs.Delta(dtype="<u2")
    chunks = {
        f"c/{y}/{x}": delta.encode(np.ascontiguousarray(pixels[rows, columns])).tobytes()
        for y, rows in enumerate((slice(0, 2), slice(2, 6)))
        for x, columns in enumerate((slice(0, 2), slice(2, 6)))
    }
    codecs = [{"name": "numcodecs.delta", "configuration": {"dtype": "<u2"}}, LITTLE]
    array = array_at(
        write_raw(tmp_path / "a", v3_json(shape=[6, 6], chunk_grid=SIZES, codecs=codecs), chunks)
    )

    assert array.grid.chunks == ((2, 4), (2, 4))
    assert np.array_equal(read_all(array), pixels)


def test_shards_of_different_sizes_are_read_whole(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 9999, (6, 6)).astype("<u2")
    sharding = {
        "chunk_shape": [2, 2],
        "codecs": [LITTLE, {"name": "gzip", "configuration": {"level": 1}}],
    }
    codecs = [{"name": "sharding_indexed", "configuration": {**sharding, "index_codecs": [LITTLE]}}]
    chunks = {}
    for y, rows in enumerate((slice(0, 2), slice(2, 6))):
        for x, columns in enumerate((slice(0, 2), slice(2, 6))):
            shard = pixels[rows, columns]
            grid = {"name": "regular", "configuration": {"chunk_shape": list(shard.shape)}}
            path = write_raw(
                tmp_path / f"{y}{x}",
                v3_json(shape=list(shard.shape), chunk_grid=grid, codecs=codecs),
            )
            zarr.open_array(path)[...] = shard
            chunks[f"c/{y}/{x}"] = (tmp_path / f"{y}{x}" / "c" / "0" / "0").read_bytes()
    array = array_at(
        write_raw(tmp_path / "a", v3_json(shape=[6, 6], chunk_grid=SIZES, codecs=codecs), chunks)
    )

    assert array.codec == "sharded gzip"
    assert np.array_equal(read_all(array), pixels)


FILLS = [
    ("<f4", "NaN", np.nan),
    ("<f4", "-Infinity", -np.inf),
    ("<f8", 1.5, 1.5),
    ("<f4", None, 0),
    ("|b1", True, True),
    ("|b1", 0, False),
    ("<i2", -3.0, -3),
    ("<u2", None, 0),
    ("<c8", [1.0, "NaN"], complex(1, np.nan)),
    ("<M8[ns]", "NaT", np.iinfo("i8").min),
    ("<m8[s]", 5, 5),
]


@pytest.mark.parametrize(("dtype", "fill", "expected"), FILLS)
def test_missing_chunks_are_full_of_the_fill_value(tmp_path, dtype, fill, expected):
    array = array_at(write_raw(tmp_path / "a", v2_json(dtype=dtype, fill_value=fill)))

    assert np.array_equal(
        read_all(array), np.full((4, 6), expected, array.dtype), equal_nan=array.dtype.kind in "fc"
    )
    assert array.stored_dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "fill", "bits"),
    [
        ("float32", "0x7fc00001", 0x7FC00001),
        ("float16", "0x3c00", 0x3C00),
        ("float64", "Infinity", 0x7FF << 52),
    ],
)
def test_fill_values_of_version_3_may_be_bits(tmp_path, dtype, fill, bits):
    array = array_at(write_raw(tmp_path / "a", v3_json(data_type=dtype, fill_value=fill)))

    assert (read_all(array).view(f"u{array.dtype.itemsize}") == bits).all()


def test_dates_are_read_as_the_numbers_that_are_stored(tmp_path):
    times = np.array([["2020-01-01", "NaT", "1969-12-31"]] * 2, "<M8[s]")
    old = array_at(
        write_raw(
            tmp_path / "a",
            v2_json(shape=[2, 3], dtype=">M8[s]"),
            {"0.0": times.astype(">M8[s]").tobytes()},
        )
    )
    data_type = {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}}
    new = array_at(
        write_raw(
            tmp_path / "b", v3_json(shape=[2, 3], data_type=data_type), {"c/0/0": times.tobytes()}
        )
    )

    for array in (old, new):
        assert array.dtype == np.int64
        assert np.array_equal(read_all(array), times.view("<i8"))
    assert (old.stored_dtype, new.stored_dtype) == (">M8[s]", "datetime64[s]")


def test_names_of_axes_come_from_either_version(tmp_path):
    new = array_at(write_raw(tmp_path / "a", v3_json(dimension_names=["y", None])))
    path = write_raw(tmp_path / "b", v2_json())
    (tmp_path / "b" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["lat", "lon"]}')

    assert new.dimension_names == ("y", None)
    assert array_at(path).dimension_names == ("lat", "lon")
    assert (
        array_at(write_raw(tmp_path / "c", v3_json(dimension_names=["y"]))).dimension_names is None
    )
    assert array_at(write_raw(tmp_path / "d", v2_json())).dimension_names is None


@pytest.fixture
def volume(tmp_path):
    """Three arrays with the same pixels, by name."""
    pixels = pixels_of((20, 30, 40), "uint16")
    options = {"shape": pixels.shape, "chunks": (5, 16, 16), "dtype": "uint16"}
    kinds = {"v2": {"zarr_format": 2}, "v3": {}, "sharded": {"shards": (10, 16, 32)}}
    for name, more in kinds.items():
        make(tmp_path / name, **options, **more)[...] = pixels
    return tmp_path, pixels


@pytest.mark.parametrize("name", ["v2", "v3", "sharded"])
def test_threads_and_another_process_read_the_same(volume, name):
    folder, pixels = volume
    array = array_at(str(folder / name))
    boxes = [((k, k + 7), (k, 30), (0, 40 - k)) for k in range(12)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda box: read_box(ArraySource(array), 0, box, keep=False), boxes))

    for box, got in zip(boxes, found, strict=True):
        assert np.array_equal(got, pixels[tuple(slice(*pair) for pair in box)])
    if name == "sharded":
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            there = pool.submit(methodcaller("load"), array.chunk((1, 1, 2))).result(60)
        assert np.array_equal(there, pixels[5:10, 16:30, 32:40])


@pytest.mark.parametrize("name", ["v2", "v3", "sharded"])
def test_chunks_pickle_small_and_equal_arrays_are_one(volume, name):
    folder, _ = volume
    chunk = array_at(str(folder / name)).chunk((0, 1, 2))

    again = pickle.loads(pickle.dumps(chunk))

    assert again == chunk
    assert again.array is chunk.array
    assert again.key == chunk.key
    assert len(pickle.dumps(chunk)) < 1500


@pytest.mark.parametrize(("name", "files"), [("v2", 4), ("v3", 4), ("sharded", 4)])
def test_only_the_touched_chunks_are_read_and_each_once(volume, name, files):
    folder, pixels = volume
    store = CountingStore(open_store(str(folder / name)))
    array = array_at(store)
    metadata_nbytes, box = store.read_nbytes, ((3, 8), (0, 16), (10, 20))
    store.forget()

    assert np.array_equal(read_box(ArraySource(array), 0, box, keep=False), pixels[3:8, :16, 10:20])

    keys = {key for method, key in store.calls}
    sizes = {key: (folder / name / key).stat().st_size for key in keys}
    assert metadata_nbytes < 3000
    if name == "sharded":  # one shard: its index once, then the ranges of four chunks
        assert len(keys) == 1
        assert [method for method, _ in store.calls] == ["get_range"] * 5
        assert store.read_nbytes <= sum(sizes.values())
    else:
        assert len(store.calls) == len(keys) == files
        assert store.read_nbytes == sum(sizes.values())


def test_the_index_of_a_shard_is_read_once_by_many_threads_and_again_when_it_was_replaced(volume):
    folder, _ = volume
    store = CountingStore(open_store(str(folder / "sharded")))
    array = array_at(store)
    store.forget()
    indices = list(array.grid.touched(((0, 10), (0, 16), (0, 32))))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: array.chunk(index).load(), indices))
    assert len(store.calls) == 1 + len(indices)

    key = array.chunk((0, 0, 0)).key
    make(
        folder / "sharded",
        shape=(20, 30, 40),
        chunks=(5, 16, 16),
        shards=(10, 16, 32),
        dtype="uint16",
        overwrite=True,
    )[...] = 3  # which packs to other lengths
    assert array.chunk((0, 0, 0)).key != key
    assert (array.chunk((1, 0, 0)).load() == 3).all()


def test_the_key_of_a_chunk_tells_of_its_coming_its_change_and_whose_it_is(volume):
    folder, pixels = volume
    arrays = [array_at(str(folder / name)) for name in ("v2", "v3", "sharded")]
    chunk = arrays[1].chunk((0, 0, 0))
    before = chunk.key
    path = folder / "v3" / "c" / "0" / "0" / "0"
    data = path.read_bytes()

    path.unlink()
    gone = chunk.key
    assert not chunk.load().any()
    path.write_bytes(data)

    assert len({before, gone, chunk.key}) == 3
    assert len({array.chunk((0, 0, 0)).key for array in arrays}) == 3
    assert chunk.path == str(path)
    assert np.array_equal(chunk.load(), pixels[:5, :16, :16])


def test_metadata_that_were_mended_while_it_was_open_show_no_pixels_of_before(tmp_path):
    stored = np.arange(6, dtype="<u2").reshape(2, 3)
    path = write_raw(tmp_path / "a", v2_json(), {"0.0": stored.tobytes()})
    found = [read_block(ArraySource(array_at(path)), 0, index) for index in ((0, 0), (1, 1))]
    assert [block.tolist() for block in found] == [stored.tolist(), [[7] * 3] * 2]
    (tmp_path / "a" / ".zarray").write_text(json.dumps(v2_json(dtype=">u2", fill_value=9)))
    found = [read_block(ArraySource(array_at(path)), 0, index) for index in ((0, 0), (1, 1))]
    assert [block.tolist() for block in found] == [stored.byteswap().tolist(), [[9] * 3] * 2]


def test_attributes_are_no_part_of_what_a_chunk_is(tmp_path):
    path = write_raw(tmp_path / "a", v3_json(attributes={"stage": 1}))
    before = array_at(path)
    (tmp_path / "a" / "zarr.json").write_text(json.dumps(v3_json(attributes={"stage": 2})))
    assert array_at(path) is before


def test_nothing_is_written(volume):
    folder, _ = volume
    before = {path: path.stat() for path in folder.rglob("*")}

    for name in ("v2", "v3", "sharded"):
        read_all(array_at(str(folder / name)))

    after = {path: path.stat() for path in folder.rglob("*")}
    assert {path: (s.st_mtime_ns, s.st_size) for path, s in before.items()} == {
        path: (s.st_mtime_ns, s.st_size) for path, s in after.items()
    }


def test_huge_virtual_arrays_open_and_give_chunks_without_their_size(tmp_path):
    array = array_at(write_raw(tmp_path / "a", v2_json(shape=[10**9, 10**9], chunks=[256, 256])))

    assert array.nbytes == 2 * 10**18
    assert array.chunk((3_000_000, 3_000_000)).load().shape == (256, 256)


def test_imagecodecs_own_codecs_of_version_2_are_known(tmp_path):
    import imagecodecs

    pixels = pixels_of((2, 3), "uint16")
    path = write_raw(
        tmp_path / "a",
        v2_json(compressor={"id": "imagecodecs_jpegxl", "lossless": True}),
        {"0.0": imagecodecs.jpegxl_encode(pixels, lossless=True)},
    )

    assert np.array_equal(array_at(path).chunk((0, 0)).load(), pixels)


def test_reading_needs_no_zarr(tmp_path, volume):
    folder, _ = volume
    tests = Path(__file__).parents[2]  # where helpers is
    script = (
        "import sys\n"
        "from helpers.stores import array_at\n"
        "for name in ('v2', 'v3', 'sharded'):\n"
        f"    array_at({str(folder)!r} + '/' + name).chunk((0, 0, 0)).load()\n"
        "print([name for name in ('zarr', 'dask', 'obstore') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tests, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_node_and_array_agree(volume):
    folder, _ = volume
    node = read_node(open_store(str(folder)), "v3")

    assert array_at(open_store(str(folder)), "v3").path == node.path == "v3"


def test_threads_that_wait_for_an_index_share_its_error_and_later_ones_read_again():
    kept, begun, go, calls = IndexCache(), threading.Event(), threading.Event(), []

    def read():
        calls.append(1)
        begun.set()
        assert go.wait(20)
        if len(calls) == 1:
            msg = "broken"
            raise ChunkReadError(msg, "there")
        return np.zeros((1, 2), "uint64")

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(kept.get, "key", read)
        assert begun.wait(20)
        others = [pool.submit(kept.get, "key", read) for _ in range(3)]
        while pool._work_queue.qsize():
            time.sleep(0.001)
        go.set()
        errors = [future.exception(20) for future in (first, *others)]

    reported = [error for error in errors if error is not None]
    assert reported
    assert all(str(error) == "broken" for error in reported)
    assert len(set(map(id, reported))) == len(reported)
    assert kept.get("key", read).shape == (1, 2)
    assert len(calls) == 2


def test_an_index_whose_reader_was_interrupted_is_read_by_the_next():
    kept, begun, go = IndexCache(), threading.Event(), threading.Event()

    def interrupted():
        begun.set()
        assert go.wait(20)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "key", interrupted)
        assert begun.wait(20)
        second = pool.submit(kept.get, "key", lambda: None)
        while pool._work_queue.qsize():
            time.sleep(0.001)
        go.set()

        assert second.result(20) is None
        assert isinstance(first.exception(20), KeyboardInterrupt)


def test_indices_are_kept_up_to_a_budget(monkeypatch):
    monkeypatch.setattr("napari_lazyload.sources.zarr.array.INDEX_BUDGET", 3000)
    kept, calls = IndexCache(), []

    def read(key):
        return kept.get(key, lambda: calls.append(key) or np.zeros((60, 2), "uint64"))

    for key in "abca":
        read(key)
    assert calls == ["a", "b", "c", "a"]
    read("c")
    assert calls == ["a", "b", "c", "a"]
    read("b")  # in the place of the one that was not asked for again
    read("c")
    assert calls == ["a", "b", "c", "a", "b"]


def test_an_index_larger_than_the_budget_is_kept_until_the_next(monkeypatch):
    monkeypatch.setattr("napari_lazyload.sources.zarr.array.INDEX_BUDGET", 10)
    kept, calls = IndexCache(), []
    for _ in range(2):
        kept.get("a", lambda: calls.append("a") or np.zeros((60, 2), "uint64"))
    assert calls == ["a"]


def test_an_index_is_kept_before_its_read_is_over(monkeypatch):
    kept, calls = IndexCache(), []

    class Watched(Future):
        def set_result(self, result):
            kept.get("a", lambda: calls.append("again"))  # as a thread that comes at this moment
            super().set_result(result)

    monkeypatch.setattr("napari_lazyload.sources.zarr.array.Future", Watched)
    kept.get("a", lambda: calls.append("read"))
    assert calls == ["read"]


def test_a_codec_that_no_package_here_has_is_named_at_opening(tmp_path, monkeypatch):
    monkeypatch.setattr(codecs, "_has_pcodec", lambda: False)
    monkeypatch.setattr(codecs, "_config_for_imagecodecs", lambda config: config)
    path = write_raw(tmp_path / "a", v2_json(compressor={"id": "pcodec"}), {})
    with pytest.raises(SourceOpenError, match="codec 'pcodec' is not known here"):
        array_at(path)


def test_codecs_of_numcodecs_whose_packages_are_not_there_are_decoded_by_imagecodecs(tmp_path):
    """Their bytes are the same: both wrap the same libraries."""
    floats = np.linspace(0, 9, 24, dtype="f4").reshape(4, 6)
    encoded = {
        "zfpy": imagecodecs.zfp_encode,
        "pcodec": imagecodecs.pcodec_encode,
        "brotli": imagecodecs.brotli_encode,
        "lz4f": imagecodecs.lz4f_encode,
    }
    blocks = {
        (y, x): floats[2 * y : 2 * y + 2, 3 * x : 3 * x + 3].copy() for y, x in np.ndindex(2, 2)
    }
    if not imagecodecs.PCODEC.available:  # the lowest supported version has it on no machine
        del encoded["pcodec"]
    for name, encode in encoded.items():
        chunks = {f"{y}.{x}": bytes(encode(block)) for (y, x), block in blocks.items()}
        config = {"id": name, **({"mode": 4, "rate": -1} if name == "zfpy" else {})}
        metadata = v2_json(dtype="<f4", compressor=config, fill_value=0)
        path = write_raw(tmp_path / name, metadata, chunks)
        np.testing.assert_array_equal(read_all(array_at(path)), floats)
        if name in ("zfpy", "pcodec"):
            listed = [{"name": f"numcodecs.{name}", "configuration": config}]
            metadata = v3_json(data_type="float32", codecs=listed, fill_value=0)
            chunks = {f"c/{key.replace('.', '/')}": data for key, data in chunks.items()}
            path = write_raw(tmp_path / f"{name} 3", metadata, chunks)
            np.testing.assert_array_equal(read_all(array_at(path)), floats)
