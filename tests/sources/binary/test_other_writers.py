"""Binaries as other software writes them, by hand after the specification of each format."""

from __future__ import annotations

import gzip
import json
import struct

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


# --- MRC
# --------------------------------------------------------------------------------------------------

LITTLE, BIG, NONE = (0x44, 0x44, 0, 0), (0x11, 0x11, 0, 0), (0, 0, 0, 0)
MODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}


def mrc(path, array, mode, order="<", stamp=LITTLE, **fields):
    """Write an MRC file; `extra` are four-byte integers at positions of the header."""
    pytest.importorskip("mrcfile")
    from mrcfile.dtypes import HEADER_DTYPE

    header = np.zeros((), HEADER_DTYPE.newbyteorder(order))
    header["nz"], header["ny"], header["nx"] = array.shape
    header["mz"], header["my"], header["mx"] = array.shape
    header["mode"], header["machst"], header["ispg"], header["map"] = mode, stamp, 1, b"MAP "
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    extra = fields.pop("extra", {})
    for name, value in fields.items():
        header[name] = value
    block = bytearray(header.tobytes())
    for place, value in extra.items():
        block[place : place + 4] = struct.pack(f"{order}i", value)
    path.write_bytes(bytes(block) + array.astype(array.dtype.newbyteorder(order)).tobytes())
    return path


@pytest.mark.parametrize("stamp", [LITTLE, BIG, NONE], ids=["little", "big", "none"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", MODES)
def test_mrc_whose_stamp_is_wrong_or_missing(tmp_path, mode, order, stamp):
    for shape in ((4, 5, 6), (256, 3, 512)):
        array = values(shape, MODES[mode])
        opened(mrc(tmp_path / "a.mrc", array, mode, order, stamp), array)
    packed = tmp_path / "a.mrc.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.mrc").read_bytes()))
    opened(packed, array)


@pytest.mark.parametrize("order", ["<", ">"])
def test_mrc_of_bytes_that_have_no_sign(tmp_path, order):
    stamp = LITTLE if order == "<" else BIG
    path, array = tmp_path / "a.rec", values((4, 5, 6), "u1")
    signed = array.view("i1")
    for fields, expected in (
        ({}, signed),
        ({"extra": {152: 1146047817, 156: 0}}, array),
        ({"extra": {152: 1146047817, 156: 4 + 8}}, array),
        ({"extra": {152: 1146047817, 156: 1}}, signed),
        ({"dmin": 0, "dmax": 250, "dmean": 100}, array),
        ({"dmin": 0, "dmax": 127, "dmean": 100}, signed),
        ({"dmin": -128, "dmax": 127}, signed),
    ):
        _, dataset = opened(mrc(path, signed, 0, order, stamp, **fields), expected)
        assert dataset.meta.iloc[0]["stored_dtype"] == expected.dtype.name
    refused(
        mrc(path, signed, 0, order, stamp, extra={152: 1146047817, 156: 16}), "two pixels in a byte"
    )


@pytest.mark.parametrize("each", [0, -2, 3])
def test_mrc_of_volumes_that_are_not_whole_is_one_volume(tmp_path, each):
    array = values((4, 5, 6), "f4")
    image, _ = opened(mrc(tmp_path / "a.map", array, 2, ispg=401, mz=each), array)
    assert image.axes == ("z", "y", "x")


# --- FITS
# --------------------------------------------------------------------------------------------------

FITS = [
    "SIMPLE  =                    T",
    "BITPIX  =                   16",
    "NAXIS   =                    3",
]
FITS += [f"NAXIS{number}  = {size:20}" for number, size in enumerate((6, 5, 4), 1)]


def fits(path, array, *cards, cut=0, behind=b""):
    pytest.importorskip("astropy")
    block = "".join(card.ljust(80) for card in (*FITS, *cards, "END")).encode("latin-1").ljust(2880)
    data = array.astype(">i2").tobytes().ljust(2880, b"\0")
    path.write_bytes((block + data)[: 5760 - cut] + behind)
    return path


