"""The command line's demo, on sample data, into a picture."""

from __future__ import annotations

import csv

import numpy as np
from typer.testing import CliRunner

import napari_lazyload as nl
from napari_lazyload import sample_data
from napari_lazyload.cli import app


def test_the_sample_is_a_folder_with_a_table(tmp_path):
    folder = sample_data.make_folder(tmp_path / "a", count=9)
    with nl.open_dataset(folder) as dataset:
        stack = np.asarray(dataset.images[0].data)
        assert stack.shape == (9, sample_data.SIZE, sample_data.SIZE)
        assert len(np.unique(stack.reshape(9, -1), axis=0)) == 9
        names = list(dataset.meta["original_filename"])
    with (folder / "frames.csv").open() as file:
        assert [row["original_filename"] for row in csv.DictReader(file)] == names
    before = (folder / "frame_3.png").stat().st_mtime_ns
    sample_data.make_folder(tmp_path / "a", count=9)
    assert (folder / "frame_3.png").stat().st_mtime_ns == before


def test_the_demo_renders_its_window_to_a_picture(qapp, tmp_path, write_folder):
    import imagecodecs

    write_folder(tmp_path / "a", 5)
    picture = tmp_path / "demo.png"
    result = CliRunner().invoke(
        app.app, ["demo", str(tmp_path / "a"), "--screenshot", str(picture)]
    )
    assert result.exit_code == 0, result.output
    assert str(picture) in result.output
    pixels = imagecodecs.imread(picture)
    assert pixels.shape[0] > 400
    assert pixels.std() > 10
