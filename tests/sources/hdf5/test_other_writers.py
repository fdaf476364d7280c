"""HDF5 files as the programs of several fields write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import napari_lazyload as nl


def values(shape, dtype="u2", seed=0):
    """Return values that use every bit of integers."""
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind in "iu":
        return (
            np.frombuffer(random.bytes(int(np.prod(shape)) * dtype.itemsize), dtype)
            .reshape(shape)
            .copy()
        )
    return random.random(shape).astype(dtype)


def opened(path, expected, number=0, **options):
    """Open a file, compare an image with what it should be, and return it with its dataset."""
    dataset = nl.open_dataset(path, **options)
    image = dataset.images[number]
    assert image.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image.data, expected)
    part = tuple(
        slice(size // 3, size // 3 + max(1, size // 2))
        for size in expected.shape[: image.spatial_ndim]
    )
    np.testing.assert_array_equal(nl.crop(image, part), expected[part])
    return image, dataset


def refused(path, said, **options):
    with pytest.raises(nl.SourceOpenError, match=said):
        nl.open_dataset(path, **options)


CUBE = values((6, 20, 30))


@pytest.fixture
def hdf5(tmp_path):
    """A function that fills a file of HDF5 and returns its path."""
    h5py = pytest.importorskip("h5py")

    def write(fill, name="a.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            fill(file)
        return tmp_path / name

    return write


def typed(kind, expected):
    """Return a function that writes an image of a type of HDF5's own."""

    def fill(file):
        from h5py import h5d, h5s

        made = h5d.create(file.id, b"image", kind(), h5s.create_simple(expected.shape))
        made.write(h5s.ALL, h5s.ALL, expected)

    return fill


def twelve_bits(order, offset):
    def kind():
        from h5py import h5t

        made = (h5t.STD_U16LE if order == "<" else h5t.STD_U16BE).copy()
        made.set_precision(12)
        made.set_offset(offset)
        return made

    return kind


def brain_float():
    from h5py import h5t

    made = h5t.IEEE_F32LE.copy()
    made.set_fields(15, 7, 8, 0, 7)
    made.set_size(2)
    made.set_ebias(127)
    return made


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset", [0, 4])
def test_hdf5_of_fewer_bits_than_bytes(hdf5, order, offset):
    array = CUBE & 0xFFF
    opened(hdf5(typed(twelve_bits(order, offset), array)), array)


def test_hdf5_of_types_that_numpy_has_in_another_form(hdf5):
    array = np.arange(120, dtype="f4").reshape(4, 5, 6)
    opened(hdf5(typed(brain_float, array)), array)
    spread = np.zeros(
        (4, 5), {"names": ["r", "i"], "formats": ["f4", "f4"], "offsets": [0, 8], "itemsize": 16}
    )
    spread["r"], spread["i"] = 1, 2
    opened(
        hdf5(lambda file: file.create_dataset("image", data=spread)), np.full((4, 5), 1 + 2j, "c8")
    )


def test_hdf5_with_data_of_types_that_numpy_does_not_have(hdf5):
    from h5py import h5d, h5s, h5t

    def fill(file):
        h5d.create(file.id, b"times", h5t.UNIX_D32LE, h5s.create_simple((4, 5)))
        short = h5t.STD_I32LE.copy()
        short.set_precision(24)
        short.set_size(3)
        h5d.create(file.id, b"short", short, h5s.create_simple((4, 5)))
        file["image"] = CUBE

    _, dataset = opened(hdf5(fill), CUBE)
    assert dataset.skipped == {"data set of a type that NumPy does not have": 2}


def quadruple_float():
    from h5py import h5t

    kind = h5t.IEEE_F64LE.copy()
    kind.set_size(16)
    kind.set_precision(128)
    kind.set_fields(127, 112, 15, 0, 112)
    kind.set_ebias(16383)
    return kind