@pytest.mark.parametrize("cut", [1, 100, 2880 - 240])
def test_fits_cut_behind_its_pixels_opens_and_says_so(tmp_path, cut):
    from napari_lazyload.cli.info import describe

    array = values((4, 5, 6), "i2")
    path = fits(tmp_path / "a.fits", array, cut=cut)
    found = f"found {5760 - cut:,}; its pixels are whole, but it may be truncated"
    said = f"expected 5,760 bytes .*, {found}"
    with pytest.warns(nl.LazyLoadWarning, match=said):
        _, dataset = opened(path, array)
    assert describe(dataset, [])["warnings"] == list(dataset.notes)
    assert len(dataset.notes) == 1
    with pytest.raises(nl.SourceOpenError, match="3,120 bytes as header 0 says, found 3,119 bytes"):
        nl.open_dataset(fits(path, array, cut=2880 - 240 + 1))


def test_fits_with_the_beginning_of_another_header_tells_what_was_left_out(tmp_path):
    array = values((4, 5, 6), "i2")
    _, dataset = opened(fits(tmp_path / "a.fits", array, behind=b"XTENSION= 'IMAGE   '"), array)
    assert dataset.skipped == {"bytes that are no header": 1}


@pytest.mark.parametrize(
    "card", ["OBJECT  = 'never closed", "EXPTIME = 1,5", "lower   = 3", "=bad", "KEY     = (1,2)"]
)
def test_fits_with_a_card_that_cannot_be_read(tmp_path, card):
    array = values((4, 5, 6), "i2")
    _, dataset = opened(fits(tmp_path / "a.fits", array, card, "TELESCOP= 'a'"), array)
    assert dataset.meta.iloc[0]["TELESCOP"] == "a"


@pytest.mark.parametrize(
    "card", ["BSCALE  = 1,5", "BZERO   = 'never closed", "BSCALE  = '2.0     '"]
)
def test_fits_whose_scaling_cannot_be_read_is_never_opened_unscaled(tmp_path, card):
    refused(
        fits(tmp_path / "a.fits", values((4, 5, 6), "i2"), card),
        "Unparsable card|a number for BSCALE",
    )


def test_fits_images_of_one_name_are_told_apart(tmp_path):
    astropy = pytest.importorskip("astropy.io.fits")
    array = values((5, 6), "i2")
    units = [
        astropy.PrimaryHDU(),
        *(astropy.ImageHDU(array, name="SCI", ver=number) for number in (1, 2)),
    ]
    astropy.HDUList([*units, astropy.ImageHDU(array, name="ERR")]).writeto(tmp_path / "a.fits")
    with nl.open_dataset(tmp_path / "a.fits") as dataset:
        assert [image.name for image in dataset.images] == [
            "a.fits SCI 1",
            "a.fits SCI 2",
            "a.fits ERR",
        ]


# --- NRRD and MetaImage
# ----------------------------------------------------------------------------------------------

NRRD = "NRRD0005\ntype: ushort\ndimension: {}\nsizes: {}\nencoding: {}\nendian: little\n"
META = "ObjectType = Image\nNDims = {}\nDimSize = {}\nElementType = MET_USHORT\n"


def nhdr(path, array, *fields, encoding="raw"):
    """Write a detached header, or an attached one with its data."""
    pytest.importorskip("nrrd")
    head = NRRD.format(array.ndim, " ".join(map(str, array.shape[::-1])), encoding) + "\n".join(
        fields
    )
    end = b"\n\n" + array.tobytes() if path.suffix == ".nrrd" else b"\n"
    path.write_bytes(head.encode() + end)
    return path


def mhd(path, array, *fields, data="LOCAL"):
    head = META.format(array.ndim, " ".join(map(str, array.shape[::-1])))
    local = array.tobytes() if data == "LOCAL" else b""
    path.write_bytes(
        (head + "".join(f"{field}\n" for field in fields) + f"ElementDataFile = {data}\n").encode()
        + local
    )
    return path


