"""napari's preferences for this plugin, carried over to the settings of the process."""

from __future__ import annotations

from typing import Any

from napari_lazyload.core import settings
from napari_lazyload.loading import cache

_followed: list[Any] = []


def follow_preferences() -> None:
    """Apply napari's preferences now and whenever they change; 0 leaves the automatic choice."""
    from napari.settings import get_plugin_settings

    try:
        preferences = get_plugin_settings("napari-lazyload").loading
    except (KeyError, AttributeError):  # run without being installed as a plugin
        return
    if any(followed is preferences for followed in _followed):
        return
    _followed[:] = [preferences]

    def apply(*_event: Any) -> None:
        settings.update(
            cache_budget=preferences.cache_mib * settings.MIB or None,  # None: the automatic choice
            workers=preferences.workers or None,
        )
        cache.shared.trim()

    if preferences.cache_mib or preferences.workers:  # else what a script configured stays
        apply()
    preferences.events.connect(apply)
