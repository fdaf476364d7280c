"""The command line's demo, on sample data, into a picture."""

from __future__ import annotations

import csv

import numpy as np
import pytest
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


def test_view_opens_each_path_with_the_plugin(qapp, tmp_path, write_folder, monkeypatch):
    import napari

    shown = []

    def run():
        viewer = napari.current_viewer()
        shown.extend((layer.name, "napari_lazyload" in layer.metadata) for layer in viewer.layers)
        viewer.close()

    monkeypatch.setattr(napari, "run", run)
    for name in ("a", "b"):
        write_folder(tmp_path / name, 3)
    words = ["view", str(tmp_path / "a"), str(tmp_path / "b")]
    result = CliRunner().invoke(app.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert shown == [("a", True), ("b", True)]


def test_view_of_what_is_not_there_is_one_line(qapp, tmp_path, monkeypatch):
    import napari

    monkeypatch.setattr(napari, "run", lambda: pytest.fail("there is nothing to show"))
    result = CliRunner().invoke(app.app, ["view", str(tmp_path / "gone")], catch_exceptions=False)
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert napari.current_viewer() is None
