"""TIFF files as instruments write them: odd directories, sets of files, planes that are missing."""

from __future__ import annotations

import json
import struct
import time

import imagecodecs
import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.sources.tiff import pages as page_module
from napari_lazyload.sources.tiff import tiled

RNG = np.random.default_rng(8)
CODES = {1: "B", 3: "H", 4: "I", 5: "I"}
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write_pages(path, pages):
    """Write a little-endian TIFF file: {tag: (type, values)} and strips of each page."""
    out, link = bytearray(b"II*\0\0\0\0\0"), 4
    for tags, strips in pages:
        offsets = []
        for strip in strips:
            offsets.append(len(out))
            out += strip
        entries = b""
        for tag, (kind, values) in sorted({273: (4, offsets), **tags}.items()):
            raw = struct.pack(f"<{len(values)}{CODES[kind]}", *values)
            count = len(values) // (2 if kind == 5 else 1)
            if len(raw) > 4:
                raw, place = struct.pack("<I", len(out)), raw
                out += place
            entries += struct.pack("<HHI", tag, kind, count) + raw.ljust(4, b"\0")
        out[link : link + 4] = struct.pack("<I", len(out))
        out += struct.pack("<H", len(entries) // 12) + entries
        link = len(out)
        out += bytes(4)
    path.write_bytes(out)


def tags_of(height, width, bits=16, samples=1, **more):
    known = {256: width, 257: height, 259: 1, 262: 1, 277: samples, 278: height, **more}
    return {258: (3, [bits] * samples), **{tag: (4, [value]) for tag, value in known.items()}}


def write_ndtiff(folder, planes, summary, *, per_file=100):
    """Write a Micro-Manager data set: planes with their axes, an index, several planes a file."""
    said, index = json.dumps(summary).encode(), b""
    for start in range(0, len(planes), per_file):
        name = f"a_NDTiffStack{f'_{start // per_file}' if start else ''}.tif"
        out = bytearray(
            b"II*\0\0\0\0\0" + struct.pack("<5I", 483729, 3, 3, 2355492, len(said)) + said
        )
        link = 4
        for axes, plane in planes[start : start + per_file]:
            height, width = plane.shape
            at = len(out)
            values = {
                **{
                    256: width,
                    257: height,
                    258: 8 * plane.itemsize,
                    259: 1,
                    262: 1,
                    273: at,
                    277: 1,
                }
            }
            values |= {278: height, 279: plane.nbytes}
            out += plane.tobytes() + b'{"a":1}\0'
            entries = b"".join(
                struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()
            )
            entries += struct.pack("<HHII", 51123, 2, 8, len(out) - 8)
            out[link : link + 4] = struct.pack("<I", len(out))
            out += struct.pack("<H", len(entries) // 12) + entries
            link = len(out)
            out += bytes(4)
            for text in (json.dumps(axes).encode(), name.encode()):
                index += struct.pack("<I", len(text)) + text
            index += struct.pack("<8I", at, width, height, int(plane.itemsize == 2), 0, 0, 0, 0)
        (folder / name).write_bytes(out)
    (folder / "NDTiff.index").write_bytes(index)
    return folder / "a_NDTiffStack.tif"


def write_mmstack(path, stack, *, lost=()):
    """Write a Micro-Manager stack of times with an index: 0 for planes that were lost."""
    said = json.dumps(
        {
            "MicroManagerVersion": "2",
            "Frames": len(stack),
            "Slices": 1,
            "Channels": 1,
            "Positions": 1,
        }
    )
    out = bytearray(b"II*\0\0\0\0\0" + struct.pack("<6I", 54773648, 0, 483765892, 0, 99384722, 0))
    out += struct.pack("<2I", 2355492, len(said)) + said.encode()
    link, index = 4, b""
    for number, plane in enumerate(stack):
        at, (height, width) = len(out), plane.shape
        out[link : link + 4] = struct.pack("<I", at)
        behind = at + 162 + plane.nbytes  # pixels follow a directory of 13 fields
        values = {
            256: width,
            257: height,
            258: 8 * plane.itemsize,
            259: 1,
            262: 1,
            273: at + 162,
            277: 1,
            278: height,
        }
        values |= {279: plane.nbytes, 284: 1, 296: 1, 339: 1}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
        out += struct.pack("<H", 13) + entries + struct.pack("<HHII", 51123, 2, 8, behind)
        link = len(out)
        out += bytes(4) + plane.tobytes() + b'{"a":1}\0'
        index += struct.pack("<5I", 0, 0, number, 0, 0 if number in lost else at)
    out[12:16] = struct.pack("<I", len(out))
    path.write_bytes(out + struct.pack("<2I", 3453623, len(stack)) + index)
    return path


def zeiss_info(width, height, depth):
    info = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO))
    said = {
        **{
            "MagicNumber": 0x400494C,
            "StructureSize": info.nbytes,
            "DimensionX": width,
            "DimensionY": height,
        },
        **{"DimensionZ": depth, "DimensionChannels": 1, "DimensionTime": 1, "ScanType": 0},
        **{"VoxelSizeX": 2e-7, "VoxelSizeY": 3e-7, "VoxelSizeZ": 1e-6},
    }
    for name, value in said.items():
        info[name] = value
    return list(info.tobytes())