def test_hdf5_of_floats_longer_than_those_of_the_computer_opens_the_rest(hdf5):
    from h5py import h5d, h5s

    def fill(file):
        h5d.create(file.id, b"long", quadruple_float(), h5s.create_simple((4, 5)))
        file["data/image/data"] = CUBE
        file["data/image"].attrs["emd_group_type"] = 1
        h5d.create(file["data/image"].id, b"dim1", quadruple_float(), h5s.create_simple((6,)))

    image, dataset = opened(hdf5(fill), CUBE)
    assert image.scale == (1, 1, 1)
    assert dataset.skipped == {"data set of a type that NumPy does not have": 2}


def test_hdf5_with_names_that_are_not_utf_8_opens_the_rest(hdf5):
    from h5py import ExternalLink

    def fill(file):
        file[b"f\xeate"], file[b"m\xe9/image"], file["image"] = CUBE, CUBE, CUBE
        file["image"].attrs[b"g\xe9n\xe9"] = 1
        file[b"s\xe9rie"] = ExternalLink("none.h5", "x")

    image, dataset = opened(hdf5(fill), CUBE)
    assert image.name.endswith("a.h5")
    assert dataset.skipped == {
        "data set whose name is not UTF-8": 2,
        "link whose name is not UTF-8": 1,
    }


def test_hdf5_with_a_damaged_header_of_one_data_set_opens_the_rest(hdf5):
    def fill(file):
        file["s00/resolutions"] = [["one", "two"], ["three", "four"]]
        file["image"] = CUBE

    _, dataset = opened(hdf5(fill), CUBE)
    assert dataset.skipped == {"object that h5py cannot read": 1}


def test_hdf5_links_to_other_files_are_followed_within_the_folder(hdf5, tmp_path):
    import h5py

    hdf5(lambda file: file.create_dataset("frames", data=CUBE), "data_000001.h5")
    (tmp_path / "other").mkdir()
    hdf5(lambda file: file.create_dataset("frames", data=CUBE), "other/data_000003.h5")

    def fill(file):
        file["entry/data/first"] = h5py.ExternalLink("data_000001.h5", "frames")
        file["entry/data/second"] = h5py.ExternalLink("data_000002.h5", "frames")
        file["entry/data/third"] = h5py.ExternalLink("other/data_000003.h5", "nothing")
        file["entry/data/fourth"] = h5py.ExternalLink("../data_000001.h5", "frames")
        file["entry/again"], file["entry/data/loop"] = (
            h5py.SoftLink("/entry"),
            h5py.SoftLink("loop"),
        )

    _, dataset = opened(hdf5(fill, "master.h5"), CUBE)
    assert len(dataset.images) == 1
    gone = "link to a file, or a data set in it, that is not there"
    away = "link to a data set in a file of another folder"
    assert dataset.skipped == {gone: 2, f"{away} (if you trust it, open it with outside=True)": 1}
    (tmp_path / "data_000001.h5").unlink()
    refused(tmp_path / "master.h5", f"found none .*3 x {gone}")


def test_hdf5_with_a_link_of_a_program_s_own_kind_opens_the_rest(hdf5):
    from h5py import Group, SoftLink, h5g, h5p

    def fill(file):
        form = h5p.create(h5p.GROUP_CREATE)
        form.set_link_creation_order(
            h5p.CRT_ORDER_TRACKED
        )  # links with a kind, in a header without a checksum
        Group(h5g.create(file.id, b"links", gcpl=form))["own"] = SoftLink("/here/and/there")
        file["image"] = CUBE

    path = hdf5(fill)
    block = bytearray(path.read_bytes())
    kind = block.index(b"/here/and/there") - 2 - len("own") - 1 - 8 - 1
    assert block[kind] == 1
    block[kind] = 187
    path.write_bytes(block)
    opened(path, CUBE)


def test_hdf5_with_a_damaged_object_opens_the_rest(hdf5):
    def fill(file):
        file["first"], file["image"], file["other"] = (
            values((3, 4), "f4"),
            CUBE,
            values((5, 6), "u1"),
        )

    path = hdf5(fill)
    block = bytearray(path.read_bytes())
    place = block.index(
        bytes.fromhex("11201f000400000000002000170800")
    )  # the type of 32-bit floats
    block[place + 4] = 99
    path.write_bytes(block)
    _, dataset = opened(path, CUBE)
    assert len(dataset.images) == 2
    assert dataset.skipped == {"object that h5py cannot read": 1}


