"""Values out of attributes that anybody may have written: taken where they make sense, None where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_dict(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_dicts(value: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list; whatever else is in it is passed over."""
    return [one for one in as_list(value) if isinstance(one, dict)]


def as_text(value: Any) -> str | None:
    """Return a name: a string, or a number as people write it; None for anything else and for an empty one."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value).strip() or None


JUNK = 1e-60
"""No size, place or grey value is smaller than this, or larger than its inverse."""


def as_number(value: Any) -> float | None:
    """Return a number, also one written as a string; none that is infinite, or so large or small as to be junk.

    What is left can be multiplied and inverted a few times without an overflow.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number == 0 or JUNK < abs(number) < 1 / JUNK else None


def as_numbers(value: Any) -> tuple[float, ...] | None:
    """Return a list of finite numbers, None where it is not one."""
    if not isinstance(value, list):
        return None
    numbers = tuple(map(as_number, value))
    return None if None in numbers else numbers  # type: ignore[return-value] # just looked


def as_count(value: Any) -> int | None:
    """Return a whole number from 0 on."""
    number = as_number(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


_OLD_NAMES = ("multiscales", "omero", "labels", "image-label", "plate", "well")
"""What versions before 0.5 put right into the attributes; some writers of 0.5 leave a part of it
there."""


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a node's attributes that OME-Zarr defines: since version 0.5 it has a key of its own."""
    inner = attributes.get("ome")
    if not isinstance(inner, dict):
        return attributes
    only = inner.get("multiscale")
    if isinstance(only, dict) and "multiscales" not in inner:
        # Drafts of version 1.0: one image, its levels by that name.
        inner = {**inner, "multiscales": [{**only, "datasets": only.get("levels")}]}
    return {**{name: attributes[name] for name in _OLD_NAMES if name in attributes}, **inner}


def multiscales_of(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of ``multiscales``; none where that is something else, as GeoZarr's."""
    found = ome_of(attributes).get("multiscales")
    return as_dicts([found] if isinstance(found, dict) and "datasets" in found else found)


def version_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the version of OME-Zarr that attributes name, None where they name none."""
    ome = ome_of(attributes)
    parts = [ome, *multiscales_of(attributes)]
    parts += [as_dict(ome.get(name)) for name in ("plate", "well", "image-label", "omero")]
    return next((version for part in parts if (version := as_text(part.get("version")))), None)


KNOWN_VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")


def version_note(attributes: Mapping[str, Any]) -> str | None:
    """Return what to say of a version that is not known here."""
    version = version_of(attributes)
    if version is None or version.startswith(KNOWN_VERSIONS):
        return None
    return f"says OME-Zarr version {version!r}, which is not known here; read as the versions up to {KNOWN_VERSIONS[-1]}"