@pytest.mark.parametrize("large", [1, 1 << 30])
@pytest.mark.parametrize("packed", [False, True])
def test_zeiss_files_with_thumbnails_and_sizes_of_unpacked_data(
    tmp_path, monkeypatch, packed, large
):
    monkeypatch.setattr(tiled, "LARGE", large)
    stack = RNG.integers(0, 50, (3, 40, 50)).astype("u2")
    thumbnail = RNG.integers(0, 250, (3, 20, 25)).astype("u1")
    pages = []
    for plane in stack:
        tags = {
            **tags_of(40, 50),
            254: (4, [0]),
            259: (4, [5 if packed else 1]),
            279: (4, [plane.nbytes]),
        }
        if not pages:
            tags[34412] = (1, zeiss_info(50, 40, 3))
        small = {
            **tags_of(20, 25, 8, 3),
            254: (4, [1]),
            262: (4, [2]),
            279: (4, [500] * 3),
            284: (3, [2]),
        }
        pages += [
            (small, list(map(bytes, thumbnail))),
            (tags, [imagecodecs.lzw_encode(plane) if packed else plane.tobytes()]),
        ]
    write_pages(
        tmp_path / "a.lsm",
        [page for pair in zip(pages[1::2], pages[::2], strict=True) for page in pair],
    )
    with nl.open_dataset(tmp_path / "a.lsm") as dataset:
        image, small = dataset.images
        np.testing.assert_array_equal(image.data, stack)
        assert image.axes == ("z", "y", "x")
        assert image.scale == pytest.approx((1, 0.3, 0.2))
        assert image.units == ("micrometer",) * 3
        np.testing.assert_array_equal(small.data[1], np.moveaxis(thumbnail, 0, -1))


def test_metamorph_stacks_of_one_directory(tmp_path):
    stack = RNG.integers(0, 60000, (5, 40, 50)).astype("u2")
    planes = [
        number for plane in range(5) for number in (500, 1000, 2450000, plane, 2450000, plane)
    ]
    tags = {**tags_of(40, 50), 279: (4, [4000]), 33629: (5, planes)}
    path = tmp_path / "a.stk"
    write_pages(path, [(tags, [stack.tobytes()])])
    with tifffile.TiffFile(path) as tif:
        places = len(path.read_bytes())
        count = tif.pages.first.tags[33629].count
    assert count == 15  # of two numbers each; MetaMorph counts six of them as one
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<HHI", 33629, 5, 15))
    content[entry + 4 : entry + 8] = struct.pack("<I", 5)
    content += struct.pack("<4I", 1, 4, 3, 10) + b"\3\0\0\0um\0\0"
    calibration = struct.pack("<8I", 3, 1, 4, places, 5, places + 8, 6, places + 16)
    values = len(content)
    content += calibration
    (directory,) = struct.unpack_from("<I", content, 4)
    (number,) = struct.unpack_from("<H", content, directory)
    entries = content[directory + 2 : directory + 2 + 12 * number]
    moved = entries[:-12] + struct.pack("<HHII", 33628, 4, 4, values) + entries[-12:]
    content[4:8] = struct.pack("<I", len(content))
    path.write_bytes(content + struct.pack("<H", number + 1) + moved + bytes(4))
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        np.testing.assert_array_equal(image.data, stack)
        assert image.axes == ("z", "y", "x")
        assert image.scale == pytest.approx((0.5, 0.3, 0.25))
        assert image.units == ("micrometer",) * 3


