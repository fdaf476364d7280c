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
