"""TIFF files: tifffile's series 0 is the judge, page by page, whatever way they are stored."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

import napari_lazyload as nl
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sources.image_files.decode import decode, read_info
from napari_lazyload.sources.image_header import FileHead
from napari_lazyload.sources.tiff import description, tiled
from napari_lazyload.sources.tiff.ifd import read_plain

RNG = np.random.default_rng(3)
DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16", "?"]
LAYOUTS = {
    "plain": {},
    "strips": {"rowsperstrip": 5},
    "deflate": {"compression": "zlib", "predictor": True, "rowsperstrip": 7},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
    "tiles": {"tile": (16, 16), "compression": "zlib"},
    "bigtiff": {"bigtiff": True},
}


def values(shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        return RNG.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)
    if dtype.kind == "b":
        return RNG.integers(0, 2, shape).astype(bool)
    if dtype.kind == "c":
        return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


def change_field(path, tag, *, kind=None, value=None):
    """Change the type or the value of a field that a little-endian file keeps in its directory."""
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    while struct.unpack_from("<H", data, at + 2)[0] != tag:
        at += 12
    if kind is not None:
        struct.pack_into("<H", data, at + 4, kind)
    if value is not None:
        struct.pack_into("<I", data, at + 10, value)
    path.write_bytes(data)


@pytest.fixture
def written(tmp_path):
    """Write an array with tifffile and return the path."""

    def write(array, name="picture.tif", **options):
        path = tmp_path / name
        tifffile.imwrite(path, array, **options)
        return str(path)

    return write


def check(path):
    """Compare all pages with tifffile, in an order that no chain helps; return the info."""
    wanted = tifffile.imread(path)
    info = read_info(path)
    assert (info.shape, info.dtype) == (wanted.shape, wanted.dtype.newbyteorder("="))
    pages = wanted.reshape(info.pages, *info.page_shape)
    for page in reversed(range(info.pages)):
        array = decode(path, page, expect=info)
        np.testing.assert_array_equal(array, pages[page])
        assert array.dtype == info.dtype
        assert array.dtype.isnative
        assert array.flags.c_contiguous
        assert array.flags.writeable
    assert len(set(info.axes)) == len(info.axes) == wanted.ndim
    return info


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type_in_every_layout(written, dtype, layout, byteorder):
    options = dict(LAYOUTS[layout])
    if np.dtype(dtype).kind not in "iuf" or dtype in ("u8", "i8"):
        options.pop("predictor", None)
    if dtype == "?":
        options.pop("tile", None)  # tifffile writes no tiles of single bits
    array = values((33, 41), dtype)
    info = check(written(array, byteorder=byteorder, **options))
    assert (info.axes, info.rgb, info.pages) == (("y", "x"), False, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("samples", [3, 4])
def test_color(written, samples, dtype, layout):
    extra = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    info = check(
        written(values((33, 41, samples), dtype), photometric="rgb", **extra, **LAYOUTS[layout])
    )
    assert (info.axes, info.rgb) == (("y", "x", "s"), True)


RGB, BLACK = {"photometric": "rgb"}, {"photometric": "minisblack"}
APART, TOGETHER = {"planarconfig": "separate"}, {"planarconfig": "contig"}
TILED = {"tile": (16, 16), "compression": "lzw"}
# Shape as written, options, axes as written, axes as shown.
SHOWN = {
    "color planes": ((3, 33, 41), RGB | APART, "syx", "yxs"),
    "color planes in tiles": ((3, 33, 41), RGB | APART | TILED, "syx", "yxs"),
    "color and alpha planes": (
        (4, 33, 41),
        RGB | APART | {"extrasamples": ["unassalpha"]},
        "syx",
        "yxs",
    ),
    "pages of color planes": ((5, 3, 33, 41), RGB | APART, "psyx", "pyxs"),
    "five color planes": ((5, 33, 41), RGB | APART | {"extrasamples": [0, 0]}, "cyx", "cyx"),
    "gray and alpha": (
        (33, 41, 2),
        BLACK | TOGETHER | {"extrasamples": ["unassalpha"]},
        "yxc",
        "cyx",
    ),
    "seven samples": ((33, 41, 7), BLACK | TOGETHER, "yxc", "cyx"),
    "seven samples in tiles": ((33, 41, 7), BLACK | TOGETHER | TILED, "yxc", "cyx"),
    "pages of five samples": ((6, 33, 41, 5), BLACK | TOGETHER, "pyxc", "pcyx"),
    "printer's inks": ((33, 41, 4), {"photometric": "separated"}, "yxc", "cyx"),
    "printer's inks in planes": ((4, 33, 41), {"photometric": "separated"} | APART, "cyx", "cyx"),
    "Lab": ((33, 41, 3), {"photometric": "cielab"}, "yxc", "cyx"),
    "z last": ((33, 41, 6), BLACK | {"metadata": {"axes": "YXZ"}}, "yxz", "zyx"),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", SHOWN)
def test_rows_and_columns_are_shown(tmp_path, monkeypatch, name, large):
    shape, options, stored, shown = SHOWN[name]
    if large:
        monkeypatch.setattr(tiled, "LARGE", 100)
    array, path = values(shape, "u1"), tmp_path / "a.tif"
    tifffile.imwrite(path, array, **{"metadata": None, **options})
    wanted = array.transpose([stored.index(axis) for axis in shown])
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert image.rgb == shown.endswith("s")
        assert image.axes == tuple("page" if axis == "p" else axis for axis in shown)
        np.testing.assert_array_equal(image.data, wanted)
        part = tuple(slice(size // 3, size // 3 + 2) for size in image.shape[: image.spatial_ndim])
        np.testing.assert_array_equal(nl.crop(image, part), wanted[part])


@pytest.mark.parametrize("pages", [(), (7,)])
def test_a_last_axis_of_one_is_no_strip(written, pages):
    shape, lead = (*pages, 33, 41, 1), ("page",)[: len(pages)]
    options = {"metadata": {}} if pages else {"metadata": {"axes": "YXS"}}
    array = values(shape, "u1")
    with nl.open_dataset(written(array, photometric="minisblack", **options)) as dataset:
        (image,) = dataset.images
        assert image.axes == (*lead, "y", "x")
        assert image.chunks == (*((1,) * n for n in pages), (33,), (41,))
        np.testing.assert_array_equal(image.data, array[..., 0])


def test_white_is_zero_is_not_inverted(written):
    array = values((33, 41), "u1")
    path = written(array, photometric="miniswhite")
    check(path)
    np.testing.assert_array_equal(decode(path), array)


def test_a_palette_stays_indices_and_is_told(written):
    colormap = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
    info = check(written(values((33, 41), "u1"), photometric="palette", colormap=colormap))
    assert info.axes == ("y", "x")
    np.testing.assert_array_equal(info.metadata["colormap"], colormap.T)


def test_jpeg_in_tiff_is_color(written):
    smooth = np.stack([np.add.outer(np.arange(0, 96, 2), np.arange(0, 128, 2))] * 3, -1).astype(
        "u1"
    )
    info = check(written(smooth, photometric="ycbcr", compression="jpeg"))
    assert info.rgb


@pytest.mark.parametrize("kind", ["raw", "lzw", "deflate", "packbits"])
def test_what_pillow_writes(tmp_path, kind):
    path = tmp_path / "pillow.tif"
    names = {"raw": None, "deflate": "tiff_adobe_deflate", "lzw": "tiff_lzw"}
    for array in (values((33, 41, 3), "u1"), values((33, 41), "u1") > 127, values((33, 41), "u2")):
        Image.fromarray(array).save(path, compression=names.get(kind, kind))
        info = check(str(path))
        np.testing.assert_array_equal(decode(str(path), expect=info), array)


def test_orientation_is_left_alone(tmp_path):
    """tifffile's series is the reference for TIFF, and that does not turn."""
    path = tmp_path / "turned.tif"
    block = Image.Exif()
    block[0x0112] = 6
    array = values((33, 41, 3), "u1")
    Image.fromarray(array).save(path, exif=block)
    np.testing.assert_array_equal(decode(str(path), expect=check(str(path))), array)