def test_the_last_frame_of_scanimage_is_not_lost(tmp_path):
    stack = RNG.integers(0, 250, (12, 40, 50)).astype("i2")
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for number, frame in enumerate(stack):
            tif.write(
                frame, metadata=None, contiguous=False, description=f"state.frame = {number:02}"
            )
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, stack)


NAMED = {"PixelSize_um": 0.5, "ChNames": ["DAPI", "FITC"], "ChColors": [0x0000FF, 0x00FF00]}


@pytest.mark.parametrize("per_file", [100, 3])
def test_frames_of_ndtiff_are_read_alone(tmp_path, monkeypatch, per_file):
    stack = RNG.integers(0, 60000, (3, 2, 16, 18)).astype("u2")
    named = [({"time": t, "channel": c}, stack[t, c]) for t in range(3) for c in range(2)]
    path = write_ndtiff(tmp_path, named, NAMED, per_file=per_file)
    np.testing.assert_array_equal(tifffile.imread(path), stack)
    for target in (path, tmp_path):
        with nl.open_dataset(target) as dataset:
            (image,) = dataset.images
            assert image.shape[-4:] == stack.shape
            assert image.chunks[-4:] == ((1, 1, 1), (1, 1), (16,), (18,))
            np.testing.assert_array_equal(image.data[..., 2, 1, :, :].squeeze(), stack[2, 1])
            monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
            np.testing.assert_array_equal(np.asarray(image.data).reshape(stack.shape), stack)
            monkeypatch.undo()


def check_lost(path, stack, lost):
    """Check that a file that lacks one plane opens with a warning, and that plane is blank."""
    with pytest.warns(nl.LazyLoadWarning, match=f"1 of {len(stack)} planes"):
        dataset = nl.open_dataset(path)
    with dataset:
        expected = stack.copy()
        expected[lost] = 0
        np.testing.assert_array_equal(dataset.images[0].data, expected)


def test_frames_of_ndtiff_that_were_not_recorded_are_told(tmp_path):
    stack = RNG.integers(0, 250, (3, 16, 18)).astype("u1")
    check_lost(write_ndtiff(tmp_path, [({"time": t}, stack[t]) for t in (0, 2)], {}), stack, 1)


def test_a_file_of_ndtiff_that_is_missing_is_named(tmp_path):
    stack = RNG.integers(0, 250, (4, 16, 18)).astype("u1")
    path = write_ndtiff(
        tmp_path, [({"time": t}, plane) for t, plane in enumerate(stack)], {}, per_file=2
    )
    (tmp_path / "a_NDTiffStack_1.tif").unlink()
    with pytest.raises(nl.SourceOpenError, match=r"no .*a_NDTiffStack_1\.tif"):
        nl.open_dataset(path)


def test_a_file_of_ndtiff_in_another_folder_is_not_read(tmp_path):
    stack = np.arange(4 * 30 * 40, dtype="u2").reshape(4, 30, 40)
    here, away = tmp_path / "here", tmp_path / "away"
    here.mkdir()
    away.mkdir()
    path = write_ndtiff(here, [({"time": t}, stack[t]) for t in range(4)], {}, per_file=2)
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, stack)
    (here / "a_NDTiffStack_1.tif").rename(away / "plane_1.tif")
    index = (here / "NDTiff.index").read_bytes()
    named = index.replace(b"a_NDTiffStack_1.tif", b"../away/plane_1.tif")
    assert named != index
    (here / "NDTiff.index").write_bytes(named)
    with pytest.raises(nl.SourceOpenError, match=r"planes in a file of another folder \(plane_1"):
        nl.open_dataset(path)


