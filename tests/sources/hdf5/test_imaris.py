"""What an Imaris file says beside its pixels."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl

h5py = pytest.importorskip("h5py")


def put(group, name, text):
    """Write a text as Imaris does: an array of single characters."""
    group.attrs[name] = np.array([letter.encode() for letter in text], "S1")


CHANNELS = {
    "DAPI": ("0.000 0.000 1.000", "0.000 4000.000", "#0000ff", (0.0, 4000.0)),
    "GFP": ("0.000 1.000 0.000", "10.5 20.5", "#00ff00", (10.5, 20.5)),
}
TIMES = ("2020-01-01 00:00:00.000", "2020-01-01 00:05:00.000", "2020-01-01 00:10:00.000")


def write_ims(path, *, times=TIMES, unit="um"):
    pixels = np.random.default_rng(0).integers(0, 9000, (len(times), 2, 5, 30, 40)).astype("u2")
    with h5py.File(path, "w") as file:
        image = file.create_group("DataSetInfo/Image")
        for axis, (size, step) in enumerate(((40, 0.5), (30, 0.5), (5, 2.0))):
            put(image, f"ExtMin{axis}", "0")
            put(image, f"ExtMax{axis}", str(size * step))
        put(image, "Unit", unit)
        put(image, "RecordingDate", TIMES[0])
        for number, (name, (color, limits, *_)) in enumerate(CHANNELS.items()):
            channel = file.create_group(f"DataSetInfo/Channel {number}")
            put(channel, "Name", name)
            put(channel, "Color", color)
            put(channel, "ColorRange", limits)
        info = file.create_group("DataSetInfo/TimeInfo")
        for number, time in enumerate(times, 1):
            put(info, f"TimePoint{number}", time)
        for time, channel in np.ndindex(pixels.shape[:2]):
            name = f"DataSet/ResolutionLevel 0/TimePoint {time}/Channel {channel}"
            group = file.create_group(name)
            group.create_dataset("Data", data=pixels[time, channel], chunks=(5, 30, 40))
            for axis, size in zip("ZYX", (5, 30, 40), strict=True):
                put(group, f"ImageSize{axis}", str(size))
    return pixels


def test_channels_times_and_the_header_are_shown(tmp_path):
    pixels = write_ims(tmp_path / "a.ims")
    with nl.open_dataset(tmp_path / "a.ims") as dataset:
        (image,) = dataset.images
        np.testing.assert_array_equal(image.data, pixels)
        assert image.axes == ("t", "c", "z", "y", "x")
        assert image.scale == (300.0, 1.0, 2.0, 0.5, 0.5)
        assert image.units == ("second", None, *("micrometer",) * 3)
        layers = [keywords for _, keywords, _ in dataset.to_layer_data()]
        found = [
            (layer["name"], layer["colormap"], tuple(layer["contrast_limits"])) for layer in layers
        ]
        assert found == [
            (f"a.ims {name}", color, limits) for name, (_, _, color, limits) in CHANNELS.items()
        ]
        assert dataset.meta["imaris_RecordingDate"].tolist() == [TIMES[0]] * len(dataset.meta)


def test_a_damaged_description_spoils_no_image(tmp_path):
    pixels = write_ims(tmp_path / "a.ims")
    with h5py.File(tmp_path / "a.ims", "r+") as file:
        del file["DataSetInfo/Channel 1"]
        file["DataSetInfo/Channel 1"] = h5py.SoftLink("/nowhere")
        file["DataSetInfo/Channel 0"].attrs["Color"] = np.arange(3)
    with nl.open_dataset(tmp_path / "a.ims") as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, pixels)


@pytest.mark.parametrize(
    "times", [("2020-01-01 00:00:00", "2020-01-01 00:05:00", "2020-01-01 01:00:00"), ("x", "y")]
)
def test_uneven_or_damaged_times_have_no_step(tmp_path, times):
    write_ims(tmp_path / "a.ims", times=times, unit="nm")
    with nl.open_dataset(tmp_path / "a.ims") as dataset:
        (image,) = dataset.images
        assert image.scale == (1.0, 1.0, 2.0, 0.5, 0.5)
        assert image.units == (None, None, *("nanometer",) * 3)
