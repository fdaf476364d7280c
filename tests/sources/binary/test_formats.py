"""Binaries written by the libraries of their fields open equal: values, axes, scale, header."""

from __future__ import annotations

import bz2
import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import napari_lazyload as nl
from napari_lazyload.core.errors import MissingDependencyError
from napari_lazyload.sources import formats
from napari_lazyload.sources.image_files.decode import PICTURE_SUFFIXES

pytestmark = pytest.mark.filterwarnings(
    "ignore:datetime.datetime.utcnow:DeprecationWarning"
)  # pynrrd's writer

TYPES = [
    "u1",
    "i1",
    "<u2",
    ">u2",
    "<i2",
    ">i2",
    "<i4",
    ">u4",
    "<i8",
    ">f4",
    "<f4",
    "<f8",
    ">f8",
    "<c8",
    "?",
    "<f2",
]
EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)


def values(shape, dtype="u2", seed=0):
    made = np.random.default_rng(seed).integers(0, 100, shape)
    return (made * (1 + 1j) if np.dtype(dtype).kind == "c" else made).astype(dtype)


def opened(path, expected, number=0, **options):
    """Open a file, compare an image with what it should be, and return it with its dataset."""
    dataset = nl.open_dataset(path, **options)
    image = dataset.images[number]
    pixels = np.asarray(image.data)
    assert image.shape == pixels.shape == expected.shape
    assert image.dtype == pixels.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(
        image.data[..., : -(-expected.shape[-1] // 2)], expected[..., : -(-expected.shape[-1] // 2)]
    )
    assert len(dataset.meta) == dataset._opened.row_count
    return image, dataset


# --- NPY and NPZ
# --------------------------------------------------------------------------------------------------


@EXAMPLES
@given(
    shape=SHAPES,
    dtype=st.sampled_from(TYPES),
    order=st.sampled_from("CF"),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_npy(tmp_path, shape, dtype, order, version):
    array = np.asarray(values(shape, dtype), order=order)
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
    _, dataset = opened(path, array, axes=[f"a{n}" for n in range(len(shape))])
    row = dataset.meta.iloc[0]
    assert row["stored_dtype"] == str(array.dtype)
    assert path.stat().st_size == row["data_offset"] + array.nbytes


def test_npy_axes_are_the_end_of_tczyx_and_colors_are_seen(tmp_path):
    for shape, axes in [
        ((5, 6), "yx"),
        ((4, 5, 6), "zyx"),
        ((3, 4, 5, 6), "tzyx"),
        ((2, 3, 4, 5, 6), "tczyx"),
        ((30, 40, 3), "yxs"),
        ((2, 30, 40, 4), "zyxs"),
    ]:
        np.save(tmp_path / "a.npy", values(shape, "u1"))
        image, _ = opened(tmp_path / "a.npy", values(shape, "u1"))
        assert "".join(image.axes) == axes


def test_npy_of_python_2_opens_without_a_warning(tmp_path):
    array = values((4, 5, 6), ">i2")
    text = b"{'descr': '>i2', 'fortran_order': False, 'shape': (4L, 5L, 6L), }".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()
    )
    opened(tmp_path / "a.npy", array)


def test_a_field_of_structured_npy(tmp_path):
    records = np.zeros(
        (4, 5), [("time", "<f8"), ("frame", ">u2", (6, 7)), ("pos", [("x", "f4"), ("y", "f4")])]
    )
    records["frame"] = values((4, 5, 6, 7))
    records["pos"]["y"] = values((4, 5))
    np.save(tmp_path / "a.npy", records)
    opened(tmp_path / "a.npy", records["frame"], key="frame")
    opened(tmp_path / "a.npy", records["pos"]["y"], key="pos.y")
    with pytest.raises(
        nl.SourceOpenError, match=r"'time', 'frame', 'pos'; name one of the fields with key="
    ):
        nl.open_dataset(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"'time', 'frame', 'pos'"):
        nl.open_dataset(tmp_path / "a.npy", key="frames")


def test_members_of_an_npz_are_read_in_place(tmp_path):
    path = tmp_path / "a.npz"
    first, second = values((5, 6, 7), ">u2"), np.asfortranarray(values((8, 9), "f4"))
    np.savez(path, first=first, second=second, label="text")
    opened(path, first)
    _, dataset = opened(path, second, 1)
    assert dataset.meta["name"].tolist() == ["first", "second"]
    assert dataset.left_out["original_filename"].tolist() == ["label"]
    opened(path, second, key="second")
    with pytest.raises(ValueError, match="'first', 'second', 'label'"):
        nl.open_dataset(path, key="third")
    np.savez_compressed(path, first)
    with pytest.raises(nl.SourceOpenError, match=r"without compression.*numpy\.savez"):
        nl.open_dataset(path)


# --- MRC
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "c8", "f2"])
def test_mrc(tmp_path, dtype):
    mrcfile = pytest.importorskip("mrcfile")
    path = tmp_path / "a.mrc"
    array = values((4, 5, 6), dtype)
    with mrcfile.new(path) as mrc:
        mrc.set_data(array)
        mrc.set_volume()
        mrc.voxel_size = (1.5, 2.5, 3.5)
        mrc.header.origin = (10, 20, 30)
        mrc.add_label("made by a test")
    image, dataset = opened(path, array)
    assert image.axes == ("z", "y", "x")
    np.testing.assert_allclose(image.scale, (3.5, 2.5, 1.5))
    assert (image.translate, image.units) == ((30, 20, 10), ("angstrom",) * 3)
    row = dataset.meta.iloc[0]
    assert row["mode"] == mrcfile.utils.mode_from_dtype(np.dtype(dtype))
    assert "made by a test" in row["labels"]
    for packed, suffix in ((gzip.compress, ".gz"), (bz2.compress, ".bz2")):
        other = tmp_path / f"a.map{suffix}"
        other.write_bytes(packed(path.read_bytes()))
        same, _ = opened(other, array)
        assert (same.scale, same.axes) == (image.scale, image.axes)


