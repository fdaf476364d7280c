"""Values from attributes of unknown writers: what makes no sense becomes None, or empty.

Each `as_...` returns a value of the type it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_dict(value: Any) -> Mapping[str, Any]:
    """Return a mapping unchanged, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a list unchanged, an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_dicts(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list; anything else in it is skipped."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_text(value: Any) -> str | None:
    """Return a string or a number as text; None for anything else and for an empty string."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value).strip() or None


def as_texts(value: Any) -> list[str]:
    """Return the texts of a list; anything else in it is skipped."""
    return list(filter(None, map(as_text, as_list(value))))


JUNK = 1e-60
"""No size, place or gray value is smaller than this, or larger than its inverse."""


def as_number(value: Any) -> float | None:
    """Return a number, also one written as a string; None for an infinite, huge or tiny one.

    So it can be multiplied and inverted a few times without an overflow.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number == 0 or JUNK < abs(number) < 1 / JUNK else None


def as_numbers(value: Any) -> tuple[float, ...] | None:
    """Return a list of finite numbers, None for anything else."""
    if not isinstance(value, list):
        return None
    numbers = tuple(map(as_number, value))
    return None if None in numbers else numbers  # type: ignore[return-value] # no None in it


def as_count(value: Any) -> int | None:
    """Return a whole number from 0 on."""
    number = as_whole(value)
    return None if number is None or number < 0 else number


def as_whole(value: Any) -> int | None:
    """Return a whole number, exactly: labels may be beyond what a float can count."""
    if type(value) is int:
        return value if abs(value) < 1 / JUNK else None
    number = as_number(value)
    if number is None or number != int(number):
        return None
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else int(number)


_OLD_NAMES = ("multiscales", "omero", "labels", "image-label", "plate", "well")
"""Names that versions before 0.5 put right into the attributes; some writers of 0.5 leave a part of
them there."""


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a node's attributes that OME-Zarr defines; it has a key since 0.5."""
    inner = attributes.get("ome")
    if not isinstance(inner, dict):
        return attributes
    only = inner.get("multiscale")
    if isinstance(only, dict) and "multiscales" not in inner:
        # Drafts of version 1.0: one image, its levels by that name.
        inner = {**inner, "multiscales": [{**only, "datasets": only.get("levels")}]}
    return {**{name: attributes[name] for name in _OLD_NAMES if name in attributes}, **inner}


def multiscales_of(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of ``multiscales``; [] where that is something else, as GeoZarr's."""
    found = ome_of(attributes).get("multiscales")
    return as_dicts([found] if isinstance(found, dict) and "datasets" in found else found)


def version_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the version of OME-Zarr in attributes, None for none."""
    ome = ome_of(attributes)
    parts = [ome, *multiscales_of(attributes)]
    parts += map(as_dict, map(ome.get, ("plate", "well", "image-label", "omero")))
    return next(iter(as_texts([part.get("version") for part in parts])), None)


KNOWN_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")


def version_note(attributes: Mapping[str, Any]) -> str | None:
    """Return the note about a version that is not known here."""
    version = version_of(attributes)
    if version is None or version.startswith(KNOWN_VERSIONS):
        return None
    return (
        f"says OME-Zarr version {version!r}, which is not known here; read as the versions up to "
        f"{KNOWN_VERSIONS[-1]}"
    )