@pytest.mark.parametrize(
    "name", ["größe 20%µm.raw", "Listeria.raw", "LIST_of.raw", "100%d one 2.raw", "sub\\data.raw"]
)
def test_names_of_data_files_are_taken_as_they_are(tmp_path, name):
    array = values((3, 4, 5))
    (tmp_path / "sub").mkdir()
    array.tofile(tmp_path / name.replace("\\", "/"))
    opened(mhd(tmp_path / "a.mhd", array, data=name), array)
    opened(nhdr(tmp_path / "a.nhdr", array, f"data file: {name}"), array)


@pytest.mark.parametrize("listed", ["plane %d.raw 0 5 1", "plane %d.raw 0 5"])
def test_planes_of_four_dimensions_in_a_file_each(tmp_path, listed):
    array = values((2, 3, 4, 5))
    for number, plane in enumerate(array.reshape(6, 4, 5)):
        plane.tofile(tmp_path / f"plane {number}.raw")
    names = "\n".join(f"plane {number}.raw" for number in range(6))
    for data in (listed, f"LIST 2\n{names}", f"LIST 2D\n{names}"):
        image, _ = opened(mhd(tmp_path / "a.mhd", array, data=data), array)
    for data in (f"{listed} 2" if listed.count(" ") == 4 else listed, f"LIST 2\n{names}"):
        image, dataset = opened(nhdr(tmp_path / "a.nhdr", array, f"data file: {data}"), array)
    np.testing.assert_array_equal(image.data[1, 2], array[1, 2])
    assert dataset.meta.iloc[0]["data_files"] == 6


def test_files_that_many_planes_cannot_be_spread_over(tmp_path):
    array = values((4, 5, 6))
    for number in range(3):
        (tmp_path / f"{number}.raw").write_bytes(bytes(80))
    refused(
        nhdr(tmp_path / "a.nhdr", array, "data file: %d.raw 0 2 1"),
        "as many planes in each data file, found 3",
    )


def test_trailing_bytes_of_a_metaimage_are_ignored_with_a_warning(tmp_path):
    array = values((3, 4, 5))
    longer, path = array.tobytes() + bytes(12), tmp_path / "a.mhd"
    (tmp_path / "a.raw").write_bytes(longer)
    said = "expected 120 bytes as its header says, found 132 bytes; the 12 bytes behind the pixels"
    with pytest.warns(nl.LazyLoadWarning, match=said):
        opened(mhd(path, array, data="a.raw"), array)
    opened(path, array, trailing=True)
    (tmp_path / "a.raw").write_bytes(longer[:119])
    refused(path, "expected 120 bytes as its header says, found 119 bytes")
    mhd(path, array)
    path.write_bytes(path.read_bytes() + bytes(12))
    with pytest.warns(nl.LazyLoadWarning, match="the 12 bytes behind the pixels are ignored"):
        opened(path, array)


def test_metaimage_compressed_by_gzip(tmp_path):
    array = values((3, 4, 5))
    (tmp_path / "a.zraw").write_bytes(gzip.compress(array.tobytes()))
    opened(mhd(tmp_path / "a.mhd", array, "CompressedData = True", data="a.zraw"), array)


def test_nrrd_of_four_dimensions_in_space_as_itk_writes_it(tmp_path):
    array = values((2, 3, 4, 5))
    fields = ["space dimension: 4", "space directions: (1,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,4)"]
    fields += ["space origin: (10,20,30,40)", "kinds: domain domain domain domain"]
    image, _ = opened(nhdr(tmp_path / "a.nrrd", array, *fields), array)
    assert (image.axes, image.scale, image.translate) == (
        ("t", "z", "y", "x"),
        (4, 3, 2, 1),
        (40, 30, 20, 10),
    )


