"""What is wrong with arrays: metadata that cannot be read right, damaged chunks, damaged shards."""

from __future__ import annotations

import os
import shutil

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.stores import ArraySource, array_at, v2_json, v3_json, write_raw
from napari_lazyload.core.errors import ChunkReadError, LazyLoadWarning, SourceOpenError
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.zarr.array import open_array
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import open_store

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
SHARDING = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [2, 3], "codecs": [LITTLE]},
}
WRONG = {
    "records": (v2_json(dtype=[["a", "<u2"], ["b", "<f4"]]), "records of several fields"),
    "objects": (v2_json(dtype="|O", filters=[{"id": "pickle"}]), "holds objects"),
    "text": (v2_json(dtype="<U4"), "holds text"),
    "bytes": (v2_json(dtype="|S4"), "holds bytes"),
    "raw": (v2_json(dtype="|V2"), "holds raw bytes"),
    "no type": (v2_json(dtype="what"), "type 'what' is not known"),
    "no size": (v2_json(dtype="<u3"), "not known to NumPy"),
    "strings": (v3_json(data_type="string"), "values of type 'string'"),
    "named type": (
        v3_json(data_type={"name": "optional", "configuration": {}}),
        "values of type 'optional'",
    ),
    "pickle": (
        v2_json(compressor={"id": "pickle"}),
        "runs code from the file when it is read: refused",
    ),
    "pickle 3": (
        v3_json(codecs=[{"name": "numcodecs.pickle"}, {"name": "bytes"}]),
        "run code from the file",
    ),
    "unknown": (v2_json(compressor={"id": "brotli9000"}), "codec 'brotli9000' is not known here"),
    "unknown 3": (
        v3_json(codecs=[LITTLE, {"name": "brotli9000"}]),
        "bytes, brotli9000.* not known to zarr either",
    ),
    "no id": (v2_json(compressor={"level": 1}), 'compressor with an "id"'),
    "bad options": (
        v2_json(filters=[{"id": "delta", "what": 1}]),
        "codec 'delta' is not known here, or not in this form",
    ),
    "order": (v2_json(order="K"), 'expected "order"'),
    "separator": (v2_json(dimension_separator="-"), 'expected "dimension_separator"'),
    "shape": (v2_json(shape=[4, -6]), 'expected "shape"'),
    "no shape": (v2_json(shape=None), 'expected "shape"'),
    "chunks": (v2_json(chunks=[2]), "expected a chunk shape of 2 whole numbers"),
    "no chunks": (v2_json(chunks=[0, 3]), "expected a chunk shape"),
    "fill": (v2_json(fill_value=-1), "fill value -1 is no number of type uint16"),
    "half": (v2_json(fill_value=1.5), "fill value 1.5"),
    "text fill": (v2_json(fill_value="AAAA"), "fill value 'AAAA'"),
    "transformers": (v3_json(storage_transformers=[{"name": "x"}]), "storage transformers"),
    "extension": (
        v3_json(pyramid={"levels": 2}, hint={"must_understand": False}),
        "its metadata have 'pyramid', which",
    ),
    "grid": (v3_json(chunk_grid={"name": "hexagonal"}), 'expected a chunk grid "regular"'),
    "short grid": (
        v3_json(chunk_grid={"name": "rectilinear", "configuration": {"chunk_shapes": [[1, 2], 6]}}),
        "do not cover",
    ),
    "odd grid": (
        v3_json(
            chunk_grid={
                "name": "rectilinear",
                "configuration": {"chunk_shapes": [[1, [1, 2, 3]], 6]},
            }
        ),
        "chunk sizes",
    ),
    "huge grid": (
        v3_json(
            chunk_grid={
                "name": "rectilinear",
                "configuration": {"chunk_shapes": [[[1, 10**12]], 6]},
            }
        ),
        "chunk sizes",
    ),
    "encoding": (
        v3_json(chunk_key_encoding={"name": "morton"}),
        'expected a chunk key encoding "default"',
    ),
    "separator 3": (
        v3_json(chunk_key_encoding={"name": "v2", "configuration": {"separator": "_"}}),
        "expected a separator",
    ),
    "no fill": (v3_json(fill_value=None), 'expected a "fill_value"'),
    "no byte order": (
        v3_json(codecs=[{"name": "bytes"}]),
        'expected "endian": "little" or "big".* found None',
    ),
    "byte order": (
        v3_json(codecs=[{"name": "bytes", "configuration": {"endian": "middle"}}]),
        "found 'middle'",
    ),
    "long float": (v2_json(dtype="<f16"), "type '<f16' is not known"),
    "codecs": (v3_json(codecs=None), "expected a list of codecs"),
    "no codecs": (v3_json(codecs=[]), "not known to zarr either"),
    "transpose": (
        v3_json(
            codecs=[{"name": "transpose", "configuration": {"order": [0, 0]}}, {"name": "bytes"}]
        ),
        "transpose of 2 axes",
    ),
    "shards": (
        v3_json(codecs=[{**SHARDING, "configuration": {"chunk_shape": [2, 2]}}]),
        "not made of whole chunks",
    ),
    "shards of many sizes": (
        v3_json(
            chunk_grid={"name": "rectilinear", "configuration": {"chunk_shapes": [[2, 3], 6]}},
            codecs=[SHARDING],
        ),
        "not made of whole chunks",
    ),
    "location": (
        v3_json(
            codecs=[{**SHARDING, "configuration": {"chunk_shape": [2, 3], "index_location": "top"}}]
        ),
        "index_location",
    ),
}


