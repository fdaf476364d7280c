"""The header of one TIFF file in the meta table."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.sources.tiff.description import header_fields

STACK = np.arange(6 * 20 * 30, dtype="<u2").reshape(6, 20, 30)


def row(path):
    with nl.open_dataset(path) as dataset:
        return dataset.images[0], dataset.meta.iloc[0]


def test_ome_sizes_channels_and_tags_are_columns(tmp_path):
    path = tmp_path / "a.ome.tif"
    said = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    said |= {
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZUnit": "nm",
        "Channel": {"Name": "DAPI"},
    }
    tifffile.imwrite(path, STACK, metadata=said, software="microscope 3")
    image, found = row(path)
    assert (image.axes, image.scale, image.units) == (
        ("z", "y", "x"),
        (2.0, 0.5, 0.5),
        ("nanometer",) * 3,
    )
    names = [
        "PhysicalSizeZ",
        "PhysicalSizeXUnit",
        "SizeZ",
        "channels",
        "Compression",
        "Software",
        "tiff",
    ]
    assert found[names].tolist() == [2.0, "nm", 6, "DAPI", "NONE", "microscope 3", "TIFF"]
    assert not any("Offset" in name or "ByteCount" in name for name in found.index)


def test_imagej_fields_are_columns(tmp_path):
    path = tmp_path / "a.tif"
    said = {"axes": "ZYX", "spacing": 3.0, "unit": "um", "Info": "x" * 5000}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(4, 2), metadata=said)
    image, found = row(path)
    assert (image.scale, image.units) == ((3.0, 0.5, 0.25), ("micrometer",) * 3)
    assert found[["spacing", "unit", "slices", "XResolution", "YResolution"]].tolist() == [
        3.0,
        "um",
        6,
        4.0,
        2.0,
    ]
    assert len(found["Info"]) == 1000
    assert "ImageDescription" not in found.index


@pytest.mark.parametrize("big", [False, True])
def test_plain_and_large_ones_in_tiles(tmp_path, big):
    path = tmp_path / "a.tif"
    pixels = np.zeros((4096, 4096), "u2") if big else STACK[0]
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        bigtiff=big,
        byteorder=">",
        compression="zlib",
        metadata=None,
        description="cells",
    )
    _, found = row(path)
    assert found[
        ["tiff", "byte_order", "ImageDescription", "Compression", "TileWidth"]
    ].tolist() == [
        "BigTIFF" if big else "TIFF",
        "big",
        "cells",
        "ADOBE_DEFLATE",
        256,
    ]


def test_a_folder_has_no_columns_of_single_headers(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0])
    with nl.open_dataset(tmp_path) as dataset:
        assert "Compression" not in dataset.meta


def test_a_file_that_is_gone_or_damaged_since_has_a_table_without(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK)
    with nl.open_dataset(path) as dataset:
        path.write_bytes(b"II*\0")
        assert dataset.meta.iloc[0]["original_filename"] == "a.tif"
        assert "Compression" not in dataset.meta
    path.unlink()
    assert header_fields(str(path)) == {}


def test_the_header_is_not_read_for_the_table_before_the_table_is_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0])
    code = "import sys, napari_lazyload as nl; nl.open_dataset(sys.argv[1]).to_layer_data(); "
    code += "print(*sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "a.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "numpy" in done.stdout.split()
    assert "tifffile" not in done.stdout.split()