# --- pages
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options", [{}, {"truncate": True}, {"compression": "zlib"}, {"metadata": None}]
)
def test_stack(written, options, byteorder):
    array = values((5, 33, 41), "u2")
    info = check(written(array, photometric="minisblack", byteorder=byteorder, **options))
    assert (info.axes, info.pages, info.page_ndim) == (("page", "y", "x"), 5, 1)


def test_axes_of_a_stack_have_names(written):
    array = values((2, 3, 4, 17, 19), "u1")
    path = written(array, photometric="minisblack", metadata={"axes": "TZCYX"}, compression="zlib")
    info = check(path)
    assert (info.axes, info.pages, info.page_ndim) == (("t", "z", "c", "y", "x"), 24, 3)


def test_a_stack_of_color(written):
    info = check(written(values((4, 17, 19, 3), "u1"), photometric="rgb", compression="zlib"))
    assert (info.axes, info.rgb, info.pages, info.page_shape) == (
        ("page", "y", "x", "s"),
        True,
        4,
        (17, 19, 3),
    )


def test_axes_without_a_name_are_unique(written):
    info = check(written(values((2, 3, 17, 19), "u1"), photometric="minisblack"))
    assert info.axes == ("page", "page2", "y", "x")


def test_an_imagej_stack_with_its_calibration(written):
    array = values((3, 4, 17, 19), "u2")
    metadata = {"axes": "TZYX", "spacing": 2.5, "unit": "um", "finterval": 0.1}
    info = check(written(array, imagej=True, resolution=(4.0, 4.0), metadata=metadata))
    assert (info.axes, info.pages, info.page_ndim) == (("t", "z", "y", "x"), 12, 2)
    assert info.metadata["scale"] == pytest.approx((0.25, 0.25))
    assert info.metadata["unit"] == "micrometer"
    assert info.metadata["axis_scale"] == pytest.approx({"z": 2.5, "t": 0.1})


