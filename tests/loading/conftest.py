"""An empty cache, and settings that are put back."""

from __future__ import annotations

import pytest

from napari_lazyload.core import settings
from napari_lazyload.loading import cache, status


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.current())
    monkeypatch.setattr(settings, "_chosen", dict(settings._chosen))
    cache.shared.drop()
    yield
    cache.shared.drop()
    status.shared._reset()