def test_hdf5_opens_as_far_as_a_damaged_group(hdf5):
    import h5py

    path = hdf5(lambda file: (file.create_dataset("image", data=CUBE), file.create_group("middle")))
    with h5py.File(path) as file:
        place = h5py.h5o.get_info(file["middle"].id).addr
    block = bytearray(path.read_bytes())
    block[place : place + 8] = b"\xff" * 8
    path.write_bytes(block)
    _, dataset = opened(path, CUBE)
    assert dataset.skipped == {"object that h5py cannot read": 1}


def test_hdf5_with_a_dead_link_where_imaris_says_the_extent_opens(hdf5):
    import h5py

    def fill(file):
        file["image"] = CUBE
        file.create_group("DataSetInfo")["Image"] = h5py.SoftLink("/nowhere")

    opened(hdf5(fill), CUBE)


def test_hdf5_packed_by_a_filter_of_hdf5plugin(hdf5, tmp_path, monkeypatch):
    path = hdf5(
        lambda file: file.create_dataset("image", data=CUBE, chunks=CUBE.shape, compression="lzf")
    )
    block = bytearray(path.read_bytes())
    code = block.index(b"lzf") - 8
    assert int.from_bytes(block[code : code + 2], "little") == 32000
    block[code : code + 2] = (32123).to_bytes(2, "little")
    path.write_bytes(block)
    (tmp_path / "hdf5plugin.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    refused(
        path, r"1 x data set packed by a filter that is not installed \(pip install hdf5plugin\)"
    )
    assert sys.modules.pop("hdf5plugin")  # it was asked for its filters