def test_nrrd_of_a_plane_in_space_keeps_the_size_of_its_pixels(tmp_path):
    array = values((4, 5))
    fields = ["space dimension: 3", "space directions: (0,3,4) (2,0,0)", "space origin: (1,2,3)"]
    image, _ = opened(nhdr(tmp_path / "a.nrrd", array, *fields), array)
    assert (image.scale, image.translate) == ((2, 5), (0, 0))


def test_nrrd_of_cells_and_nodes_between_two_ends(tmp_path):
    array = values((4, 5))
    ends = ["axis mins: 10 20", "axis maxs: 20 29"]
    image, _ = opened(nhdr(tmp_path / "a.nrrd", array, *ends, "centers: cell node"), array)
    assert (image.scale, image.translate) == ((3, 2), (20, 11))
    image, _ = opened(nhdr(tmp_path / "a.nrrd", array, *ends), array)  # nothing says which
    assert (image.scale, image.translate) == ((1, 1), (20, 10))


# --- ENVI and NIfTI
# --------------------------------------------------------------------------------------------------

ENVI = "ENVI\nsamples = 5\nlines = 4\nbands = 3\ndata type = 12\ninterleave = bsq\nbyte order = 0\n"


def envi(path, array, *fields, mark=""):
    pytest.importorskip("spectral")
    array.tofile(path.with_suffix(".img"))
    path.write_text(mark + ENVI + "".join(f"{field}\n" for field in fields), encoding="utf-8")
    return path


def test_envi_header_with_a_byte_order_mark(tmp_path):
    array = values((3, 4, 5))
    path = envi(tmp_path / "a.hdr", array, "description = {über}", mark="\ufeff")
    opened(path, array)
    opened(path.with_suffix(".img"), array)


@pytest.mark.parametrize(
    ("said", "scale", "unit"),
    [
        (
            "map info = {UTM, 1.0, 1.0, 5e5, 4e6, 3.0e+1, 20.0, 11, North, WGS-84, units=Meters}",
            (1, 20, 30),
            "meter",
        ),
        (
            "map info = {Geographic Lat/Lon, 1, 1, 8, 47, 0.5, 0.25, WGS-84, units=Degrees}",
            (1, 0.25, 0.5),
            "degree",
        ),
        ("map info = {Arbitrary, 1, 1, 0, 0, 0.5, 0.25}", (1, 0.25, 0.5), None),
        ("map info = {Arbitrary, 1, 1, 0, 0, -1, 0.25}", (1, 1, 1), None),
        ("map info = {UTM, 1}", (1, 1, 1), None),
        ("map info = {UTM, 1, 1, 0, 0, 7, 7}\npixel size = {2, 3}", (1, 3, 2), None),
    ],
)
def test_envi_size_of_pixels_on_a_map(tmp_path, said, scale, unit):
    array = values((3, 4, 5))
    image, _ = opened(envi(tmp_path / "a.hdr", array, said), array)
    assert (image.scale, image.units) == (scale, (None, unit, unit))


@pytest.mark.parametrize(
    ("code", "units"),
    [
        (10, ("second", "millimeter")),
        (4, (None, None)),
        (15, ("second", None)),
        (56, (None, None)),
        (63, (None, None)),
    ],
)
def test_nifti_with_units_that_stand_for_nothing(tmp_path, code, units):
    nibabel = pytest.importorskip("nibabel")
    array = values((2, 3, 4, 5), "i2")
    nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), tmp_path / "a.nii")
    block = bytearray((tmp_path / "a.nii").read_bytes())
    block[123] = code
    (tmp_path / "a.nii").write_bytes(block)
    image, _ = opened(tmp_path / "a.nii", array)
    assert image.units == (units[0], *[units[1]] * 3)


