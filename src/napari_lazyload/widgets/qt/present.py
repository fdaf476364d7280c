"""The parts that a widget has from birth, which Qt's stubs call optional."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(part: T | None) -> T:
    """Return a part that a widget has from birth; Qt's stubs call every such part optional."""
    assert part is not None
    return part