def test_mrc_of_both_byte_orders_with_an_extended_header_and_axes_in_another_order(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    path = tmp_path / "a.rec"
    stored = values((4, 5, 6), "i2")
    with mrcfile.new(path) as mrc:
        mrc.set_data(stored)
        mrc.set_volume()
        mrc.set_extended_header(np.zeros(3, "V80"))
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = (
            3,
            1,
            2,
        )  # columns are z, rows x, sections y
        mrc.header.nxstart = 7
        mrc.header.mx, mrc.header.my, mrc.header.mz = 5, 4, 6
        mrc.header.cella = (5, 8, 18)
    image, _ = opened(path, stored.transpose(2, 0, 1))
    assert image.scale == (3.0, 2.0, 1.0)
    assert image.translate == (21.0, 0.0, 0.0)
    block = np.fromfile(path, "u1")
    header = np.frombuffer(block[:1024].tobytes(), mrcfile.dtypes.HEADER_DTYPE).astype(
        mrcfile.dtypes.HEADER_DTYPE.newbyteorder(">")
    )
    header["machst"] = [0x11, 0x11, 0, 0]
    path.write_bytes(header.tobytes() + bytes(240) + stored.astype(">i2").tobytes())
    opened(path, stored.transpose(2, 0, 1))
    header["machst"] = 0
    path.write_bytes(header.tobytes() + bytes(240) + stored.astype(">i2").tobytes())
    opened(path, stored.transpose(2, 0, 1))


def test_stacks_of_images_and_of_volumes(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    path = tmp_path / "a.mrcs"
    array = values((4, 5, 6), "f4")
    with mrcfile.new(path) as mrc:
        mrc.set_data(array)
        mrc.set_image_stack()
    assert opened(path, array)[0].axes == ("frame", "y", "x")
    stack = values((2, 3, 4, 5), "f4")
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(stack)
    assert opened(path, stack)[0].axes == ("volume", "z", "y", "x")
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(array[0])
    assert opened(path, array[0])[0].axes == ("y", "x")


def test_a_stack_with_a_header_for_each_frame_has_a_row_for_each(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    path = tmp_path / "tilt.st"
    array = values((4, 5, 6), "i2")
    dtype = mrcfile.dtypes.get_ext_header_dtype(b"FEI1", "<")
    frames = np.zeros(4, dtype)
    frames["Metadata size"] = dtype.itemsize
    frames["Alpha tilt"] = [-60, -20, 20, 60]
    with mrcfile.new(path) as mrc:
        mrc.set_data(array)
        mrc.set_image_stack()
        mrc.header.exttyp = b"FEI1"
        mrc.set_extended_header(frames)
    image, dataset = opened(path, array)
    assert dataset.meta["Alpha tilt"].tolist() == [-60, -20, 20, 60]
    assert dataset.meta["frame"].tolist() == [0, 1, 2, 3]
    assert image.chunks[0] == (1, 1, 1, 1)
    assert dataset.locate(2) == (0, (2,))
    assert dataset.row_of(0, (3, 0, 0)) == 3
    assert dataset.summary == "4 frames"


# --- NIfTI, Analyze, MGH
# ---------------------------------------------------------------------------------------------


@EXAMPLES
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple),
    dtype=st.sampled_from(["u1", "i2", "i4", "f4", "f8", "u2", "c8"]),
    big=st.booleans(),
    kind=st.sampled_from(["Nifti1Image", "Nifti2Image", "Nifti1Pair"]),
    packed=st.booleans(),
)
def test_nifti(tmp_path, shape, dtype, big, kind, packed):
    nibabel = pytest.importorskip("nibabel")
    array = values(shape, dtype)
    form = getattr(nibabel, kind)
    header = form.header_class(endianness=">" if big else "<")
    header.set_data_dtype(dtype)
    image = form(array, np.diag([2.0, 3.0, 4.0, 1.0]), header)
    suffix = (".img" if kind == "Nifti1Pair" else ".nii") + ".gz" * packed
    path = tmp_path / f"a{suffix}"
    for old in tmp_path.iterdir():
        old.unlink()
    nibabel.save(image, path)
    reference = nibabel.load(path)
    expected = np.asarray(reference.dataobj).T
    found, _ = opened(path, expected)
    assert found.axes == ("c", "t", "z", "y", "x")[-len(shape) :]
    zooms = reference.header.get_zooms()
    assert found.scale == tuple(
        float(zoom) if axis != "c" else 1.0
        for zoom, axis in zip(zooms[::-1], found.axes, strict=True)
    )
    if kind == "Nifti1Pair":
        opened(str(path).replace(".img", ".hdr"), expected)


def test_nifti_turned_and_scaled(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "a.nii"
    angle = 0.3
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2.0, 3.0, 4.0])
    affine[:3, 3] = 10, 20, 30
    image = nibabel.Nifti1Image(values((4, 5, 6, 2), "i2"), affine)
    image.header.set_xyzt_units("micron", "msec")
    image.header.set_zooms((2, 3, 4, 50))
    image.header.set_slope_inter(0.1, -7)
    nibabel.save(image, path)
    reference = nibabel.load(path)
    found, dataset = opened(path, np.asarray(reference.dataobj).T)
    assert found.dtype == np.float64
    assert found.scale == (50, 4, 3, 2)
    assert found.units == ("millisecond", "micrometer", "micrometer", "micrometer")
    pixel = np.array([1, 2, 3, 0])  # i, j, k
    world = reference.affine @ [*pixel[:3], 1]
    mapped = found.affine @ [*(np.array(found.scale) * pixel[[3, 2, 1, 0]] + found.translate), 1]
    np.testing.assert_allclose(mapped[1:4], world[:3][::-1], rtol=1e-5)
    row = dataset.meta.iloc[0]
    assert (row["slope"], row["intercept"]) == pytest.approx((0.1, -7))
    stored, _ = opened(path, np.asarray(reference.dataobj.get_unscaled()).T, scaled=False)
    assert stored.dtype == np.int16


