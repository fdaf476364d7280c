"""Zarr stores and arrays for tests: an array as an image, and a store that counts its calls."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.sources.zarr.array import open_array
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import open_store

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from pathlib import Path

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.sources.zarr.array import ZarrArray, ZarrChunk
    from napari_lazyload.sources.zarr.store import Store


class ArraySource:
    """One Zarr array as an image of one level; picklable.

    Parameters
    ----------
    array : ZarrArray
        The pixels.
    """

    def __init__(self, array: ZarrArray) -> None:
        ndim = len(array.shape)
        self.array = array
        self.token = f"{array.store.address(array.path)}"
        axes = tuple(f"axis{number}" for number in range(ndim))
        self.meta = ImageMeta("array", axes, array.dtype, (LevelMeta(array.grid, (1.0,) * ndim),))

    def chunk(self, level: int, index: BlockIndex) -> ZarrChunk:
        """Return one chunk."""
        assert level == 0
        return self.array.chunk(index)


def array_at(store: Store | str, path: str = "") -> ZarrArray:
    """Return the array at a path of a store, or of the store at an address."""
    opened = open_store(store) if isinstance(store, str) else store
    node = read_node(opened, path)
    assert node is not None, f"no node at {path!r}"
    return open_array(opened, node)


class CountingStore:
    """A store that records the calls to another store.

    Attributes
    ----------
    calls : list of (str, str)
        Method and key of each read, in order. `many` and `outcomes` count once for each key.
    rounds : int
        Round trips to a server that the calls would need. One `many` counts once.
    read_nbytes : int
        Bytes of all answers.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[str, str]] = []
        self.rounds = 0
        self.read_nbytes = 0
        self._lock = threading.Lock()
        self.root = store.root
        self.is_local = store.is_local
        self.anonymous = store.anonymous

    def _record(self, method: str, keys: Iterable[str], answers: Iterable[Any]) -> None:
        with self._lock:
            self.calls += [(method, key) for key in keys]
            self.rounds += 1
            self.read_nbytes += sum(len(data) for data in answers if isinstance(data, bytes))

    def forget(self) -> None:
        """Reset the counts."""
        with self._lock:
            self.calls.clear()
            self.rounds = self.read_nbytes = 0

    def get(self, key: str, most: int = 1 << 30) -> bytes | None:
        """See `Store`."""
        answer = self.store.get(key)
        self._record("get", [key], [answer])
        return answer

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`."""
        answer = self.store.get_range(key, start, length)
        self._record("get_range", [key], [answer])
        return answer

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        answer = self.store.outcomes(keys)
        self._record("get", answer, answer.values())
        return answer

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`."""
        answer = self.store.list_dir(prefix)
        self._record("list_dir", [prefix], [])
        return answer

    def size(self, key: str) -> int | None:
        """See `Store`."""
        return self.store.size(key)

    def stamp(self, key: str) -> Hashable:
        """See `Store`."""
        return self.store.stamp(key)

    def address(self, key: str) -> str:
        """See `Store`."""
        return self.store.address(key)


def v2_json(**changes: Any) -> dict[str, Any]:
    """Return the ``.zarray`` of a small array, 4 x 6 in chunks of 2 x 3, with changes."""
    base = {
        "zarr_format": 2,
        "shape": [4, 6],
        "chunks": [2, 3],
        "dtype": "<u2",
        "fill_value": 7,
        "order": "C",
    }
    return {**base, "compressor": None, "filters": None, **changes}


def v3_json(**changes: Any) -> dict[str, Any]:
    """Return the ``zarr.json`` of the same array, with changes."""
    base = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [4, 6],
        "data_type": "uint16",
        "fill_value": 7,
    }
    grid = {"name": "regular", "configuration": {"chunk_shape": [2, 3]}}
    encoding = {"name": "default", "configuration": {"separator": "/"}}
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    return {**base, "chunk_grid": grid, "chunk_key_encoding": encoding, "codecs": codecs, **changes}


def write_raw(
    folder: Path, metadata: dict[str, Any], chunks: Mapping[str, bytes] | None = None
) -> str:
    """Write an array from its metadata and the bytes of its chunks; return its path."""
    folder.mkdir(parents=True)
    name = "zarr.json" if metadata["zarr_format"] == 3 else ".zarray"
    (folder / name).write_text(json.dumps(metadata))
    for key, data in (chunks or {}).items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(folder)