def test_hdf5_beside_an_hdf5plugin_that_is_broken_opens_the_rest(hdf5, tmp_path, monkeypatch):
    def fill(file):
        file.create_dataset("packed", data=CUBE, chunks=CUBE.shape, compression="lzf")
        file["image"] = CUBE

    path = hdf5(fill)
    block = bytearray(path.read_bytes())
    code = block.index(b"lzf") - 8
    block[code : code + 2] = (32123).to_bytes(2, "little")
    path.write_bytes(block)
    (tmp_path / "hdf5plugin.py").write_text(
        "raise OSError('libh5blosc.so: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    _, dataset = opened(path, CUBE)
    assert dataset.skipped == {
        "data set packed by a filter that is not installed (pip install hdf5plugin)": 1
    }


def test_hdf5_of_more_pixels_than_can_be_counted_opens_the_rest(hdf5):
    def fill(file):
        file["image"] = CUBE
        file.create_dataset("wide", (1 << 40, 1 << 20), "f4", chunks=(1, 1024))
        file.create_dataset("huge", (1 << 24, 1 << 37), "f4", chunks=(1 << 14, 1 << 14))

    _, dataset = opened(hdf5(fill), CUBE)
    assert dataset.skipped == {"data set of too many pixels": 2}


def test_hdf5_put_together_from_files_that_are_gone_says_so(hdf5, tmp_path):
    import h5py

    for number, plane in enumerate(CUBE):
        hdf5(lambda file, plane=plane: file.create_dataset("x", data=plane), f"v{number}.h5")

    def fill(file):
        layout = h5py.VirtualLayout(CUBE.shape, "u2")
        for number in range(len(CUBE)):
            layout[number] = h5py.VirtualSource(f"v{number}.h5", "x", CUBE.shape[1:])
        file.create_virtual_dataset("image", layout, fillvalue=7)

    path = hdf5(fill)
    opened(path, CUBE)
    (tmp_path / "v3.h5").unlink()
    expected = CUBE.copy()
    expected[3] = 7
    with pytest.warns(
        nl.LazyLoadWarning, match=r"1 of the files that 'image' .* not there \('v3.h5'.*fill value"
    ):
        opened(path, expected)


def test_hdf5_with_its_pixels_in_a_file_beside_it(hdf5, tmp_path, monkeypatch):
    (tmp_path / "pixels.bin").write_bytes(b"a header" + CUBE.tobytes())
    path = hdf5(
        lambda file: file.create_dataset(
            "image", CUBE.shape, "u2", external=[("pixels.bin", 8, CUBE.nbytes)]
        )
    )
    monkeypatch.chdir(tmp_path.parent)
    opened(path, CUBE)
    (tmp_path / "pixels.bin").write_bytes(bytes(8) + CUBE.tobytes()[:-1])
    refused(path, "7,208 bytes as its header says, found 7,207 bytes")
    (tmp_path / "pixels.bin").unlink()
    refused(path, "1 x data set whose pixels are in a file that is not there")


def test_hdf5_with_its_pixels_in_several_files_beside_it(hdf5, tmp_path, monkeypatch):
    parts = [(f"part{number}.bin", 0, CUBE[number].nbytes) for number in range(len(CUBE))]
    for (name, *_), plane in zip(parts, CUBE, strict=True):
        (tmp_path / name).write_bytes(plane.tobytes())
    path = hdf5(lambda file: file.create_dataset("image", CUBE.shape, "u2", external=parts))
    monkeypatch.chdir(tmp_path.parent)
    opened(path, CUBE)


@pytest.mark.parametrize("absolute", [False, True])
def test_hdf5_with_its_pixels_in_a_file_of_another_folder_is_opened_on_request(
    hdf5, tmp_path, absolute
):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pixels.bin").write_bytes(CUBE.tobytes())
    (tmp_path / "here").mkdir()
    name = str(tmp_path / "elsewhere" / "pixels.bin") if absolute else "../elsewhere/pixels.bin"
    path = hdf5(
        lambda file: file.create_dataset(
            "image", CUBE.shape, "u2", external=[(name, 0, CUBE.nbytes)]
        ),
        "here/a.h5",
    )
    refused(path, "1 x data set whose pixels are in a file of another folder .*outside=True")
    opened(path, CUBE, outside=True)


def positions(file, parent, names, units):
    for axis, (name, unit) in enumerate(zip(names, units, strict=True)):
        file[f"{parent}{name}"] = np.arange(CUBE.shape[axis]) * (axis + 0.5) + 3
        if unit:
            file[f"{parent}{name}"].attrs["units"] = unit


def test_hdf5_dimension_scales_name_and_place_the_axes(hdf5):
    def fill(file):
        file["image"] = CUBE
        positions(file, "", "zyx", ("mm", "seconds since 1970", None))
        for axis, name in enumerate("zyx"):
            file[name].make_scale(name)
            file["image"].dims[axis].attach_scale(file[name])

    image, _ = opened(hdf5(fill), CUBE)
    assert (image.axes, image.scale, image.translate) == (
        ("z", "y", "x"),
        (0.5, 1.5, 2.5),
        (3, 3, 3),
    )
    assert image.units == ("mm", None, None)


def test_hdf5_dimension_scales_that_were_deleted_are_left_out(hdf5):
    def fill(file):
        file["image"] = CUBE
        positions(file, "", "zyx", ("mm", "mm", "mm"))
        for axis, name in enumerate("zyx"):
            file[name].make_scale(name)
            file["image"].dims[axis].attach_scale(file[name])
        del file["y"]

    image, dataset = opened(hdf5(fill), CUBE)
    assert (image.axes, image.scale, image.units) == (
        ("z", "y", "x"),
        (0.5, 1, 2.5),
        ("mm", None, "mm"),
    )
    assert dataset.skipped == {"data set of less than two axes": 2}


OPEN_ALL = """
import sys
import napari_lazyload as nl

for path in sys.argv[1:]:
    with nl.open_dataset(path) as dataset:
        print(*dataset.images[0].axes)
"""


def test_hdf5_dimension_labels_and_scales_of_any_type(hdf5):
    from h5py import Empty, string_dtype

    labels = [
        (np.array([b"v", b"u", b"w"]), "v u w"),
        (np.array(["v", "u", "w"], object), "v u w"),
        (np.array([b"v", b"", b"w"]), "z y x"),
        (np.array([b"v", b"u"]), "z y x"),
        (np.array([b"\xe9", b"u", b"w"]), "\N{REPLACEMENT CHARACTER} u w"),
        (np.array([b"\xe9", b"u", b"w"], object), "\N{REPLACEMENT CHARACTER} u w"),
        (b"v", "z y x"),
        (7, "z y x"),
        (np.arange(3), "z y x"),
        (Empty("S1"), "z y x"),
    ]
    scales = [np.arange(3), 7, b"scale", np.array([b"image", b"image", b"image"]), Empty("f4")]
    cases = [("DIMENSION_LABELS", *one) for one in labels] + [
        ("DIMENSION_LIST", one, "z y x") for one in scales
    ]

    def fill(name, value):
        def write(file):
            file["image"] = CUBE
            kind = (
                string_dtype()
                if isinstance(value, np.ndarray) and value.dtype.kind == "O"
                else None
            )
            file["image"].attrs.create(name, value, dtype=kind)

        return write

    paths = [
        hdf5(fill(name, value), f"{number}.h5") for number, (name, value, _) in enumerate(cases)
    ]
    # Elsewhere, for HDF5 would end Python itself.
    command, said = (
        [sys.executable, "-X", "utf8", "-c", OPEN_ALL, *map(str, paths)],
        [axes for *_, axes in cases],
    )
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=100, check=False)
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", said)