def test_channels_of_ndtiff_have_the_names_of_its_index(tmp_path):
    """They are counted as they come, which need not be the order of the summary."""
    stack = RNG.integers(0, 60000, (2, 2, 16, 18)).astype("u2")
    names = ("FITC", "DAPI")
    planes = [({"time": t, "channel": names[c]}, stack[t, c]) for t in range(2) for c in range(2)]
    with nl.open_dataset(write_ndtiff(tmp_path, planes, NAMED)) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, stack)
        shown = [(one.name, one.colormap) for one in dataset.images[0].meta.channels]
        assert shown == [("FITC", "#00ff00"), ("DAPI", "#0000ff")]


def test_planes_that_micro_manager_lost_are_told(tmp_path):
    """tifffile shows what lies anywhere in the file."""
    stack = RNG.integers(0, 60000, (4, 16, 18)).astype("u2")
    whole = write_mmstack(tmp_path / "a_MMStack.ome.tif", stack)
    with nl.open_dataset(whole) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, stack)
    check_lost(write_mmstack(tmp_path / "b_MMStack.ome.tif", stack, lost=[2]), stack, 2)


def write_set(folder, count, *, companion=False, present=None, master=None):
    """Write an OME-TIFF set of one plane for each file; return its planes.

    The companion describes all of them, or the file with the number `master`, or each does.
    """
    planes = RNG.integers(0, 250, (count, 17, 19)).astype("u1")
    data = "".join(
        f'<TiffData FirstZ="{at}" IFD="0" PlaneCount="1"><UUID '
        f'FileName="z{at}.ome.tif">{at}</UUID></TiffData>'
        for at in range(count)
    )
    pixels = (
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        'SizeX="19" SizeY="17" '
        f'SizeZ="{count}" SizeC="1" SizeT="1" PhysicalSizeX="2" '
        f'PhysicalSizeY="3">{data}</Pixels></Image>'
    )
    begin = f'<?xml version="1.0"?><OME xmlns="{OME}" UUID="%s">'
    for number in range(count) if present is None else present:
        inside = pixels
        if companion:
            inside = '<BinaryOnly MetadataFile="../set.companion.ome" UUID="all"/>'
        elif master not in (None, number):
            inside = f'<BinaryOnly MetadataFile="z{master}.ome.tif" UUID="{master}"/>'
        tifffile.imwrite(
            folder / f"z{number}.ome.tif",
            planes[number],
            description=f"{begin % number}{inside}</OME>",
            metadata=None,
        )
    if companion:
        (folder / "set.companion.ome").write_text(f"{begin % 'all'}{pixels}</OME>")
    return planes


@pytest.mark.parametrize("companion", [False, True])
@pytest.mark.parametrize("name", ["", "z0.ome.tif", "z2.ome.tif", "set.companion.ome"])
def test_a_set_of_files_opens_as_one_image(tmp_path, companion, name):
    planes = write_set(tmp_path, 3, companion=companion)
    if name.startswith("set") and not companion:
        return
    with nl.open_dataset(tmp_path / name) as dataset:
        (image,) = dataset.images
        assert image.axes[-3:] == ("z", "y", "x")
        assert image.scale[-2:] == (3, 2)
        np.testing.assert_array_equal(np.squeeze(image.data), planes)
        assert len(dataset.meta) == 1


def write_positions(folder, count):
    """Write an OME-TIFF set with an image in each file, all described in all; return them."""
    stacks = RNG.integers(0, 250, (count, 2, 32, 48)).astype("u1")
    images = "".join(
        f'<Image ID="Image:{at}" Name="P{at}"><Pixels ID="Pixels:{at}" DimensionOrder="XYZCT" '
        'Type="uint8" SizeX="48" '
        f'SizeY="32" SizeZ="2" SizeC="1" SizeT="1" PhysicalSizeX="{at + 1}" '
        'PhysicalSizeY="1"><TiffData IFD="0" '
        f'PlaneCount="2"><UUID FileName="p{at}.ome.tif">{at}</UUID></TiffData></Pixels></Image>'
        for at in range(count)
    )
    for number, stack in enumerate(stacks):
        text = f'<?xml version="1.0"?><OME xmlns="{OME}" UUID="{number}">{images}</OME>'
        path = folder / f"p{number}.ome.tif"
        tifffile.imwrite(
            path, stack, description=text, metadata=None, photometric="minisblack", tile=(16, 16)
        )
    return stacks