def imagej_of_one_directory(array):
    """What ImageJ itself writes: one directory, all planes behind it, in big-endian order."""
    planes, height, width = array.shape
    text = f"ImageJ=1.53t\nimages={planes}\nslices={planes}\nloop=false\n".encode() + b"\0"
    tags = [
        (256, 3, 1, width << 16),
        (257, 3, 1, height << 16),
        (258, 3, 1, 16 << 16),
        (262, 3, 1, 1 << 16),
        (270, 2, len(text), 122),
        (273, 4, 1, 200),
        (277, 3, 1, 1 << 16),
        (278, 3, 1, height << 16),
        (279, 4, 1, height * width * 2),
    ]
    directory = (
        struct.pack(">H", len(tags))
        + b"".join(struct.pack(">HHII", *tag) for tag in tags)
        + bytes(4)
    )
    head = b"MM\0*" + struct.pack(">I", 8) + directory
    return head + text + bytes(200 - len(head) - len(text)) + array.astype(">u2").tobytes()


def test_an_imagej_stack_of_one_directory(tmp_path):
    array = values((6, 17, 19), "u2")
    path = tmp_path / "imagej.tif"
    data = imagej_of_one_directory(array)
    assert data[122:128] == b"ImageJ"
    path.write_bytes(data)
    info = check(str(path))
    assert (info.shape, info.axes, info.pages) == ((6, 17, 19), ("z", "y", "x"), 6)
    np.testing.assert_array_equal(decode(str(path), 4), array[4])
    path.write_bytes(data[:-1])  # tifffile opens this one as a single plane
    with pytest.raises(ChunkReadError, match="all planes"):
        read_info(str(path))