def test_analyze_lies_where_the_matrix_of_spm_says(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("scipy")
    array = values((3, 4, 5), "i2")
    affine = np.array([[0, 2, 0, 5], [-1.5, 0, 0, 3], [0, 0, 4, 7], [0, 0, 0, 1.0]])
    nibabel.Spm99AnalyzeImage(array.T, affine).to_filename(tmp_path / "a.img")
    reference = nibabel.load(tmp_path / "a.img").affine
    for name in ("a.img", "a.hdr"):
        image, _ = opened(tmp_path / name, array)
        index = np.array([2, 3, 1])  # k, j, i
        mapped = np.asarray(image.affine) @ [*(np.array(image.scale) * index + image.translate), 1]
        np.testing.assert_allclose(mapped[:3][::-1], (reference @ [*index[::-1], 1])[:3])
    for content in (b"another file", bytes(2 << 20)):
        (tmp_path / "a.mat").write_bytes(content)
        with pytest.warns(nl.LazyLoadWarning, match=r"the position in a\.mat cannot be read"):
            image, _ = opened(tmp_path / "a.img", array)
        assert image.scale == (4, 2, 1.5)


def test_a_pair_beside_one_of_the_same_name_that_is_compressed(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    plain, packed = values((4, 5, 6), "i2"), values((4, 5, 6), "i2", seed=1)
    for array, more in ((plain, ""), (packed, ".gz")):
        nibabel.Nifti1Pair(array.T, np.eye(4)).to_filename(tmp_path / f"a.img{more}")
    for name, expected in (
        ("a.img", plain),
        ("a.hdr", plain),
        ("a.img.gz", packed),
        ("a.hdr.gz", packed),
    ):
        opened(tmp_path / name, expected)
    (tmp_path / "a.hdr.gz").unlink()
    opened(tmp_path / "a.img.gz", packed)


# --- ITK-Wasm
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["file", "list"])
def test_itk_wasm_turned(tmp_path, kept):
    array, turned = values((3, 4, 5), "u1"), np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    folder = tmp_path / "a.iwi"
    (folder / "data").mkdir(parents=True)
    array.tofile(folder / "data" / "data.raw")
    turned.tofile(folder / "data" / "direction.raw")
    address = "data:application/vnd.itk.path,data/{}.raw"
    kind = {"dimension": 3, "componentType": "uint8", "pixelType": "Scalar", "components": 1}
    known = {"imageType": kind, "origin": [10, 20, 30], "spacing": [1, 2, 3], "size": [5, 4, 3]}
    known |= {"data": address.format("data"), "metadata": []}
    for direction, expected in (
        (
            address.format("direction") if kept == "file" else turned.ravel().tolist(),
            [10 - 2 * 1, 20 + 1 * 3, 30 + 2 * 3],
        ),
        (None, [10 + 3, 20 + 2, 30 + 6]),
        ([], [10 + 3, 20 + 2, 30 + 6]),
    ):
        (folder / "index.json").write_text(json.dumps(known | {"direction": direction}))
        image, _ = opened(folder, array)
        pixel = np.array(image.scale) * (2, 1, 3) + image.translate
        np.testing.assert_allclose((np.asarray(image.affine) @ [*pixel, 1])[:3][::-1], expected)
    (folder / "index.json").write_text(json.dumps(known | {"direction": [1, 2]}))
    refused(folder, "an ITK-Wasm image, found one whose header cannot be read")


# --- raw files
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("big_brain_4x20x30_uint16.raw", "<u2"),
        ("be_quick_4x20x30_uint16.raw", "<u2"),
        ("little_one_4x20x30_uint16_be.raw", ">u2"),
        ("v_4x20x30_uint16_big_endian.raw", ">u2"),
        ("v_4x20x30_big-endian_uint16.raw", ">u2"),
        ("v_4x20x30_uint16be.raw", ">u2"),
        ("v_4x20x30_U16LE.raw", "<u2"),
        ("v_4x20x30_16bit_signed.raw", "<i2"),
        ("v_4x20x30_16bit_unsigned_msb.raw", ">u2"),
        ("v_4x20x30_16-bit.raw", "<u2"),
        ("v 4x20x30 16 bits.raw", "<u2"),
        ("v_4x20x30_int16_16bit.raw", "<i2"),
        ("v_4x20x30_8bit.raw", "u1"),
        ("v_4x20x30_32bit_float.raw", "<f4"),
    ],
)
def test_words_in_the_name_of_a_raw_file(tmp_path, name, dtype):
    array = values((4, 20, 30), dtype)
    array.tofile(tmp_path / name)
    opened(tmp_path / name, array)