@pytest.mark.parametrize("large", [1, 1 << 30])
@pytest.mark.parametrize("number", range(3))
def test_a_file_of_a_set_begins_with_its_own_image(tmp_path, monkeypatch, number, large):
    """tifffile looks in the open file for the pixels of each image that just one file holds."""
    monkeypatch.setattr(tiled, "LARGE", large)
    stacks = write_positions(tmp_path, 3)
    order = [number, *(at for at in range(3) if at != number)]
    with nl.open_dataset(tmp_path / f"p{number}.ome.tif") as dataset:
        for at, image in zip(order, dataset.images, strict=True):
            np.testing.assert_array_equal(image.data, stacks[at])
            assert image.scale[-1] == at + 1
            assert image.metadata["series"] == f"P{at}"


def test_a_folder_of_positions_has_a_frame_for_each(tmp_path, recwarn):
    stacks = write_positions(tmp_path, 3)
    with nl.open_dataset(tmp_path, headers="all") as dataset:
        (image,) = dataset.images
        np.testing.assert_array_equal(image.data, stacks)
    assert not [one for one in recwarn if "the first is shown" in str(one.message)]


def test_a_folder_of_two_sets_has_a_frame_for_each(tmp_path):
    expected = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        expected.append(write_set(tmp_path / name, 3))
    with nl.open_dataset(tmp_path) as dataset:
        np.testing.assert_array_equal(np.squeeze(dataset.images[0].data), expected)


def test_a_companion_without_its_files_is_told(tmp_path):
    write_set(tmp_path, 3, companion=True, present=[])
    with pytest.raises(nl.SourceOpenError, match="found none of the 3 that it names"):
        nl.open_dataset(tmp_path / "set.companion.ome")


def test_planes_that_are_missing_are_told_and_come_when_they_come(tmp_path):
    planes = write_set(tmp_path, 3)
    (tmp_path / "z1.ome.tif").rename(tmp_path / "away")
    with pytest.warns(nl.LazyLoadWarning, match="1 of 3 planes are described, but not there"):
        dataset = nl.open_dataset(tmp_path / "z0.ome.tif")
    with dataset:
        image = dataset.images[0]
        np.testing.assert_array_equal(image.data[2], planes[2])
        assert not np.asarray(image.data[1]).any()
        time.sleep(0.02)  # the folder's time of change has to be another
        (tmp_path / "away").rename(tmp_path / "z1.ome.tif")
        np.testing.assert_array_equal(image.data[1], planes[1])


@pytest.mark.parametrize("name", ["", "z0.ome.tif", "z1.ome.tif", "z2.ome.tif"])
def test_a_set_that_one_of_its_files_describes_opens_by_any_of_them(tmp_path, name):
    planes = write_set(tmp_path, 3, master=1)
    with nl.open_dataset(tmp_path / name) as dataset:
        (image,) = dataset.images
        assert image.axes[-3:] == ("z", "y", "x")
        assert image.chunks[-3] == (1, 1, 1)
        np.testing.assert_array_equal(np.asarray(image.data).reshape(planes.shape), planes)


def test_a_frame_of_a_set_looks_at_no_other_file(tmp_path, monkeypatch):
    planes = write_set(tmp_path, 5)
    with nl.open_dataset(tmp_path / "z0.ome.tif") as dataset:
        opened = []
        original = page_module.open_tifffile
        monkeypatch.setattr(
            page_module,
            "open_tifffile",
            lambda path, **more: (opened.append(path), original(path, **more))[1],
        )
        np.testing.assert_array_equal(dataset.images[0].data[3], planes[3])
        assert [path.rpartition("z")[2] for path in opened] == ["3.ome.tif"]


