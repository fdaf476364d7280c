"""What may become of a chunk, from the moment somebody wants it."""

from __future__ import annotations

from enum import StrEnum


class ChunkState(StrEnum):
    """How a chunk is doing. One that nobody has asked for yet has no state."""

    QUEUED = "queued"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    EVICTED = "evicted"


NEXT: dict[ChunkState | None, frozenset[ChunkState | None]] = {
    None: frozenset(
        {
            ChunkState.QUEUED,
            ChunkState.LOADING,
            ChunkState.LOADED,
            ChunkState.FAILED,
            ChunkState.EVICTED,
        }
    ),
    ChunkState.QUEUED: frozenset(
        {None, ChunkState.LOADING, ChunkState.LOADED, ChunkState.FAILED, ChunkState.EVICTED}
    ),
    ChunkState.LOADING: frozenset({None, ChunkState.LOADED, ChunkState.FAILED, ChunkState.EVICTED}),
    ChunkState.LOADED: frozenset({ChunkState.LOADING, ChunkState.FAILED, ChunkState.EVICTED}),
    ChunkState.FAILED: frozenset(
        {None, ChunkState.QUEUED, ChunkState.LOADING, ChunkState.LOADED, ChunkState.EVICTED}
    ),
    ChunkState.EVICTED: frozenset(
        {None, ChunkState.QUEUED, ChunkState.LOADING, ChunkState.LOADED, ChunkState.FAILED}
    ),
}
"""The legal transitions; None is a chunk without a state. A loaded one loads again where its file
was replaced; one that was read by another source's thread, and is not kept, is evicted without
having been loading."""