def test_hdf5_axes_of_nexus_and_of_berkeleys_emd(hdf5):
    def nexus(file):
        file["entry/data/counts"] = CUBE
        file["entry/data"].attrs.update({"signal": "counts", "axes": ["frame", ".", "position"]})
        positions(file, "entry/data/", ("frame", "unused", "position"), (None, None, "um"))

    image, _ = opened(hdf5(nexus, "a.nxs"), CUBE)
    assert (image.axes, image.scale, image.units) == (
        ("z", "y", "x"),
        (0.5, 1, 2.5),
        (None, None, "um"),
    )

    def emd(file):
        file["data/image/data"] = CUBE
        file["data/image"].attrs["emd_group_type"] = 1
        positions(file, "data/image/", ("dim1", "dim2", "dim3"), ("[n_m]", "[n_m]", "[n_m]"))
        for number, name in enumerate(("depth", "y", "x"), 1):
            file[f"data/image/dim{number}"].attrs["name"] = name
        del file["data/image/dim2"]
        file["data/image/dim2"] = [10.0, 12.0]
        file["data/image/dim2"].attrs["name"] = np.bytes_("y")

    image, _ = opened(hdf5(emd, "a.emd"), CUBE)
    assert (image.axes, image.scale, image.units) == (
        ("depth", "y", "x"),
        (0.5, 2, 2.5),
        ("nm", None, "nm"),
    )


@pytest.mark.parametrize("values_", [[0, 1, 5], [5, 4, 3], [0, np.nan, 2], [1, 1, 1]])
def test_hdf5_positions_that_are_not_even_are_left_out(hdf5, values_):
    def fill(file):
        file["data/image/data"] = CUBE[:3]
        file["data/image"].attrs["emd_group_type"] = 1
        file["data/image/dim1"] = np.array(values_, float)

    image, _ = opened(hdf5(fill, "a.emd"), CUBE[:3])
    assert (image.axes, image.scale) == (("z", "y", "x"), (1, 1, 1))


def test_hdf5_names_that_would_turn_an_image_or_are_kept_for_colors_are_not_taken(hdf5):
    def fill(file):
        for name, axes in (("a", "xyz"), ("b", "zys")):
            file[f"{name}/data"] = CUBE
            file[name].attrs["emd_group_type"] = 1
            for number, axis in enumerate(axes):
                file[f"{name}/dim{number + 1}"] = np.arange(CUBE.shape[number])
                file[f"{name}/dim{number + 1}"].attrs["name"] = axis
        file["c"] = CUBE
        for axis, label in enumerate("zys"):
            file["c"].dims[axis].label = label

    path = hdf5(fill, "a.emd")
    for number in range(3):
        assert opened(path, CUBE, number)[0].axes == ("z", "y", "x")


