"""The table of what may become of a chunk."""

from __future__ import annotations

import pytest

from napari_lazyload.core.chunk_states import NEXT, ChunkState

Q, L, IN, F, E = ChunkState

ILLEGAL = {
    (None, None),
    (Q, Q),
    (L, L),
    (L, Q),  # what is being read waits for nobody
    (IN, IN),
    (IN, Q),  # what is in memory need not be read
    (IN, None),  # nor is it forgotten while it is there
    (F, F),
    (E, E),
}


@pytest.mark.parametrize("before", [None, *ChunkState])
@pytest.mark.parametrize("after", [None, *ChunkState])
def test_each_transition_is_legal_or_not(before, after):
    assert (after in NEXT[before]) == ((before, after) not in ILLEGAL)


def test_the_names_are_those_of_the_table_and_of_the_summary():
    assert [str(state) for state in ChunkState] == [
        "queued",
        "loading",
        "loaded",
        "failed",
        "evicted",
    ]
    assert set(NEXT) == {None, *ChunkState}