def test_an_ome_stack_with_its_scale(written):
    metadata = {"axes": "CZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1.5}
    path = written(
        values((2, 3, 17, 19), "u2"), "stack.ome.tif", photometric="minisblack", metadata=metadata
    )
    info = check(path)
    assert info.axes == ("c", "z", "y", "x")
    assert info.metadata["scale"] == (0.3, 0.2)
    assert info.metadata["unit"] == "micrometer"
    assert info.metadata["axis_scale"] == {"z": 1.5}


def ome_set(folder):
    """Two files of one OME image of two planes."""
    planes = values((2, 17, 19), "u1")
    names = ("z0.ome.tif", "z1.ome.tif")
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(2)]
    data = "".join(
        f'<TiffData FirstZ="{i}" IFD="0" PlaneCount="1"><UUID '
        f'FileName="{names[i]}">{uuids[i]}</UUID></TiffData>'
        for i in range(2)
    )
    for i, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuids[i]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            'Type="uint8" '
            'SizeX="19" SizeY="17" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" '
            'SamplesPerPixel="1"/>'
            f"{data}</Pixels></Image></OME>"
        )
        tifffile.imwrite(
            folder / name, planes[i], description=xml, metadata=None, compression="zlib"
        )
    return planes


def test_a_set_of_files_and_the_planes_that_are_missing(tmp_path, monkeypatch):
    planes = ome_set(tmp_path)
    path = str(tmp_path / "z0.ome.tif")
    monkeypatch.setattr(
        tiled, "LARGE", 100
    )  # a large one is not cut into tiles: those would be of one file
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, planes)
    info = check(path)
    assert (info.axes, info.pages) == (("z", "y", "x"), 2)
    second = tmp_path / "z1.ome.tif"
    second.rename(tmp_path / "elsewhere")
    info = read_info(path)
    assert info.metadata["missing"] == 1
    np.testing.assert_array_equal(decode(path, 0, expect=info), planes[0])
    np.testing.assert_array_equal(decode(path, 1, expect=info), np.zeros_like(planes[1]))


def test_further_series_are_noted(tmp_path):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(values((17, 19), "u1"), metadata=None)
        tif.write(values((33, 41), "u2"), metadata=None)
    info = check(str(path))
    assert info.shape == (17, 19)
    assert "2 series" in info.metadata["note"]


def test_pages_are_found_without_a_walk(written, monkeypatch):
    """The directories of a stack are listed once; a page later costs its own directory alone."""
    path = written(values((40, 17, 19), "u2"), photometric="minisblack", compression="zlib")
    info = read_info(path)
    decode(path, 3, expect=info)

    def refuse(*_args, **_kwargs):
        pytest.fail("walked along the chain of directories")

    monkeypatch.setattr(tifffile.TiffPages, "_seek", refuse)
    monkeypatch.setattr(description, "check_chain", refuse)
    decode(path, 39, expect=info)


def test_a_replaced_stack_is_looked_at_anew(written):
    path = written(values((4, 17, 19), "u2"), photometric="minisblack", compression="zlib")
    assert read_info(path).pages == 4
    array = values((6, 17, 19), "u1")
    written(array, photometric="minisblack", compression="zlib")
    info = read_info(path)
    assert (info.pages, info.dtype) == (6, np.uint8)
    np.testing.assert_array_equal(decode(path, 5, expect=info), array[5])


# --- plain files
# ------------------------------------------------------------------------------------------