@pytest.mark.parametrize("said", [True, False])
def test_hdf5_frames_of_velox_come_first_and_in_nanometers(hdf5, said):
    def fill(file):
        group = file.create_group("Data/Image/" + "0a" * 16)
        group["Data"] = np.moveaxis(CUBE, 0, -1)
        size = {
            "PixelSize": {"width": "1e-10", "height": "2e-10"},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
        }
        scan = {"FrameTime": "0.25" if said else "inf"}
        text = json.dumps({"BinaryResult": size if said else {}, "Scan": scan}).encode()
        group["Metadata"] = np.tile(np.frombuffer(text.ljust(500, b"\0"), "u1")[:, None], (1, 6))

    image, dataset = opened(hdf5(fill, "a.emd"), CUBE)
    assert image.axes == ("t", "y", "x")
    assert image.scale == pytest.approx((0.25, 0.2, 0.1) if said else (1, 1, 1))
    assert image.units == (("second", "nanometer", "nanometer") if said else (None,) * 3)
    assert dataset.skipped == {"description of other data sets": 1}


def test_hdf5_attributes_that_a_damaged_header_makes_large_are_not_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    from napari_lazyload.sources.hdf5.source import attribute

    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.attrs["small"], file.attrs["large"] = [1, 2], np.zeros(1 << 18)
        assert attribute(file, "small").tolist() == [1, 2]
        assert attribute(file, "large", "left out") == "left out"
        assert attribute(file, "none") is None


def bdv(file):
    for setup in range(2):
        file[f"s{setup:02d}/resolutions"] = np.array([[1.0, 1, 1], [2, 2, 1]])
        for time in range(2):
            for level, array in enumerate((CUBE, CUBE[:, ::2, ::2])):
                file.create_dataset(
                    f"t{time:05d}/s{setup:02d}/{level}/cells", data=array + time, chunks=(2, 8, 8)
                )


BDV = """{}<SpimData><SequenceDescription><ViewSetups>
<ViewSetup><id>0</id><name>a</name><size>30 20 6</size>
<voxelSize><unit>µm</unit><size>0.5 0.25 2.0</size></voxelSize>
<attributes><id>7</id></attributes></ViewSetup>
<ViewSetup><id>1</id><voxelSize><unit>pixel</unit><size>1 nan 3</size></voxelSize></ViewSetup>
</ViewSetups></SequenceDescription></SpimData>"""


def test_hdf5_of_bigdataviewer_has_the_size_of_voxels_from_its_xml(hdf5, tmp_path):
    path, expected = hdf5(bdv), np.stack([CUBE, CUBE + 1])
    assert opened(path, expected)[0].scale == (1, 1, 1, 1)
    (tmp_path / "a.xml").write_text(BDV.format(""), encoding="utf-8")
    image, dataset = opened(path, expected)
    assert (image.scale, image.units) == ((1, 2, 0.25, 0.5), (None, *("micrometer",) * 3))
    assert dataset.images[1].scale == (1, 1, 1, 1)
    for broken in (BDV.format("<!DOCTYPE a [<!ENTITY b 'c'>]>"), BDV[:-9].format(""), ""):
        (tmp_path / "a.xml").write_text(broken, encoding="utf-8")
        assert opened(path, expected)[0].scale == (1, 1, 1, 1)


def test_hdf5_files_that_are_none_or_hold_no_image(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    refused(path, "an HDF5 file")
    with h5py.File(path, "w") as file:
        file["spectrum"] = np.arange(5)
    refused(path, "a data set with an image")
    with h5py.File(path, "w") as file:
        file.create_dataset("packed", data=CUBE[:3], chunks=(1, 20, 30), compression="gzip")
    with nl.open_dataset(path) as dataset:
        content = bytearray(path.read_bytes())
        (image,) = dataset.images
        with h5py.File(path) as file:
            at = file["packed"].id.get_chunk_info(0).byte_offset
        content[at + 10 : at + 60] = bytes(50)
        stat = path.stat()
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(nl.ChunkReadError, match="'packed'"):
            np.asarray(image.data)