@pytest.mark.parametrize(
    "name",
    [
        "v_4x20x30_8bit_uint16.raw",
        "v_4x20x30_32bit.raw",
        "v_4x20x30_16bit_8bit.raw",
        "v_4x20x30_int8_uint8.raw",
    ],
)
def test_words_that_leave_the_type_open_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(4 * 20 * 30 * 2))
    refused(tmp_path / name, "no telling name .known so far: shape=")


@pytest.mark.parametrize("sizes", ["15x10x17", "17x15x10", "64x48", "20x30x3", "12x12x5x2"])
def test_a_name_whose_first_size_may_be_the_fastest_says_how_it_is_read(tmp_path, sizes):
    shape = tuple(map(int, sizes.split("x")))
    array = values(shape, "u1")
    path = tmp_path / f"v_{sizes}_uint8.raw"
    array.tofile(path)
    with pytest.warns(
        nl.LazyLoadWarning, match="slowest axis first, as its name says; order='F' if the first"
    ):
        opened(path, array)
    opened(path, array.reshape(shape[::-1]), order="F")


@pytest.mark.parametrize(
    "sizes", ["4x20x30", "100x20x20", "100x20x30", "12x12x12", "20x30x20", "20x20"]
)
def test_a_name_whose_first_size_is_the_slowest_says_nothing(tmp_path, sizes):
    array = values(tuple(map(int, sizes.split("x"))))
    array.tofile(tmp_path / f"v_{sizes}_uint16.raw")
    opened(tmp_path / f"v_{sizes}_uint16.raw", array)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"scale": 5}, "scale must be a list of finite numbers, got 5"),
        ({"scale": "abc"}, "scale must be a list of finite numbers"),
        ({"scale": ["1", "2", "3"]}, "scale must be a list of finite numbers"),
        ({"translate": [0, 0, float("nan")]}, "translate must be a list of finite numbers"),
        ({"units": [1, 2, 3]}, "units must be a list of texts"),
        ({"axes": 5}, "3 different names, one for each axis"),
        ({"axes": ["z", "y", "s"]}, "'s' names 3 or 4 colors along the last axis"),
        ({"axes": ["s", "y", "x"]}, "'s' names 3 or 4 colors along the last axis"),
        ({"dtype": None}, "dtype=None is no type"),
    ],
)
def test_a_sidecar_with_a_bad_value_is_refused_clearly(tmp_path, more, said):
    path = tmp_path / "a.raw"
    values((4, 20, 30)).tofile(path)
    (tmp_path / "a.raw.json").write_text(json.dumps({"dtype": "u2", "shape": [4, 20, 30]} | more))
    with pytest.raises(ValueError, match=said) as info:
        nl.open_dataset(path)
    assert isinstance(info.value, nl.LazyLoadError)


def test_a_sidecar_with_a_byte_order_mark(tmp_path):
    array = values((4, 20, 30))
    array.tofile(tmp_path / "a.raw")
    (tmp_path / "a.json").write_text(
        json.dumps({"dtype": "u2", "shape": [4, 20, 30]}), encoding="utf-8-sig"
    )
    opened(tmp_path / "a.raw", array)


def test_a_type_that_is_none_is_not_taken_for_numpys_default(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(80))
    with pytest.raises(ValueError, match="dtype=None is no type of NumPy"):
        nl.open_memmap(tmp_path / "a.raw", dtype=None)
