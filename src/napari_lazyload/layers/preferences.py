"""napari's preferences for this plugin, carried over to the settings of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_lazyload.core import settings
from napari_lazyload.loading import cache

if TYPE_CHECKING:
    from collections.abc import Callable

_followed: list[Any] = []

_SETTINGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    # None: the automatic choice.
    "cache_mib": ("cache_budget", lambda mib: mib * settings.MIB or None),
    "workers": ("workers", lambda count: count or None),
    "look_ahead": ("look_ahead", int),
    "coarse_first": ("coarse_first", bool),
}
"""Of each preference, the setting, and its value there."""


def follow_preferences() -> None:
    """Apply napari's preferences now and whenever one changes.

    Those that the user left as they came leave what a script set.
    """
    from napari.settings import get_plugin_settings

    try:
        preferences = get_plugin_settings("napari-lazyload").loading
    except (KeyError, AttributeError):  # run without being installed as a plugin
        return
    if _followed and _followed[0] is preferences:
        return
    _followed[:] = [preferences]

    def apply(*names: str) -> None:
        changes = {}
        for name in names:
            setting, convert = _SETTINGS[name]
            changes[setting] = convert(getattr(preferences, name))
        settings.update(**changes)
        cache.shared.trim()

    fields = type(preferences).model_fields
    apply(*(name for name in _SETTINGS if getattr(preferences, name) != fields[name].default))
    preferences.events.connect(lambda event: apply(event.type) if event.type in _SETTINGS else None)
