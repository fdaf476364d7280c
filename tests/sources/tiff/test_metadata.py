"""Sizes, steps, units, channels and limits of a TIFF file."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.core.units import in_unit, length_unit, time_unit
from napari_lazyload.sources.tiff.ome_xml import ome_metadata

STACK = np.arange(2 * 3 * 2 * 8 * 9, dtype="u2").reshape(2, 3, 2, 8, 9)
OME = {
    "axes": "TZCYX",
    "PhysicalSizeX": 0.25,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 500,
    "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 1500,
    "PhysicalSizeZUnit": "nm",
    "TimeIncrement": 250,
    "TimeIncrementUnit": "ms",
}


def opened(path):
    with nl.open_dataset(path) as dataset:
        return dataset.images[0], [keywords for _, keywords, _ in dataset.to_layer_data()]


def write(tmp_path, array, name="a.tif", **options):
    path = tmp_path / name
    tifffile.imwrite(path, array, **options)
    return path


def test_ome_units_of_all_axes_are_made_one_and_time_keeps_its_own(tmp_path):
    image, _ = opened(write(tmp_path, STACK, "a.ome.tif", metadata=OME))
    assert image.axes == ("t", "z", "c", "y", "x")
    assert image.scale == pytest.approx((250, 1.5, 1, 0.5, 0.25))
    assert image.units == ("millisecond", "micrometer", None, "micrometer", "micrometer")


def test_ome_channels_have_names_and_colors(tmp_path):
    channels = {"Name": ["A > B & C", "GFP"], "Color": [-16776961, 16711935]}
    image, layers = opened(
        write(tmp_path, STACK, "a.ome.tif", metadata={**OME, "Channel": channels})
    )
    assert [channel.name for channel in image.meta.channels] == ["A > B & C", "GFP"]
    assert [one["name"] for one in layers] == ["a.ome.tif A > B & C", "a.ome.tif GFP"]
    assert [one["colormap"] for one in layers] == ["#ff0000", "#00ff00"]
    with nl.open_dataset(tmp_path / "a.ome.tif", channels=["GFP"]) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, STACK[:, :, 1:])


def test_ome_channels_without_colors_get_some(tmp_path):
    _, layers = opened(
        write(tmp_path, STACK, "a.ome.tif", metadata={**OME, "Channel": {"Name": ["A", "B"]}})
    )
    assert [one["colormap"] for one in layers] == ["#ff00ff", "#00ff00"]


def test_ome_images_without_data_are_no_images():
    xml = "".join(
        f'<Image ID="Image:{number}" Name=\'{name}\'><Pixels SizeX="{x}" SizeY="8" SizeC="1" '
        f'PhysicalSizeX="{x}" '
        f'PhysicalSizeY="2"><Channel ID="c"/></Pixels></Image>'
        for number, (name, x) in enumerate((("none", 7), ("first", 9), ("&lt;second&gt;", 11)))
    )
    assert ome_metadata(xml, 0, ("y", "x"), (8, 9)) == {
        "scale": (2, 9),
        "unit": "micrometer",
        "series": "first",
    }
    assert ome_metadata(xml, 1, ("y", "x"), (8, 11))["series"] == "<second>"
    assert ome_metadata(xml, 0, ("y", "x"), (8, 10)) == {}


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "x", ""])
def test_ome_sizes_that_are_none(size):
    sizes = f'PhysicalSizeX="{size}" PhysicalSizeY="1" TimeIncrement="{size}"'
    xml = f'<Image><Pixels SizeX="9" SizeY="8" {sizes}/></Image>'
    assert ome_metadata(xml, 0, ("y", "x"), (8, 9)) == {}


def test_imagej_colors_ranges_and_steps(tmp_path):
    ramp, zero = np.arange(256, dtype="u1"), np.zeros(256, "u1")
    fire = np.stack([ramp, ramp[::-1], zero])
    metadata = {
        "axes": "TZCYX",
        "unit": "um",
        "spacing": 3.5,
        "finterval": 0.2,
        "mode": "composite",
        "Ranges": (10.0, 20.0, 100.0, 200.0),
        "LUTs": [np.stack([zero, ramp, zero]), fire],
    }
    image, layers = opened(
        write(tmp_path, STACK, imagej=True, resolution=(4.0, 2.0), metadata=metadata)
    )
    assert image.scale == pytest.approx((0.2, 3.5, 1, 0.5, 0.25))
    assert image.units == ("second", "micrometer", None, "micrometer", "micrometer")
    assert [one["contrast_limits"] for one in layers] == [(10, 20), (100, 200)]
    assert layers[0]["colormap"] == "#00ff00"
    np.testing.assert_allclose(layers[1]["colormap"]["colors"], fire.T / 255)


def test_imagej_in_gray_is_one_layer(tmp_path):
    _, layers = opened(
        write(tmp_path, STACK, imagej=True, metadata={"axes": "TZCYX", "mode": "grayscale"})
    )
    assert len(layers) == 1


@pytest.mark.parametrize("shape", [(8, 9), (3, 8, 9)])
def test_imagej_range_of_one_channel(tmp_path, shape):
    array = np.zeros(shape, "u2")
    metadata = {"axes": "ZYX"[-len(shape) :], "min": 100.0, "max": 2000.0}
    image, layers = opened(write(tmp_path, array, imagej=True, metadata=metadata))
    assert layers[0]["contrast_limits"] == (100, 2000)
    assert "contrast_limits" not in image.metadata
    write(tmp_path, array, "b.tif", imagej=True, metadata={**metadata, "max": 200.0})
    assert opened(tmp_path)[1][0]["contrast_limits"] == (
        0,
        65535,
    )  # those of one file are not those of a folder


@pytest.mark.parametrize("calibration", [{"c0": -32768, "c1": 1}, {"max": 100.0}, {"max": "x"}])
def test_imagej_ranges_that_are_none(tmp_path, calibration):
    metadata = {"min": 100.0, "max": 2000.0, **calibration}
    assert opened(write(tmp_path, STACK[0, 0, 0], imagej=True, metadata=metadata))[1][0][
        "contrast_limits"
    ] == (
        0,
        65535,
    )


def test_imagej_depth_without_a_unit_is_in_pixels(tmp_path):
    image, _ = opened(
        write(tmp_path, STACK[0, :, 0], imagej=True, metadata={"axes": "ZYX", "spacing": 4.0})
    )
    assert (image.scale, image.units) == ((4, 1, 1), (None, None, None))


def test_names_of_units():
    units = ("µm", "microns", " UM ", "Å", "pixel", "", None, "s")
    assert [*map(length_unit, units)] == [
        *["micrometer"] * 3,
        "angstrom",
        *[None] * 4,
    ]
    assert [time_unit(one) for one in ("sec", "ms", "minutes", "um")] == [
        "second",
        "millisecond",
        "minute",
        None,
    ]
    assert in_unit(500, "nanometer", "micrometer") == pytest.approx(0.5)
    assert in_unit(0.1, "inch", "inch") == 0.1


def test_imagej_planes_that_other_programs_put_elsewhere(tmp_path):
    path = tmp_path / "a.tif"
    planes = np.arange(5 * 8 * 9, dtype="u2").reshape(5, 8, 9)
    with tifffile.TiffWriter(path) as tif:
        for number, plane in enumerate(planes):
            text = "ImageJ=1.53\nimages=2\nslices=2\n" if not number else None
            tif.write(plane, description=text, metadata=None, contiguous=False)
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, planes[:2])


def test_an_imagej_description_of_a_longer_stack_is_no_cut_file(tmp_path):
    content = bytearray()
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, STACK[0, 0, 0], description="ImageJ=1.53\nimages=9\nslices=9\n", metadata=None
    )
    with pytest.raises(
        nl.SourceOpenError, match="an ImageJ stack with less data than it describes"
    ):
        nl.open_dataset(path)
    content += path.read_bytes()
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        first, start, end = page.offset, page.dataoffsets[0], len(content)
        entry = page.tags[273].offset + 8
    pixels = bytes(content[start : start + 2 * 8 * 9])
    content[4:8] = (end + len(pixels)).to_bytes(
        4, "little"
    )  # the directory behind its pixels, as others write it
    moved = bytearray(content[first:start])
    moved[entry - first : entry - first + 4] = end.to_bytes(4, "little")
    path.write_bytes(content + pixels + moved)
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, STACK[0, 0, 0])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"software": "SI."}])
def test_where_zero_is_white_it_is_shown_white(tmp_path, options):
    array = np.arange(72, dtype="u1").reshape(8, 9)
    image, layers = opened(
        write(tmp_path, array, photometric="miniswhite", metadata=None, **options)
    )
    np.testing.assert_array_equal(image.data, array)
    assert layers[0]["colormap"] == "gray_r"
    assert "colormap" not in opened(write(tmp_path, array, "b.tif", photometric="minisblack"))[1][0]


IMAGEJ_UNITS = {
    "pixel": None,
    "": None,
    "a.u.": None,
    "unknown": None,
    "inches": "inch",
    "micron": "micrometer",
    "\\u00B5m": "micrometer",
    "\\u03BCm": "micrometer",
    "micr\\u00F3n": "micrometer",
    "nm": "nanometer",
}


def imagej_file(tmp_path, lines, array=STACK[0, :, 0], **options):
    text = "\n".join(["ImageJ=1.54f", f"images={len(array)}", f"slices={len(array)}", *lines, ""])
    options = {
        "resolution": (4.0, 2.0),
        "resolutionunit": 1,
        "photometric": "minisblack",
        **options,
    }
    return write(tmp_path, array, description=text, metadata=None, **options)


@pytest.mark.parametrize("unit", IMAGEJ_UNITS)
def test_imagej_keeps_depth_and_width_in_proportion(tmp_path, unit):
    lines = [f"unit={unit}"] if unit else []
    image, _ = opened(imagej_file(tmp_path, [*lines, "spacing=-3.0"]))
    assert image.scale == (3.0, 0.5, 0.25)
    wanted = IMAGEJ_UNITS[unit]
    assert image.units == (wanted,) * 3


def test_imagej_names_units_of_y_and_z(tmp_path):
    lines = ["unit=micron", "yunit=nm", "zunit=mm", "spacing=0.003"]
    image, _ = opened(imagej_file(tmp_path, lines))
    assert image.scale == pytest.approx((3.0, 0.0005, 0.25))
    assert image.units == ("micrometer",) * 3


@pytest.mark.parametrize(("unit", "dots", "scale"), [(2, 72, 1.0), (2, 100, 0.01), (3, 100, 0.01)])
def test_imagej_without_a_unit_takes_that_of_the_resolution(tmp_path, unit, dots, scale):
    path = imagej_file(tmp_path, ["spacing=1.5"], resolution=(dots, dots), resolutionunit=unit)
    image, _ = opened(path)
    assert image.scale == pytest.approx((1.5, scale, scale))
    assert image.units[1] == (None if dots == 72 else {2: "inch", 3: "centimeter"}[unit])


def test_imagej_stack_of_fewer_pages_than_described_shows_what_is_there(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for number, plane in enumerate(STACK[0, :, 0]):
            text = "ImageJ=1.53\nimages=7\nslices=7\n" if not number else None
            tif.write(plane, metadata=None, contiguous=False, description=text)
    with pytest.warns(nl.LazyLoadWarning, match="3 planes are there, 7 are described"):
        image, _ = opened(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(image.data), STACK[0, :, 0])


SEM = "\r\n".join(
    ["0", "0", "0", "2.5e-09", "", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 2.700 nm", ""]
)
UNNAMED = "\r\n".join(["0", "0", "0", "2.5e-09", "0", "DP_ZOOM", "Zoom = Off", ""])
FEI = "[User]\r\nUser=a\r\n[Scan]\r\nPixelWidth=3e-9\r\nPixelHeight=4e-9\r\n"
GATAN = [
    (65003, 2, 3, "nm", True),
    (65004, 2, 3, "nm", True),
    (65009, 12, 1, 0.5, True),
    (65010, 12, 1, 0.25, True),
]
TVIPS = [np.zeros(1, getattr(tifffile.TIFF, f"TVIPS_HEADER_V{version}")) for version in (1, 2)]
TVIPS[0]["Version"] = 2
TVIPS[1]["Magic"] = 0xAAAAAAAA
TVIPS[1]["PixelSizeX"], TVIPS[1]["PixelSizeY"] = 0.5, 0.25
TVIPS = b"".join(record.tobytes() for record in TVIPS)
METASERIES = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="on"/>'
    '<prop id="spatial-calibration-x" type="float" value="1.5"/>'
    '<prop id="spatial-calibration-y" type="float" value="2.5"/>'
    '<prop id="spatial-calibration-units" type="string" value="um"/>'
    "</PlaneInfo></MetaData>"
)
MAKERS = {
    "Zeiss": ({"extratags": [(34118, 2, 0, SEM, True)]}, (2.7, 2.7), "nanometer"),
    "Zeiss, unnamed": ({"extratags": [(34118, 2, 0, UNNAMED, True)]}, (0.0025,) * 2, "micrometer"),
    "FEI": ({"extratags": [(34682, 2, 0, FEI, True)]}, (0.004, 0.003), "micrometer"),
    "TVIPS": (
        {"extratags": [(37706, 7, len(TVIPS), TVIPS, True)]},
        (0.25, 0.5),
        "nanometer",
    ),
    "Gatan": ({"extratags": GATAN}, (0.25, 0.5), "nanometer"),
    "MetaSeries": ({"description": METASERIES, "software": "MetaSeries"}, (2.5, 1.5), "micrometer"),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_sizes_are_those_of_the_makers_tags(tmp_path, maker):
    options, scale, unit = MAKERS[maker]
    path = write(tmp_path, STACK[0, 0, 0], metadata=None, resolution=(72, 72), **options)
    image, _ = opened(path)
    assert image.scale == pytest.approx(scale)
    assert image.units == (unit, unit)


def test_images_of_a_slide_share_a_unit(tmp_path):
    """The thumbnail covers the same ground."""
    slide, path = np.zeros((100, 130, 3), "u1"), tmp_path / "a.svs"
    texts = ("130x100 (32x32) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5", "thumbnail")
    with tifffile.TiffWriter(path) as tif:
        for image, text in zip((slide, slide[::2, ::2]), texts, strict=True):
            options = {"description": f"Aperio Image Library v11.2.1\n{text}", "software": ""}
            tif.write(image, tile=(32, 32), photometric="rgb", metadata=None, **options)
    with nl.open_dataset(path) as dataset:
        layers = [keywords for _, keywords, _ in dataset.to_layer_data()]
    assert {layer["units"] for layer in layers} == {("micrometer", "micrometer")}
    assert [layer["scale"] for layer in layers] == [(0.5, 0.5), (1.0, 1.0)]