def test_analyze_and_colors_and_mgh(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for kind in ("AnalyzeImage", "Spm99AnalyzeImage", "Spm2AnalyzeImage"):
        image = getattr(nibabel, kind)(values((4, 5, 6), "i2"), np.diag([2.0, 3.0, 4.0, 1.0]))
        path = tmp_path / f"{kind}.img"
        image.to_filename(path)
        found, _ = opened(path, np.asarray(nibabel.load(path).dataobj).T)
        assert found.scale == (4, 3, 2)
    color = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for number, name in enumerate("RGB"):
        color[name] = values(color.shape, "u1", number)
    nibabel.save(nibabel.Nifti1Image(color, np.eye(4)), tmp_path / "rgb.nii")
    expected = np.stack([color[name].T for name in "RGB"], -1)
    assert opened(tmp_path / "rgb.nii", expected)[0].axes == ("z", "y", "x", "s")
    for name in ("a.mgh", "a.mgz"):
        nibabel.save(
            nibabel.MGHImage(values((4, 5, 6), "i2"), np.diag([2.0, 3.0, 4.0, 1.0])),
            tmp_path / name,
        )
        image, _ = opened(tmp_path / name, values((4, 5, 6), "i2").T)
        assert image.scale == (4, 3, 2)
        assert image.units == ("millimeter",) * 3


def test_the_time_of_mgh_is_in_seconds(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    pixels = values((4, 5, 6, 3), "i2")
    made = nibabel.MGHImage(pixels, np.diag([2.0, 3.0, 4.0, 1.0]))
    nibabel.save(made, tmp_path / "none.mgh")
    made.header.set_zooms((2.0, 3.0, 4.0, 2500.0))
    made.header["te"] = 30
    for name in ("a.mgh", "a.mgz"):
        nibabel.save(made, tmp_path / name)
    image, dataset = opened(tmp_path / "a.mgh", pixels.T)
    assert image.scale == (2.5, 4, 3, 2)
    assert image.units == ("second", *("millimeter",) * 3)
    assert (dataset.meta["tr"].tolist(), dataset.meta["te"].tolist()) == ([2500], [30])
    for name in ("none.mgh", "a.mgz"):  # the end of packed data is not looked at
        image, _ = opened(tmp_path / name, pixels.T)
        assert image.scale == (1, 4, 3, 2)
        assert image.units == (None, *("millimeter",) * 3)


# --- NRRD
# --------------------------------------------------------------------------------------------------


@EXAMPLES
@given(
    shape=SHAPES,
    dtype=st.sampled_from(["u1", "i1", "<u2", ">i2", "<u4", "<f4", ">f8", "<i8"]),
    encoding=st.sampled_from(["raw", "gzip", "bzip2", "ASCII"]),
    detached=st.booleans(),
)
def test_nrrd(tmp_path, shape, dtype, encoding, detached):
    nrrd = pytest.importorskip("nrrd")
    array = values(shape, dtype)
    path = tmp_path / ("a.nhdr" if detached else "a.nrrd")
    nrrd.write(str(path), array, {"encoding": encoding}, detached_header=detached, index_order="C")
    opened(path, array)


def test_nrrd_that_names_nothing_is_taken_as_it_lies(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    array = values((5, 6, 3), "u1")
    nrrd.write(str(tmp_path / "a.nrrd"), array, {"encoding": "raw"}, index_order="C")
    image, _ = opened(tmp_path / "a.nrrd", array)
    assert image.axes == ("z", "y", "x")


def test_nrrd_placed(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    path = tmp_path / "a.nrrd"
    array = values((3, 4, 5, 2), "i2")  # in the order of the file: x, y, z and a list
    header = {
        "space": "left-posterior-superior",
        "space directions": [[0, 2, 0], [-3, 0, 0], [0, 0, 4], [np.nan] * 3],
        "space origin": [10, 20, 30],
        "kinds": ["domain", "domain", "domain", "list"],
        "space units": ["um", "um", "um"],
    }
    nrrd.write(str(path), array, header, index_order="F")
    image, dataset = opened(path, array.T)
    assert image.axes == ("c", "z", "y", "x")
    assert (image.scale, image.units) == ((1, 4, 3, 2), (None, "um", "um", "um"))
    mapped = image.affine @ [0, 3 * 4, 2 * 3, 1 * 2, 1]  # pixel x=1, y=2, z=3
    np.testing.assert_allclose(mapped[1:4][::-1], [10 - 2 * 3, 20 + 2, 30 + 3 * 4])
    assert dataset.meta.iloc[0]["space"] == "left-posterior-superior"


def test_nrrd_with_spacings_and_colors_before_the_plane(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    path = tmp_path / "a.nrrd"
    colors = values((3, 6, 5), "u1")
    nrrd.write(
        str(path),
        colors,
        {"kinds": ["RGB-color", "domain", "domain"], "spacings": [np.nan, 2, 3]},
        index_order="F",
    )
    image, _ = opened(path, colors.T)
    assert (image.axes, image.scale) == (("y", "x", "s"), (3, 2))


def test_nrrd_data_in_several_files_with_skips(tmp_path):
    array = values((6, 4, 5), ">u2")
    head = (
        "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 5 4 6\n"
        "endian: big\nencoding: raw\nline skip: 1\nbyte skip: 3\n"
    )
    for number in range(3):
        (tmp_path / f"part{number + 1:02d}.raw").write_bytes(
            b"a line\nabc" + array[2 * number : 2 * number + 2].tobytes()
        )
    (tmp_path / "list.nhdr").write_text(
        head + "data file: LIST\npart01.raw\npart02.raw\npart03.raw\n"
    )
    (tmp_path / "pattern.nhdr").write_text(head + "data file: part%02d.raw 1 3 1\n")
    for name in ("list.nhdr", "pattern.nhdr"):
        image, dataset = opened(tmp_path / name, array)
        assert dataset.meta.iloc[0]["data_files"] == 3
        assert image.data[3].compute().tolist() == array[3].tolist()
    (tmp_path / "one.raw").write_bytes(b"rubbish of any length" + array.tobytes())
    (tmp_path / "end.nhdr").write_text(
        head.replace("line skip: 1\nbyte skip: 3", "byte skip: -1") + "data file: one.raw\n"
    )
    opened(tmp_path / "end.nhdr", array)


# --- MetaImage
# --------------------------------------------------------------------------------------------------

META = (
    "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = {}\nElementSpacing = 1 2 3\n"
    "Offset = 10 20 30\n{}\nElementDataFile = {}"
)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("MET_UCHAR", "u1"),
        ("MET_SHORT", "<i2"),
        ("MET_USHORT", ">u2"),
        ("MET_FLOAT", "<f4"),
        ("MET_DOUBLE", ">f8"),
    ],
)
def test_metaimage(tmp_path, name, dtype):
    import zlib

    array = values((3, 4, 5), dtype)
    msb = f"BinaryDataByteOrderMSB = {dtype[0] == '>'}"
    (tmp_path / "a.mha").write_bytes(META.format(name, msb, "LOCAL\n").encode() + array.tobytes())
    image, dataset = opened(tmp_path / "a.mha", array)
    assert (image.axes, image.scale, image.translate) == (("z", "y", "x"), (3, 2, 1), (30, 20, 10))
    assert dataset.meta.iloc[0]["ElementType"] == name
    packed = META.format(name, f"{msb}\nCompressedData = True", "a.zraw")
    (tmp_path / "a.zraw").write_bytes(zlib.compress(array.tobytes()))
    (tmp_path / "z.mhd").write_text(packed)
    opened(tmp_path / "z.mhd", array)
    (tmp_path / "a.raw").write_bytes(b"any header" + array.tobytes())
    for skip in (10, -1):
        (tmp_path / "a.mhd").write_text(META.format(name, f"{msb}\nHeaderSize = {skip}", "a.raw\n"))
        opened(tmp_path / "a.mhd", array)


def test_metaimage_of_slices_channels_and_turned(tmp_path):
    array = values((3, 4, 5), "<i2")
    for number, plane in enumerate(array):
        plane.tofile(tmp_path / f"s{number}.raw")
    names = "\n".join(f"s{number}.raw" for number in range(3))
    (tmp_path / "list.mhd").write_text(META.format("MET_SHORT", "", f"LIST\n{names}\n"))
    (tmp_path / "pattern.mhd").write_text(META.format("MET_SHORT", "", "s%d.raw 0 2 1\n"))
    for name in ("list.mhd", "pattern.mhd"):
        opened(tmp_path / name, array)
    vectors = values((3, 4, 5, 2), "<i2")
    head = META.format(
        "MET_SHORT", "ElementNumberOfChannels = 2\nTransformMatrix = 0 1 0 1 0 0 0 0 1", "LOCAL\n"
    )
    (tmp_path / "a.mha").write_bytes(head.encode() + vectors.tobytes())
    image, _ = opened(tmp_path / "a.mha", np.moveaxis(vectors, -1, 0))
    assert image.axes == ("c", "z", "y", "x")
    # The first axis of the file runs along the second one of space, and the other way round.
    np.testing.assert_allclose((image.affine @ [0, 3, 0, 0, 1])[1:4], [33, 20, 10])
    np.testing.assert_allclose((image.affine @ [0, 0, 2, 0, 1])[1:4], [30, 20, 12])


def test_metaimage_counts_its_header_size_from_the_beginning_of_the_file(tmp_path):
    volume = values((3, 4, 5), "<i2")
    text = META.format("MET_SHORT", "HeaderSize = 4096", "LOCAL\n").encode()
    (tmp_path / "a.mha").write_bytes(text.ljust(4096) + volume.tobytes())
    opened(tmp_path / "a.mha", volume)


# --- FITS
# --------------------------------------------------------------------------------------------------


@EXAMPLES
@given(
    shape=SHAPES,
    dtype=st.sampled_from(["u1", ">i2", ">i4", ">i8", ">f4", ">f8", "u2", "u4", "u8", "i1"]),
)
def test_fits(tmp_path, shape, dtype):
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(values(shape, dtype)).writeto(path, overwrite=True)
    with fits.open(path, memmap=False) as units:
        expected = np.array(units[0].data)
    opened(path, expected)


@pytest.mark.parametrize(
    ("bitpix", "blank"), [("u1", 7), (">i2", 7), (">i4", None), (">f4", None), (">f8", None)]
)
def test_fits_is_scaled_as_astropy_does(tmp_path, bitpix, blank):
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "a.fits"
    unit = fits.PrimaryHDU(values((3, 20, 30), bitpix))
    unit.header["OBJECT"] = "M 31"
    unit.writeto(path)
    with fits.open(path, mode="update", do_not_scale_image_data=True, memmap=False) as units:
        units[0].header["BSCALE"], units[0].header["BZERO"] = 0.37, 1.5
        if blank is not None:
            units[0].header["BLANK"] = blank
    with fits.open(path, memmap=False) as units:
        expected = np.array(units[0].data)
    _, dataset = opened(path, expected)
    assert np.isnan(expected).any() == (blank is not None)
    assert dataset.meta.iloc[0][["OBJECT", "BSCALE"]].tolist() == ["M 31", 0.37]
    assert nl.open_dataset(path, scaled=False).images[0].dtype == np.dtype(bitpix).newbyteorder("=")


def test_fits_that_says_it_is_not_standard_is_refused(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(values((4, 5), ">i2")).writeto(tmp_path / "a.fits")
    block = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(block[:29] + b"F" + block[30:])
    with pytest.raises(
        nl.SourceOpenError, match=r"1 x data that says it is not standard \(SIMPLE = F\)"
    ):
        nl.open_dataset(tmp_path / "a.fits")


def test_fits_compressed_by_gzip(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "a.fits.gz"
    arrays = [values((20, 30), "u2"), values((3, 6, 7), ">f4"), values((8, 9), ">i2")]
    units = [fits.PrimaryHDU(arrays[0]), *map(fits.ImageHDU, arrays[1:])]
    units[2].header["BSCALE"] = 0.5
    fits.HDUList(units).writeto(path)
    with fits.open(path) as found:
        expected = [np.array(unit.data) for unit in found]
    for number, array in enumerate(expected):
        opened(path, array, number)
    block = path.read_bytes()
    (tmp_path / "cut.fits.gz").write_bytes(block[:-20])
    (tmp_path / "short.fits.gz").write_bytes(gzip.compress(gzip.decompress(block)[:-2800]))
    for name, said in [
        ("cut", "Compressed file ended"),
        ("short", r"as header 2 says, found .*; it is truncated"),
    ]:
        with pytest.raises(nl.SourceOpenError, match=said):
            nl.open_dataset(tmp_path / f"{name}.fits.gz")


def test_fits_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("astropy")
    monkeypatch.setattr("napari_lazyload.sources.binary.fits.MOST_PACKED", 1 << 20)
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(
        nl.SourceOpenError, match=r"expected at most .* found more; unpack it with gunzip"
    ):
        nl.open_dataset(tmp_path / "a.fits.gz")


def test_fits_with_several_images_and_tables(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / "a.fits"
    first, second = values((4, 5), ">i2"), values((3, 6, 7), ">f4")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(500))])
    units = [
        fits.PrimaryHDU(),
        fits.ImageHDU(first, name="SCI"),
        table,
        fits.CompImageHDU(first),
        fits.ImageHDU(second),
    ]
    fits.HDUList(units).writeto(path)
    opened(path, first)
    opened(path, first, 1)
    _, dataset = opened(path, second, 2)
    assert dataset.meta["hdu"].tolist() == [1, 3, 4]
    assert dataset.skipped == {"BINTABLE extension": 1}


# --- ENVI
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("order", [0, 1])
def test_envi(tmp_path, interleave, order):
    envi = pytest.importorskip("spectral.io.envi")
    cube = values((6, 7, 4), "u2")  # lines, samples, bands
    path = tmp_path / "scene.hdr"
    waves = {
        "wavelength": [400, 500.5, 600, 700],
        "band names": list("abcd"),
        "description": "a test",
    }
    envi.save_image(
        str(path), cube, interleave=interleave, byteorder=order, metadata=waves, ext="img"
    )
    for one in (path, tmp_path / "scene.img"):
        image, dataset = opened(one, np.moveaxis(cube, -1, 0))
        assert image.axes == ("c", "y", "x")
        assert dataset.meta["wavelength"].tolist() == [400, 500.5, 600, 700]
        assert dataset.meta["band names"].tolist() == list("abcd")
        assert dataset.meta["interleave"].tolist() == [interleave] * 4


def test_envi_with_an_offset_and_data_without_a_suffix(tmp_path):
    pytest.importorskip("spectral")
    cube = values((3, 5, 6), ">f4")
    (tmp_path / "scene").write_bytes(b"12345678" + cube.tobytes())
    (tmp_path / "scene.hdr").write_text(
        "ENVI\nsamples = 6\nlines = 5\nbands = 3\nheader offset = 8\n"
        "data type = 4\ninterleave = bsq\nbyte order = 1\n"
        "pixel size = {2.0, 3.0, units=Meters}\n"
    )
    for name in ("scene.hdr", "scene"):
        image, _ = opened(tmp_path / name, cube)
        assert (image.scale, image.units) == ((1, 3, 2), (None, "meter", "meter"))
    (tmp_path / "scene").rename(tmp_path / "other.data")
    opened(tmp_path / "scene.hdr", cube, data="other.data")


# --- raw
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("vol_10x20x30_uint16.raw", (10, 20, 30), "<u2"),
        ("_float32_12x12x10_le.raw", (12, 12, 10), "<f4"),
        ("scan-be_30x20_i16.bin", (30, 20), ">i2"),
        ("A_8bit_7X8X9.RAW", (7, 8, 9), "u1"),
        ("2x3x4x5_double_big.dat", (2, 3, 4, 5), ">f8"),
    ],
)
@pytest.mark.filterwarnings("ignore::napari_lazyload.LazyLoadWarning")
def test_raw_by_its_name(tmp_path, name, shape, dtype):
    array = values(shape, dtype)
    array.tofile(tmp_path / name)
    _, dataset = opened(tmp_path / name, array)
    assert dataset.meta.iloc[0][["described_by", "stored_dtype"]].tolist() == [
        "name",
        str(array.dtype),
    ]


def test_a_name_that_counts_the_fastest_axis_first_is_read_as_it_is_written_and_said(tmp_path):
    array = values((4, 6, 6), "u1")
    path = tmp_path / "engine_6x6x4_uint8.raw"
    array.tofile(path)
    with pytest.warns(nl.LazyLoadWarning, match=r"slowest axis first.*order='F'"):
        opened(path, array.reshape(6, 6, 4))
    opened(path, array, order="F")


def test_raw_by_its_sidecar_and_by_options(tmp_path):
    array = values((5, 6, 7), ">f4")
    path = tmp_path / "a.raw"
    path.write_bytes(b"head" + array.tobytes())
    said = {
        "dtype": "float32",
        "byte_order": "big",
        "shape": [5, 6, 7],
        "offset": 4,
        "axes": ["t", "y", "x"],
    }
    said |= {
        "scale": [0.1, 2, 3],
        "units": ["second", "um", "um"],
        "translate": [0, 1, 2],
        "comment": "ignored",
    }
    for name in ("a.json", "a.raw.json"):
        (tmp_path / name).write_text(json.dumps(said))
        image, dataset = opened(path, array)
        assert (image.axes, image.scale) == (("t", "y", "x"), (0.1, 2, 3))
        assert (image.units, image.translate) == (("second", "um", "um"), (0, 1, 2))
        assert dataset.meta.iloc[0]["described_by"] == name
        (tmp_path / name).unlink()
    opened(path, array, dtype=">f4", shape=(5, 6, 7), offset=4)
    opened(path, array, dtype=">f4", shape=(-1, 6, 7), offset=4)
    records = [["head", "V4"], ["pixels", ">f4", [5, 6, 7]]]
    (tmp_path / "a.json").write_text(json.dumps({"dtype": records, "key": "pixels"}))
    opened(path, array[np.newaxis])


def test_what_nothing_describes_is_refused_with_guesses(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(2 * 100 * 512 * 512))
    with pytest.raises(ValueError, match=r"shape=\(100, 512, 512\), dtype='uint16'") as info:
        nl.open_dataset(path)
    assert isinstance(info.value, nl.SourceOpenError)
    with pytest.raises(ValueError, match="known so far: dtype=uint16"):
        nl.open_dataset(path, dtype="uint16")


# --- all
# --------------------------------------------------------------------------------------------------


def test_chunks_are_those_of_the_reading(tmp_path):
    np.save(tmp_path / "a.npy", values((40, 100, 100)))
    with nl.open_dataset(tmp_path / "a.npy", chunks={"z": 10, "y": 50}) as dataset:
        (image,) = dataset.images
        assert image.chunks == ((10,) * 4, (50, 50), (100,))
        assert image.source.meta.levels[0].grid.chunks == (10, 50, 100)
        assert dataset.reopen(chunks=-1).images[0].source.meta.levels[0].grid.chunks == (
            40,
            100,
            100,
        )
    with pytest.raises(ValueError, match="sum to 40"):
        nl.open_dataset(tmp_path / "a.npy", chunks=((3, 4), 100, 100))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_the_schedulers_of_dask_agree(tmp_path, scheduler):
    array = values((6, 50, 60), ">u2")
    np.save(tmp_path / "a.npy", array)
    image = nl.open_dataset(tmp_path / "a.npy", chunks=(2, 25, 60)).images[0]
    np.testing.assert_array_equal((image.data + 1).compute(scheduler=scheduler), array + 1)


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    mrcfile = pytest.importorskip("mrcfile")
    mrcfile.write(tmp_path / "a.mrc", values((3, 4, 5), "f4"))
    monkeypatch.setitem(__import__("sys").modules, "mrcfile", None)
    with pytest.raises(MissingDependencyError, match=r"napari-lazyload\[formats\]"):
        nl.open_dataset(tmp_path / "a.mrc")


def test_every_suffix_is_one_of_the_manifest():
    import yaml

    text = (__import__("pathlib").Path(nl.__file__).parent / "napari.yaml").read_text("utf-8")
    (reader,) = yaml.safe_load(text)["contributions"]["readers"]
    files = {
        suffix for suffix in (*formats.SUFFIXES, *PICTURE_SUFFIXES) if not suffix.endswith("/")
    }
    assert {f"*{suffix}" for suffix in files}.difference(reader["filename_patterns"]) == set()


def test_closing_frees_the_chunks(tmp_path):
    from napari_lazyload.loading import cache

    np.save(tmp_path / "a.npy", values((6, 50, 60)))
    with nl.open_dataset(tmp_path / "a.npy") as dataset:
        np.asarray(dataset.images[0].data)
        assert any(key.file == str(tmp_path / "a.npy") for key in cache.shared._entries)
    assert not any(key.file == str(tmp_path / "a.npy") for key in cache.shared._entries)


def test_an_option_that_is_none_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", values((6, 50)))
    with pytest.raises(
        TypeError, match="'dtype' is not an option of NPY files; there are: key, axes, trailing"
    ):
        nl.open_dataset(tmp_path / "a.npy", dtype="u1")


def test_nifti_scale_is_that_of_the_sform(tmp_path):
    """After a registration the matrix has other sizes than the header's voxels."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((7, 6, 5), "u1"), np.eye(4))
    image.set_qform(np.eye(4), 1)
    sform = np.diag([2.0, 3.0, 4.0, 1.0])
    sform[:3, 3] = 10, 20, 30
    image.set_sform(sform, 4)
    image.to_filename(tmp_path / "a.nii")
    with nl.open_dataset(tmp_path / "a.nii") as dataset:
        found = dataset.images[0]
        assert found.scale == (4.0, 3.0, 2.0)
        assert found.translate == (30.0, 20.0, 10.0)


@pytest.mark.parametrize(
    ("name", "axis"), [("a.mrc", "z"), ("a.rec", "z"), ("a.st", "frame"), ("a.mrcs", "frame")]
)
def test_mrc_volumes_of_space_group_0_have_depth(tmp_path, name, axis):
    """So did writers before the standard of 2014; sections of one cell each are images apart."""
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.zeros((4, 5, 6), "f4"))
        file.voxel_size = 10.0
        file.header.ispg = 0
    (tmp_path / "a.mrc").rename(tmp_path / name)
    with nl.open_dataset(tmp_path / name) as dataset:
        (image,) = dataset.images
        assert image.axes == (axis, "y", "x")
        assert image.scale[1:] == (10.0, 10.0)
        assert axis == "frame" or image.scale[0] == 10.0


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_nrrd_pixels_may_be_the_end_of_the_data(tmp_path, encoding):
    pytest.importorskip("nrrd")
    packers = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}
    array = np.arange(24, dtype="<u2").reshape(4, 6)
    packed = packers[encoding](b"some words before" + array.tobytes())
    header = (
        "NRRD0004\ntype: ushort\ndimension: 2\nsizes: 6 4\nendian: little\n"
        f"encoding: {encoding}\nbyte skip: -1\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + packed)
    opened(tmp_path / "a.nrrd", array)


def test_nrrd_values_of_keys_that_look_like_fields_say_nothing_of_the_image(tmp_path):
    pytest.importorskip("nrrd")
    array = np.arange(24, dtype="<u2").reshape(4, 6)
    header = (
        "NRRD0005\ntype: ushort\ndimension: 2\nsizes: 6 4\nendian: little\nencoding: raw\n"
        "type:=MRI\nsizes:=large ones\ndata file:=a/b.raw\nbyte skip:=99\nendian:=big\n"
        "scanner:=3 T\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + array.tobytes())
    _, dataset = opened(tmp_path / "a.nrrd", array)
    assert dataset.meta["scanner"].tolist() == ["3 T"]


def test_fits_axes_have_steps_places_and_units(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.arange(60, dtype="i2").reshape(3, 4, 5))
    steps = {1: (0.5, 1.0, 10.0, "um"), 2: (0.25, 3.0, 20.0, "um"), 3: (2.0, 1.0, -4.0, "s")}
    for number, values in steps.items():
        for name, value in zip(("CDELT", "CRPIX", "CRVAL", "CUNIT"), values, strict=True):
            unit.header[f"{name}{number}"] = value
    unit.writeto(tmp_path / "a.fits")
    with nl.open_dataset(tmp_path / "a.fits") as dataset:
        (image,) = dataset.images
        assert image.scale == (2.0, 0.25, 0.5)
        assert image.translate == (-4.0, 19.5, 10.0)
        assert image.units == ("second", "micrometer", "micrometer")


def test_fits_of_the_sky_has_sizes_of_pixels_as_they_lie(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.zeros((4, 5), "i2"))
    unit.header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CUNIT1="deg", CUNIT2="deg")
    unit.header.update(CD1_1=-0.003, CD1_2=0.0, CD2_1=0.004, CD2_2=0.002, CRVAL1=83.6, CRPIX1=2.0)
    unit.writeto(tmp_path / "a.fits")
    with nl.open_dataset(tmp_path / "a.fits") as dataset:
        (image,) = dataset.images
        assert image.scale == pytest.approx((0.002, 0.005))
        assert image.units == ("degree", "degree")
        assert (image.affine == np.eye(3)).all()


def test_fits_of_a_falling_axis_lies_where_it_says(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    unit = fits.PrimaryHDU(np.zeros((4, 5), "i2"))
    unit.header.update(CDELT1=-2.0, CRPIX1=1.0, CRVAL1=100.0, CDELT2=1.0)
    unit.writeto(tmp_path / "a.fits")
    with nl.open_dataset(tmp_path / "a.fits") as dataset:
        (image,) = dataset.images
        scaled = np.array((1, 3)) * image.scale + image.translate
        np.testing.assert_allclose((image.affine @ [*scaled, 1])[:2], (1, 94))