def test_an_open_set_never_shows_another_image(tmp_path):
    """The numbers of its images change when a file goes; those that are there still can be read."""
    stacks = write_positions(tmp_path, 3)
    first = tmp_path / "p0.ome.tif"
    with nl.open_dataset(tmp_path / "p1.ome.tif") as dataset:
        _, gone, there = dataset.images
        first.rename(tmp_path / "elsewhere")
        with pytest.raises(nl.ChunkReadError, match=r"p0\.ome\.tif"):
            np.asarray(gone.data)
        np.testing.assert_array_equal(there.data, stacks[2])
        with pytest.raises(
            nl.ChunkReadError, match=r"plane 0 of this image where it was .* open it again"
        ):
            gone.source.chunk(0, (0,) * 3).load()
        (tmp_path / "elsewhere").rename(first)
        np.testing.assert_array_equal(gone.data, stacks[0])


def test_what_was_read_of_a_set_is_not_shown_as_another_image(tmp_path):
    stacks = write_positions(tmp_path, 3)
    with nl.open_dataset(tmp_path / "p1.ome.tif") as before:
        for at, image in zip((1, 0, 2), before.images, strict=True):
            np.testing.assert_array_equal(image.data, stacks[at])
        (tmp_path / "p0.ome.tif").unlink()
        with nl.open_dataset(tmp_path / "p1.ome.tif") as dataset:
            for at, image in zip((1, 2), dataset.images, strict=True):
                np.testing.assert_array_equal(image.data, stacks[at])


@pytest.mark.parametrize("opened", ["", "p1.ome.tif"])
def test_a_replaced_file_of_a_set_shows_its_new_pixels(tmp_path, opened):
    write = write_positions if opened else write_set
    folder, again = tmp_path / "set", tmp_path / "again"
    folder.mkdir()
    again.mkdir()
    old = write(folder, 3)
    with nl.open_dataset(folder / opened) as dataset:
        number = 1 if opened else 0
        np.testing.assert_array_equal(
            np.squeeze(dataset.images[number].data), old[0] if opened else old
        )
        new = write(again, 3)
        name = "p0.ome.tif" if opened else "z2.ome.tif"
        (again / name).replace(folder / name)
        expected = new[0] if opened else [*old[:2], new[2]]
        with nl.open_dataset(folder / opened) as reopened:
            np.testing.assert_array_equal(np.squeeze(reopened.images[number].data), expected)


def test_the_new_pixels_of_a_set_come_in_a_sequence_too(tmp_path):
    old = write_set(tmp_path, 2)
    path = tmp_path / "z0.ome.tif"
    np.testing.assert_array_equal(np.squeeze(nl.read_images([path])[0]), old)
    again = tmp_path / "again"
    again.mkdir()
    new = write_set(again, 2)
    (again / "z1.ome.tif").replace(tmp_path / "z1.ome.tif")
    np.testing.assert_array_equal(np.squeeze(nl.read_images([path])[0]), [old[0], new[1]])


def test_images_of_a_set_keep_their_sizes_where_an_earlier_file_is_gone(tmp_path):
    write_positions(tmp_path, 3)
    (tmp_path / "p0.ome.tif").unlink()
    for number in (1, 2):
        with nl.open_dataset(tmp_path / f"p{number}.ome.tif") as dataset:
            found = [(image.metadata["series"], image.scale[-1]) for image in dataset.images]
            assert found == [(f"P{at}", at + 1) for at in (number, 3 - number)]


def test_a_plane_that_came_and_went_again_is_missing(tmp_path):
    planes = write_set(tmp_path, 3)
    last, away = tmp_path / "z2.ome.tif", tmp_path / "away"
    last.rename(away)
    with pytest.warns(nl.LazyLoadWarning, match="1 of 3 planes"):
        dataset = nl.open_dataset(tmp_path / "z0.ome.tif")
    with dataset:
        away.rename(last)
        np.testing.assert_array_equal(dataset.images[0].data[2], planes[2])
        last.rename(away)
        assert not np.asarray(dataset.images[0].data[2]).any()