PLAIN = {
    "tifffile": ({}, True),
    "tifffile without description": ({"metadata": None}, True),
    "imagej": ({"imagej": True}, True),
    "strips": ({"rowsperstrip": 4}, True),
    "deflate": ({"compression": "zlib"}, True),
    "description": ({"description": "a picture", "metadata": None}, True),
    "xml": ({"description": "<MetaData/>", "metadata": None}, False),
    "ome": ({"ome": True}, False),
    "axes": ({"metadata": {"axes": "YX"}}, False),
    "private tag": ({"extratags": [(65000, 2, 0, "x", True)]}, False),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_need_no_tifffile(written, monkeypatch, name):
    options, plain = PLAIN[name]
    path = written(values((33, 41), "u2"), **options)
    with FileHead(path) as head:
        assert (read_plain(head) is not None) == plain
    info = check(path)
    if plain:
        description._kept.clear()
        monkeypatch.setattr(tifffile, "TiffFile", None)
        assert read_info(path) == info


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("nodata", [None, 7])
def test_a_plane_that_was_left_out_is_blank(written, tmp_path, pages, nodata):
    """GDAL writes an offset of 0 where nothing is stored; tifffile takes it for a place."""
    options = {} if nodata is None else {"extratags": [(42113, 2, 0, str(nodata), True)]}
    array = values((pages, 20, 30), "u2")
    path = written(array, photometric="minisblack", metadata=None, **options)
    change_field(tmp_path / "picture.tif", 273, value=0)
    with nl.open_dataset(path) as dataset:
        shown = np.asarray(dataset.images[0].data).reshape(array.shape)
    assert (shown[0] == (nodata or 0)).all()
    np.testing.assert_array_equal(shown[1:], array[1:])


@pytest.mark.parametrize("change", [{"kind": 1}, {"value": 0}, {"value": 3}])
@pytest.mark.parametrize("layout", ["strips", "tiles"])
def test_planes_that_no_field_describes_are_refused(written, tmp_path, change, layout):
    """tifffile fills one of the planes, and leaves what was in memory in the others."""
    array = values((3, 40, 50), "u1")
    path = written(
        array, photometric="rgb", planarconfig="separate", metadata=None, **LAYOUTS[layout]
    )
    change_field(tmp_path / "picture.tif", 284, **change)
    with pytest.raises(ChunkReadError, match="planar configuration"):
        read_info(path)


@pytest.mark.parametrize("tag", [258, 259, 262, 273, 277, 279])
def test_fields_of_an_odd_type_are_left_to_tifffile(written, tmp_path, tag):
    path = written(values((20, 30), "u2"), photometric="minisblack", metadata=None)
    change_field(tmp_path / "picture.tif", tag, kind=2)
    with FileHead(path) as head:
        plain = read_plain(head)
    assert plain is None or plain.data_offset is None


def test_a_scale_that_is_a_print_setting_is_no_scale(written):
    array = values((33, 41), "u1")
    assert (
        "scale"
        not in read_info(written(array, resolution=(300, 300), resolutionunit="INCH")).metadata
    )
    fine = read_info(
        written(array, resolution=(20000, 10000), resolutionunit="CENTIMETER")
    ).metadata
    assert fine["scale"] == pytest.approx((1.0, 0.5))
    assert fine["unit"] == "micrometer"


def test_log_messages_of_tifffile_stay_in_this_thread(tmp_path, caplog):
    """A file with an odd tag makes tifffile complain: not here, but still for others."""
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, values((17, 19), "u1"), metadata=None, extratags=[(65001, 5, 1, (1, 2), True)]
    )
    data = bytearray(stream.getvalue())
    entry = data.index(struct.pack("<HH", 65001, 5))
    data[entry + 8 : entry + 12] = struct.pack(
        "<I", 2**31
    )  # values of a private tag beyond the end
    path = tmp_path / "odd.tif"
    path.write_bytes(bytes(data))
    check_info = read_info(str(path))
    assert decode(str(path), expect=check_info).shape == (17, 19)
    quiet = len(caplog.records)
    with tifffile.TiffFile(path) as tif:
        tif.pages.first.tags.get(65001)
    assert quiet == 0
    assert caplog.records