def places(value, path=()):
    """Yield the way to every value in JSON."""
    yield path
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, child in children:
        yield from places(child, (*path, name))


def replaced(value, path, new):
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["bytes", "<f4"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "id", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
WHOLE = [
    v2_json(
        dimension_separator="/",
        filters=[{"id": "delta", "dtype": "<u2"}],
        compressor={"id": "blosc", "cname": "lz4"},
    ),
    v3_json(
        codecs=[{"name": "transpose", "configuration": {"order": [1, 0]}}, LITTLE, "crc32c"],
        dimension_names=["y", "x"],
    ),
    v3_json(codecs=[SHARDING], storage_transformers=[]),
    v3_json(
        chunk_grid={"name": "rectilinear", "configuration": {"chunk_shapes": [[1, [3, 1]], 6]}}
    ),
]


@settings(max_examples=150)
@given(data=st.data(), whole=st.sampled_from(WHOLE), new=JSON)
def test_whatever_stands_in_metadata_an_array_opens_and_reads_or_is_refused(
    tmp_path_factory, data, whole, new
):
    path = data.draw(st.sampled_from([place for place in places(whole) if place]))
    metadata = replaced(whole, path, new)
    folder = tmp_path_factory.getbasetemp() / "whatever"
    shutil.rmtree(folder, ignore_errors=True)
    write_raw(folder, {"zarr_format": 0, **metadata})

    try:
        array = array_at(str(folder))
        index = next(array.grid.touched(array.grid.full_box), None)
        if index is not None:
            array.chunk(index).load()
    except SourceOpenError as err:
        if str(folder) not in str(err):
            raise


@pytest.mark.parametrize("case", WRONG)
def test_metadata_that_cannot_be_read_right_are_refused_by_name(tmp_path, case):
    metadata, message = WRONG[case]
    store = open_store(write_raw(tmp_path / "a", metadata))

    with pytest.raises(SourceOpenError, match=f"cannot be opened: .*{message}") as caught:
        array_at(store)
    assert str(tmp_path) in str(caught.value)


def test_a_group_is_no_array(tmp_path):
    zarr.create_group(tmp_path / "a")

    with pytest.raises(SourceOpenError, match="expected a Zarr array, found a group"):
        array_at(str(tmp_path / "a"))


GOOD = np.arange(6, dtype="<u2").tobytes()
DAMAGED = {
    "empty": ("none", b""),
    "cut short": ("none", GOOD[:-1]),
    "too long": ("none", GOOD + b"\0\0"),
    "one byte": ("none", b"\5"),  # which NumPy would spread over all
    "empty zstd": ("zstd", b""),
    "cut zstd": ("zstd", bytes(numcodecs.Zstd().encode(GOOD))[:-3]),
    "small zstd": ("zstd", bytes(numcodecs.Zstd().encode(GOOD[:4]))),
    "large zstd": ("zstd", bytes(numcodecs.Zstd().encode(GOOD * 3))),
    "no zstd": ("zstd", b"this is no zstd at all"),
    "empty blosc": ("blosc", b""),
    "cut blosc": ("blosc", bytes(numcodecs.Blosc().encode(bytes(range(200)) * 9))[:-3]),
    "short blosc": ("blosc", bytes(numcodecs.Blosc().encode(GOOD))[:-3]),
    "small blosc": ("blosc", bytes(numcodecs.Blosc().encode(GOOD[:4]))),
    "no blosc": ("blosc", b"this is no blosc at all"),
    "cut gzip": ("gzip", bytes(numcodecs.GZip().encode(GOOD))[:-3]),
    "small gzip": ("gzip", bytes(numcodecs.GZip().encode(GOOD[:4]))),
    "cut zlib": ("zlib", bytes(numcodecs.Zlib().encode(GOOD))[:-3]),
    "no lz4": ("lz4", b"this is no lz4"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_chunk_is_an_error_with_its_address_and_the_others_read(tmp_path, case):
    codec, data = DAMAGED[case]
    compressor = None if codec == "none" else {"id": codec}
    array = array_at(write_raw(tmp_path / "a", v2_json(compressor=compressor), {"0.1": data}))

    with pytest.raises(ChunkReadError, match=r"chunk \(0, 1\) cannot be decoded") as caught:
        array.chunk((0, 1)).load()
    assert caught.value.path == str(tmp_path / "a" / "0.1")
    assert (array.chunk((0, 0)).load() == 7).all()
    failed = []
    found = read_box(
        ArraySource(array),
        0,
        array.grid.full_box,
        keep=False,
        failed=lambda index, _: failed.append(index),
    )
    assert failed == [(0, 1)]
    assert (found[2:] == 7).all()


def test_a_wrong_checksum_is_an_error(tmp_path):
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    array = array_at(
        write_raw(tmp_path / "a", v3_json(codecs=codecs), {"c/0/0": GOOD + b"1234", "c/0/1": b"12"})
    )

    for index in ((0, 0), (0, 1)):
        with pytest.raises(ChunkReadError, match="checksum"):
            array.chunk(index).load()


@pytest.mark.parametrize("keep", [0, 3, 40, -5])
def test_a_shard_cut_short_is_an_error_with_its_address(tmp_path, keep):
    folder = tmp_path
    options = {"shape": (20, 30), "chunks": (5, 15), "shards": (10, 30), "dtype": "uint16"}
    zarr.create_array(str(folder / "sharded"), **options)[...] = 5
    array = array_at(str(folder / "sharded"))
    shard = folder / "sharded" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:keep])

    with pytest.raises(ChunkReadError, match="the index of this shard cannot be read") as caught:
        array.chunk((0, 0)).load()
    assert caught.value.path == str(shard)


@pytest.mark.parametrize("beyond", [2**64 - 5, 2**64 - 1])
def test_a_shard_whose_index_points_beyond_its_end_is_an_error(tmp_path, beyond):
    config = {"chunk_shape": [2, 3], "codecs": [LITTLE], "index_codecs": [LITTLE]}
    sharding = {"name": "sharding_indexed", "configuration": {**config, "index_location": "start"}}
    grid = {"name": "regular", "configuration": {"chunk_shape": [4, 6]}}
    index = np.array([[64, 12], [70, 100], [2**64 - 1, 2**64 - 1], [beyond, 10]], "<u8")
    path = write_raw(
        tmp_path / "a",
        v3_json(codecs=[sharding], chunk_grid=grid),
        {"c/0/0": index.tobytes() + GOOD},
    )
    array = array_at(path)

    assert array.chunk((0, 0)).load().tobytes() == GOOD
    assert (array.chunk((1, 0)).load() == 7).all()
    for place in ((0, 1), (1, 1)):
        with pytest.raises(ChunkReadError, match="the shard is cut short or damaged"):
            array.chunk(place).load()


@pytest.mark.parametrize("codecs", [[{"name": "crc32c"}], [LITTLE, {"name": "transpose"}]])
def test_a_shard_index_of_strange_codecs_is_an_error_of_its_chunks(tmp_path, codecs):
    config = {"chunk_shape": [2, 3], "codecs": [LITTLE], "index_codecs": codecs}
    metadata = v3_json(codecs=[{"name": "sharding_indexed", "configuration": config}])
    array = array_at(write_raw(tmp_path / "a", metadata, {"c/0/0": b"12345678901234567890" + GOOD}))

    with pytest.raises(ChunkReadError, match=r"an index with codecs .* is not known here"):
        array.chunk((0, 0)).load()


def small_array(folder, zarr_format=3, **options):
    """Write 4 x 6 pixels in chunks of 2 x 3, the last chunk left out; return them."""
    pixels = np.arange(24, dtype="u2").reshape(4, 6) + 1
    pixels[2:, 3:] = 0
    array = zarr.create_array(
        folder, shape=(4, 6), chunks=(2, 3), dtype="u2", zarr_format=zarr_format, **options
    )
    array[...] = pixels
    return pixels


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_that_is_gone_is_an_error_and_not_blank(tmp_path, zarr_format):
    small_array(tmp_path / "a.zarr" / "0", zarr_format)
    array = array_at(str(tmp_path / "a.zarr"), "0")
    assert not array.chunk((1, 1)).load().any()

    (tmp_path / "a.zarr").rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(ChunkReadError, match="the store was deleted, moved or unmounted"):
        array.chunk((0, 0)).load()
    (tmp_path / "a.zarr").mkdir()  # as an unmounted drive leaves it
    with pytest.raises(ChunkReadError, match="the store was deleted, moved or unmounted"):
        array.chunk((1, 1)).load()


def test_an_array_known_from_consolidated_metadata_alone_may_have_blank_chunks(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    small_array(tmp_path / "a.zarr" / "0", 2)
    zarr.consolidate_metadata(group.store)
    (tmp_path / "a.zarr" / "0" / ".zarray").unlink()
    root = read_node(open_store(str(tmp_path / "a.zarr")))
    array = open_array(root.store, root.child("0"))

    assert not array.chunk((1, 1)).load().any()
    (tmp_path / "a.zarr" / ".zmetadata").unlink()
    with pytest.raises(ChunkReadError, match="the store was deleted, moved or unmounted"):
        array.chunk((1, 1)).load()


@pytest.mark.skipif(os.name == "nt", reason="links need a permission there")
@pytest.mark.parametrize("link", ["c/0/0", "c/0", "c"])
def test_a_chunk_behind_a_broken_link_is_an_error_and_not_blank(tmp_path, link):
    small_array(tmp_path / "a.zarr")
    place = tmp_path / "a.zarr" / link
    place.rename(tmp_path / "kept")
    place.symlink_to("../annex/objects/of it")
    chunk = array_at(str(tmp_path / "a.zarr")).chunk((0, 0))

    with pytest.raises(ChunkReadError, match=r"a link to '\.\./annex/objects/of it', which is not"):
        chunk.load()


@pytest.mark.skipif(os.name == "nt", reason="links need a permission there")
def test_metadata_behind_a_broken_link_are_named(tmp_path):
    small_array(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "zarr.json").unlink()
    (tmp_path / "a.zarr" / "zarr.json").symlink_to("gone")

    with pytest.raises(SourceOpenError, match=r"zarr\.json: a link to 'gone'"):
        read_node(open_store(str(tmp_path / "a.zarr")))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("separators", ["/.", "./"])
def test_chunks_with_another_separator_than_declared_are_read_and_said(
    tmp_path, zarr_format, separators
):
    name = {2: "v2", 3: "default"}[zarr_format]
    pixels = small_array(
        tmp_path / "a.zarr",
        zarr_format,
        chunk_key_encoding={"name": name, "separator": separators[0]},
    )
    file = tmp_path / "a.zarr" / {2: ".zarray", 3: "zarr.json"}[zarr_format]
    file.write_text(file.read_text().replace(f'"{separators[0]}"', f'"{separators[1]}"'))
    array = array_at(str(tmp_path / "a.zarr"))

    with pytest.warns(LazyLoadWarning, match="not named as its metadata say") as warned:
        found = [array.chunk(index).load() for index in np.ndindex(2, 2)]
    assert np.array_equal(np.block([found[:2], found[2:]]), pixels)
    assert len(warned) == 1
    before = array.chunk((0, 0)).key
    os.utime(tmp_path / "a.zarr" / array.keys((0, 0))[1], ns=(1, 1))
    assert array.chunk((0, 0)).key != before


def test_chunks_of_unknown_names_are_said_and_an_empty_array_is_not(tmp_path):
    small_array(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "c").rename(tmp_path / "a.zarr" / "chunks")
    with pytest.warns(LazyLoadWarning, match="holds 'chunks' instead; they are shown blank"):
        assert not array_at(str(tmp_path / "a.zarr")).chunk((0, 0)).load().any()

    zarr.create_array(tmp_path / "b.zarr", shape=(4, 6), chunks=(2, 3), dtype="u2")
    assert not array_at(str(tmp_path / "b.zarr")).chunk((0, 0)).load().any()
