"""Stacks of Micro-Manager, whose index says which plane is where, whatever ImageJ's text says."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

import napari_lazyload as nl

SIZE = 16
# Tags and their one value; the last two of a directory are the description and the metadata.
TAGS = {256: SIZE, 257: SIZE, 258: 16, 259: 1, 262: 1, 277: 1, 278: SIZE, 279: 2 * SIZE**2}


def write_stack(path, planes, *, slices_first, time_first=False, positions=1):
    """Write ``{(c, z, t, position): value}`` in its order, with the description for ImageJ.

    Layout: Micro-Manager's file format specification (header, summary, directories of 13 fields
    each before its pixels, index map).
    """
    counts = np.max(list(planes), axis=0) + 1
    channels, slices, frames, _ = counts.tolist()
    summary = {
        "MicroManagerVersion": "1.4.22",
        "Prefix": "x",
        "Frames": frames,
        "Slices": slices,
        "Channels": channels,
        "Positions": positions,
        "SlicesFirst": slices_first,
        "TimeFirst": time_first,
        "ChNames": [f"c{channel}" for channel in range(channels)],
    }
    text = json.dumps(summary).encode()
    lines = [
        "ImageJ=1.48v",
        f"images={len(planes)}",
        f"channels={channels}",
        f"slices={slices}",
        f"frames={frames}",
        "hyperstack=true",
        "",
    ]
    words = "\n".join(lines).encode()
    words += bytes(2 - len(words) % 2)
    out = bytearray(
        b"II*\0" + bytes(4) + struct.pack("<6I", 54773648, 0, 483765892, 0, 99384722, 0)
    )
    out += struct.pack("<2I", 2355492, len(text)) + text
    out += bytes(len(out) % 2)
    link, index = 4, b""
    for number, (place, value) in enumerate(planes.items()):
        at, count = len(out), 13 + (number == 0)
        data = at + 6 + 12 * count
        behind = data + 2 * SIZE**2
        fields = {tag: (4, 1, field) for tag, field in TAGS.items()} | {273: (4, 1, data)}
        fields |= {282: (3, 1, 1), 283: (3, 1, 1), 296: (3, 1, 3), 51123: (2, 8, behind)}
        if number == 0:
            fields[270] = (2, len(words), behind + 8)
        entries = b"".join(struct.pack("<HHII", tag, *fields[tag]) for tag in sorted(fields))
        struct.pack_into("<I", out, link, at)
        out += struct.pack("<H", count) + entries
        link = len(out)
        out += bytes(4) + np.full((SIZE, SIZE), value, "<u2").tobytes() + b'{"a":1}\0'
        out += words if number == 0 else b""
        index += struct.pack("<5I", *place, at)
    struct.pack_into("<I", out, 12, len(out))
    path.write_bytes(out + struct.pack("<2I", 3453623, len(planes)) + index)


def value_of(channel, z, time, position):
    return 1000 * position + 100 * time + 10 * z + channel


def planes_of(order, counts, position=0):
    """Return planes in the order in which a file holds them, the slowest axis first."""
    places = np.stack([axis.ravel() for axis in np.indices([counts[axis] for axis in order])], 1)
    named = [{**dict(zip(order, place, strict=True)), "p": position} for place in places.tolist()]
    keys = [tuple(place[axis] for axis in "cztp") for place in named]
    return {key: value_of(*key) for key in keys}


def check(image, counts, positions=range(1)):
    """Compare every plane with what its coordinates say."""
    data = np.asarray(image.data)
    names = {"position": "p"}
    lead = [names.get(axis, axis) for axis in image.axes[:-2]]
    assert set(lead) >= {axis for axis in "ctz" if counts[axis] > 1}
    for place in np.ndindex(data.shape[:-2]):
        at = {"c": 0, "z": 0, "t": 0, "p": 0} | dict(zip(lead, place, strict=True))
        wanted = value_of(at["c"], at["z"], at["t"], positions[at["p"]])
        assert (data[place] == wanted).all()
    assert all(length == 1 for lengths in image.chunks[:-2] for length in lengths)


@pytest.mark.parametrize("counts", [{"t": 1, "z": 3, "c": 2}, {"t": 2, "z": 2, "c": 3}])
@pytest.mark.parametrize(("order", "slices_first"), [("tcz", True), ("tzc", False), ("ztc", True)])
def test_planes_are_where_the_index_says(tmp_path, order, slices_first, counts):
    path = tmp_path / "x_MMStack_Pos0.ome.tif"
    write_stack(path, planes_of(order, counts), slices_first=slices_first)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        check(image, counts)
        assert [channel.name for channel in image.meta.channels] == [
            f"c{channel}" for channel in range(counts["c"])
        ]


@pytest.mark.parametrize("name", ["x_MMStack_Pos0.ome.tif", "x_MMStack_Pos1.ome.tif", ""])
def test_positions_in_files_of_their_own_are_one_image_plane_by_plane(tmp_path, name):
    counts = {"t": 2, "z": 3, "c": 2}
    for position in range(2):
        write_stack(
            tmp_path / f"x_MMStack_Pos{position}.ome.tif",
            planes_of("tcz", counts, position),
            slices_first=True,
            positions=2,
        )
    with nl.open_dataset(tmp_path / name) as dataset:
        (image,) = dataset.images
        if not name:
            assert image.shape[0] == 1
            image = image.source  # of a folder, files are an axis of their own
            assert image.meta.axes[:2] == ("frame", "position")
            return
        check(image, counts, range(2))
