"""Plates and wells: one mosaic, read well by well; a bad well is a marked blank."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import threading

import numpy as np
import pytest
import yaozarrs
import zarr
from napari.layers import Layer

import napari_lazyload as nl
from helpers.ome_stores import (
    axes_of,
    pyramid,
    scaled,
    write_array,
    write_group,
    write_image,
    write_plate,
)
from helpers.server import FolderServer
from helpers.stores import CountingStore
from napari_lazyload.arrays.derived.channels import select_channels
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.core.source import is_ready
from napari_lazyload.layers.navigation import row_in_view, show_row
from napari_lazyload.layers.viewer import attach
from napari_lazyload.loading import cache
from napari_lazyload.loading.read_box import peek_block
from napari_lazyload.sources.ome_zarr import open
from napari_lazyload.sources.ome_zarr.mosaic import mosaic_axes
from napari_lazyload.testing.sources import RecordingSource


def field(seed, shape=(6, 8), dtype="uint16"):
    return pyramid(shape, 1, dtype, seed)[0]


def quietly(path, **options):
    with pytest.warns(nl.LazyLoadWarning):
        return nl.open_dataset(path, **options)


@pytest.fixture
def counted(monkeypatch):
    """The stores that are opened, which count."""
    stores = []
    open_store = open.open_store

    def counting(path, **options):
        stores.append(CountingStore(open_store(path, **options)))
        return stores[-1]

    monkeypatch.setattr(open, "open_store", counting)
    return stores


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_is_one_mosaic_of_wells_and_fields(tmp_path, version):
    wells = {
        path: [field(10 * number + one) for one in range(3)]
        for number, path in enumerate(("A/1", "A/2", "B/2"))
    }
    path = write_plate(tmp_path / "a.zarr", wells, version=version, chunks=(4, 8))
    yaozarrs.open_group(path)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        expected = np.zeros((2 * 12, 2 * 16), "uint16")
        for (top, left), one in zip(((0, 0), (0, 16), (12, 16)), wells.values(), strict=True):
            # Three fields in a square of four places, row by row.
            expected[top : top + 6, left : left + 8] = one[0]
            expected[top : top + 6, left + 8 : left + 16] = one[1]
            expected[top + 6 : top + 12, left : left + 8] = one[2]
        np.testing.assert_array_equal(image.data.compute(scheduler="sync"), expected)
        assert image.chunks == ((4, 2) * 4, (8,) * 4)
        assert dataset.kind == "OME-Zarr plate"
        assert dataset.summary == "3 wells"
        meta = dataset.meta
        assert meta[["well", "row", "column", "path"]].to_numpy().tolist() == [
            ["A1", "A", "1", "A/1"],
            ["A2", "A", "2", "A/2"],
            ["B2", "B", "2", "B/2"],
        ]
        assert meta["fields"].tolist() == [3, 3, 3]
        assert meta["size_bytes"].tolist() == [3 * 6 * 8 * 2] * 3
        assert meta[
            ["axes", "shape", "chunks", "levels", "dtype"]
        ].drop_duplicates().to_numpy().tolist() == [["yx", "6 x 8", "4 x 8", 1, meta["dtype"][0]]]


def test_a_pyramid_of_wells_is_a_pyramid(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {})
    levels = {}
    for number, one in enumerate(("A/1", "A/2")):
        levels[one] = pyramid((2, 9, 8), 3, seed=number)
        write_image(path / one / "0", levels[one], "cyx", scale=(1, 3, 3))
        write_group(path / one, {"well": {"images": [{"path": "0"}]}})
    wells = [
        {"path": one, "rowIndex": 0, "columnIndex": number} for number, one in enumerate(levels)
    ]
    write_group(
        path,
        {
            "plate": {
                "wells": wells,
                "rows": [{"name": "A"}],
                "columns": [{"name": "1"}, {"name": "2"}],
            }
        },
    )
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert image.scale == (1, 3, 3)
        for number, level in enumerate(image.levels):
            both = np.concatenate([one[number] for one in levels.values()], axis=2)
            np.testing.assert_array_equal(level.compute(scheduler="sync"), both)
        # The levels of a mosaic lie over each other at every well, whatever a shape was cut to.
        assert image.meta.levels[1].factors == (1, 9 / 5, 2)
        assert len(dataset.to_layer_data()) == 2


def wide_plate(path, rows=16, columns=24, there=3):
    """Write a plate that lists 384 wells, of which the first ones are there."""
    names = [f"{chr(65 + row)}/{column + 1}" for row in range(rows) for column in range(columns)]
    wells = {name: [field(number)] for number, name in enumerate(names[:there])}
    return write_plate(path, wells, listed=names[there:])


def test_a_plate_of_384_wells_opens_without_touching_each(tmp_path, counted):
    path = wide_plate(tmp_path / "a.zarr", there=3)
    for row in "ABCDEFGHIJKLMNOP":
        for column in range(1, 25):
            if not (path / row / str(column)).exists():
                shutil.copytree(path / "A" / "1", path / row / str(column))
    shutil.rmtree(path / "B" / "2" / "0")
    write_image(path / "B" / "2" / "0", [field(25)])
    with nl.open_dataset(path) as dataset:
        (store,) = counted
        assert dataset.images[0].shape == (16 * 6, 24 * 8)
        assert len(dataset.meta) == 384
        touched = {key.rpartition("/")[0] for _, key in store.calls}
        # The plate, three wells, the field of each, its array, and where its labels would be.
        assert len(touched) == 1 + 3 * 4
        assert len(store.calls) < 40
        assert store.rounds == 4
        assert dataset.meta["fields"].notna().sum() == 3
        store.forget()
        tile = dataset.images[0].data[6:12, 8:16]
        np.testing.assert_array_equal(tile.compute(scheduler="sync"), field(25))
        assert {key[:3] for _, key in store.calls} == {"B/2"}
        assert dataset.meta["fields"].notna().sum() == 4


def test_a_well_is_read_once_however_many_threads_ask(tmp_path, counted):
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in range(5)}, chunks=(1, 1))
    with nl.open_dataset(path) as dataset:
        counted[0].forget()
        tile = dataset.images[0].boxes[0][:, 8:16]
        np.testing.assert_array_equal(np.asarray(tile), field(1))
        metadata = [key for _, key in counted[0].calls if key.endswith("zarr.json")]
        assert sorted(metadata) == ["A/1/0/0/zarr.json", "A/1/0/zarr.json", "A/1/zarr.json"]


def test_consolidated_metadata_spare_the_requests(tmp_path):
    pytest.importorskip("obstore")
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in range(5)}, version="0.4")
    zarr.consolidate_metadata(str(path), zarr_format=2)
    with FolderServer(tmp_path) as server, nl.open_dataset(f"{server.url}/a.zarr") as dataset:
        asked = len(server.requests)
        np.testing.assert_array_equal(np.asarray(dataset.images[0].boxes[0][:, 8:16]), field(1))
        assert server.requests[asked:] == ["a.zarr/A/1/0/0/0/0"]
        assert dataset.images[0].source.remote


def test_wells_that_are_listed_and_not_there_are_blank_and_marked(tmp_path):
    path = wide_plate(tmp_path / "a.zarr", 2, 3, there=2)
    with nl.open_dataset(path) as dataset:
        pixels = dataset.images[0].data.compute(scheduler="sync")
        np.testing.assert_array_equal(pixels[:6, :16], np.concatenate([field(0), field(1)], axis=1))
        assert not pixels[6:].any()
        assert not pixels[:, 16:].any()
        meta = dataset.meta
        assert meta["status"].tolist() == ["", "", *["failed"] * 4]
        assert "is not there; it is shown blank" in meta["error"][3]
        assert "4 with a problem" in dataset.summary


def odd_plate(folder):
    """A plate with a well of another size, one of another type, and one with broken metadata."""
    wells = {
        "A/1": [field(0)],
        "A/2": [field(1, (3, 4))],
        "A/3": [field(2, dtype="float32")],
        "A/4": [field(3)],
        "A/5": [field(4)],
        "A/6": [field(5)],
        "A/7": [field(6)],
    }
    path = write_plate(folder / "a.zarr", wells)
    (path / "A" / "5" / "zarr.json").write_text("{")
    shutil.rmtree(path / "A" / "6" / "0" / "0")
    return path


@pytest.mark.parametrize(
    ("well", "message"),
    [
        (1, "expected 6 x 8 uint16 like the other fields of the plate, found 3 x 4 uint16"),
        (2, "found 6 x 8 float32"),
        (4, "expected JSON"),
        (5, "no array at 'A/6/0/0'"),
    ],
)
def test_an_odd_well_fails_by_itself(tmp_path, well, message):
    with nl.open_dataset(odd_plate(tmp_path)) as dataset:
        data = dataset.images[0].data
        for other in (0, 3, 6):
            np.testing.assert_array_equal(
                data[:, 8 * other : 8 * other + 8].compute(scheduler="sync"), field(other)
            )
        with pytest.raises(nl.ChunkReadError) as caught:
            data[:, 8 * well : 8 * well + 8].compute(scheduler="sync")
        assert message in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    with nl.open_dataset(odd_plate(tmp_path / "again"), on_error="blank") as dataset:
        assert dataset.images[0].data.compute(scheduler="sync")[:, 24:32].any()


def test_an_odd_first_well_is_not_what_the_others_are_taken_to_be_like(tmp_path):
    path = write_plate(
        tmp_path / "a.zarr", {"A/1": [field(0, (3, 4))], "A/2": [field(1)], "A/3": [field(2)]}
    )
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].shape == (6, 24)
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 8:16].compute(scheduler="sync"), field(1)
        )


def test_rows_of_odd_wells_turn_failed_when_they_are_looked_at_and_can_be_retried(
    tmp_path, make_napari_viewer
):
    path = odd_plate(tmp_path)
    viewer = make_napari_viewer()
    displays = attach(viewer, lambda work: work())
    with nl.open_dataset(path) as dataset:
        layer = viewer.add_layer(Layer.create(*dataset.to_layer_data()[0]))
        nl.wait(layer, timeout=30)
        shown = np.asarray(layer._data_view)
        assert shown[:, 24:32].any()
        assert not shown[:, 8:16].any()
        assert row_in_view(viewer, layer) is None  # but all of them
        assert show_row(viewer, dataset, 4) is layer
        meta = dataset.meta
        assert meta.index[meta["status"] == "failed"].tolist() == [1, 2, 4, 5]
        shutil.rmtree(path / "A" / "2")
        write_group(path / "A" / "2", {"well": {"images": [{"path": "0"}]}})
        write_image(path / "A" / "2" / "0", [field(1)])
        dataset.retry(1)
        assert dataset.meta["status"][1] == ""
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 8:16].compute(scheduler="sync"), field(1)
        )
    displays.close()
    viewer.layers.clear()


def test_a_well_with_more_fields_than_there_is_room_for_is_marked(tmp_path):
    wells = {f"A/{n}": [field(n)] for n in range(5)}
    wells["A/1"] = [field(1), field(11), field(12)]
    path = write_plate(tmp_path / "a.zarr", wells)
    with nl.open_dataset(path) as dataset:
        dataset.images[0].data.compute(scheduler="sync")
        assert dataset.meta["fields"].tolist() == [1, 3, 1, 1, 1]
        assert "1 of 3 fields are shown" in dataset.meta["error"][1]
    path = write_plate(tmp_path / "b.zarr", wells, field_count=3)
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].shape == (12, 5 * 16)
        np.testing.assert_array_equal(
            dataset.images[0].data[6:, 16:24].compute(scheduler="sync"), field(12)
        )


def test_a_look_at_each_well_in_the_background_completes_the_table(tmp_path, counted):
    path = wide_plate(tmp_path / "a.zarr", 2, 5, there=9)
    with nl.open_dataset(path) as dataset:
        assert dataset.meta["fields"].notna().sum() == 2
        heard, over = [], threading.Event()
        dataset.connect(lambda row: over.set() if row is None else heard.append(row))
        dataset.scan()
        assert over.wait(30)
        assert dataset.meta["fields"].notna().sum() == 9
        assert heard == [9]
        assert dataset.meta["status"][9] == "failed"


def test_each_acquisition_is_a_mosaic(tmp_path):
    wells = {one: [field(10 * n + m) for m in range(3)] for n, one in enumerate(("A/1", "A/2"))}
    path = write_plate(tmp_path / "a.zarr", wells, acquisitions=(1, 2, 1), field_count=3)
    with nl.open_dataset(path) as dataset:
        first, second = dataset.images
        assert (first.name, second.name) == ("a acquisition 1", "a acquisition 2")
        assert (first.shape, second.shape) == ((6, 32), (6, 16))
        np.testing.assert_array_equal(
            first.data.compute(scheduler="sync"),
            np.concatenate([field(0), field(2), field(10), field(12)], axis=1),
        )
        np.testing.assert_array_equal(second.data[:, 8:].compute(scheduler="sync"), field(11))
        assert len(dataset.meta) == 2
    for wanted in (2, "2", "acquisition 2"):
        with nl.open_dataset(path, acquisition=wanted) as dataset:
            (only,) = dataset.images
            np.testing.assert_array_equal(only.data[:, 8:].compute(scheduler="sync"), field(11))
    with quietly(path, acquisition=7) as dataset:
        assert len(dataset.images) == 2
        assert "no acquisition 7" in dataset.notes[0]


def test_labels_of_fields_are_a_mosaic_too(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in range(4)})
    for n in (0, 1, 3):
        write_group(path / "A" / str(n) / "0" / "labels", {"labels": ["cells"]})
        write_image(path / "A" / str(n) / "0" / "labels" / "cells", [field(100 + n, dtype="uint8")])
    with nl.open_dataset(path) as dataset:
        image, labels = dataset.images
        assert (labels.kind, labels.name, labels.shape) == ("labels", "a cells", image.shape)
        pixels = labels.data.compute(scheduler="sync")
        np.testing.assert_array_equal(pixels[:, 8:16], field(101, dtype="uint8"))
        assert not pixels[:, 16:24].any()


def test_a_well_alone_shows_its_fields_side_by_side(tmp_path):
    wells = {"A/1": [field(n) for n in range(4)]}
    path = write_plate(tmp_path / "a.zarr", wells)
    with nl.open_dataset(path / "A" / "1") as dataset:
        (image,) = dataset.images
        assert (image.name, dataset.kind, dataset.summary) == ("a A/1", "OME-Zarr well", "4 fields")
        expected = np.block([[field(0), field(1)], [field(2), field(3)]])
        np.testing.assert_array_equal(image.data.compute(scheduler="sync"), expected)
        assert dataset.meta["path"].tolist() == [f"A/1/{n}" for n in range(4)]
    with nl.open_dataset(path / "A" / "1" / "2") as dataset:
        np.testing.assert_array_equal(dataset.images[0].data.compute(scheduler="sync"), field(2))


def test_a_well_is_asked_for_once_and_few_of_its_fields_tell_what_the_others_are(tmp_path, counted):
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] * 6 for n in (1, 2)})
    for place in (path, path / "A" / "1"):
        with nl.open_dataset(place):
            calls = [key for _, key in counted[-1].calls]
            assert calls.count("A/1/zarr.json") == 1
            assert {key for key in calls if key.count("/") == 3 and key.startswith("A/1/")} == {
                f"A/1/{n}/zarr.json" for n in (0, 1)
            }


def test_fields_of_a_well_are_shown_as_one_where_some_do_not_say_their_acquisition(tmp_path):
    path = write_plate(
        tmp_path / "a.zarr", {"A/1": [field(n) for n in range(3)]}, acquisitions=(1, 2)
    )
    with nl.open_dataset(path / "A" / "1") as dataset:
        (image,) = dataset.images
        np.testing.assert_array_equal(image.data[6:, :8].compute(scheduler="sync"), field(2))


def test_a_bad_field_of_a_well_marks_its_own_row(tmp_path):
    path = write_plate(
        tmp_path / "a.zarr", {"A/1": [field(0), field(1), field(2, (3, 4)), field(3)]}
    )
    with nl.open_dataset(path / "A" / "1", on_error="blank") as dataset:
        np.asarray(dataset.images[0].boxes[0])
        source = dataset.images[0].source
        rows, level = source.row_map, source.meta.levels[0]
        places = [(y, x) for y in (0, 1) for x in (0, 1)]
        assert [rows.row_of_chunk(level, place) for place in places] == [0, 1, 2, 3]
        with pytest.raises(nl.ChunkReadError, match="A/1/2: expected"):
            source.chunk(0, (1, 0)).load()


def test_a_well_without_metadata_has_the_fields_of_its_folder(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {"A/1": [field(0), field(1)]}, version="0.4")
    (path / "A" / "1" / ".zattrs").unlink()
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 8:].compute(scheduler="sync"), field(1)
        )


def test_wells_are_placed_by_name_where_the_indices_contradict(tmp_path):
    path = write_plate(
        tmp_path / "a.zarr", {"A/1": [field(0)], "A/2": [field(1)], "B/1": [field(2)]}
    )
    wells = [
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "A/2", "rowIndex": 1, "columnIndex": 0},
        {"path": "B/1", "rowIndex": 0, "columnIndex": 1},
        {"path": "../outside"},
        {"path": "C/7", "rowIndex": 10**9, "columnIndex": 6},
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"no path": 1},
    ]
    write_group(
        path,
        {
            "plate": {
                "wells": wells,
                "rows": [{"name": "A"}, {"name": "B"}],
                "columns": [{"name": "1"}, {"name": "2"}],
            }
        },
    )
    with quietly(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[:6, 8:].compute(scheduler="sync"), field(1)
        )
        text = " ".join(dataset.notes)
        assert "indices of 2 wells do not agree with their names" in text
        assert "leads out of the store" in text
        assert "row 1000000000, column 6 is on no plate" in text
        assert "lists two wells at row 0, column 0" in text


def test_the_table_has_the_wells_in_order_and_absurd_counts_of_fields_end(tmp_path):
    wells = {one: [field(n)] for n, one in enumerate(("B/1", "A/2", "A/1"))}
    with nl.open_dataset(write_plate(tmp_path / "a.zarr", wells, field_count=5000)) as dataset:
        assert dataset.meta["path"].tolist() == ["A/1", "A/2", "B/1"]
        assert dataset.images[0].shape == (2 * 32 * 6, 2 * 32 * 8)


def test_a_plate_that_lists_paths_alone_still_has_rows_and_columns(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {"A/1": [field(0)], "B/2": [field(1)]}, version="0.2")
    write_group(path, {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}}, "0.2")
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[6:, 8:].compute(scheduler="sync"), field(1)
        )


def test_the_first_wells_may_be_missing(tmp_path):
    names = [f"A/{n:02d}" for n in range(20)]
    path = write_plate(
        tmp_path / "a.zarr",
        {names[5]: [field(5)]},
        listed=[one for one in names if one != names[5]],
    )
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 40:48].compute(scheduler="sync"), field(5)
        )


def test_a_field_in_other_chunks_is_still_right(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in range(5)}, chunks=(4, 8))
    shutil.rmtree(path / "A" / "1" / "0" / "0")
    write_array(path / "A" / "1" / "0" / "0", field(1), (3, 3))
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 8:16].compute(scheduler="sync"), field(1)
        )
        chunk = dataset.images[0].source.chunk(0, (0, 1))
        before = chunk.key
        assert chunk.key == before
        os.utime(path / "A" / "1" / "0" / "0" / "c" / "0" / "0", (1, 1))
        assert chunk.key != before


def test_fields_lie_side_by_side_whatever_they_say_of_their_place_on_the_stage(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in (1, 2)})
    for n in (1, 2):
        entry = {"coordinateTransformations": scaled((2, 3), (100 * n, 200))}
        write_image(path / "A" / str(n) / "1", [field(n)], entry=entry)
        write_group(path / "A" / str(n), {"well": {"images": [{"path": "1"}]}})
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert (image.scale, image.translate) == ((2, 3), (0, 0))


def test_chunks_of_wells_that_are_not_there_are_blank_in_every_form(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {"A/1": [field(1)]}, listed=["A/2"], chunks=(4, 8))
    with nl.open_dataset(path) as dataset:
        assert not np.asarray(dataset.images[0].boxes[0][:, 8:]).any()


def test_colors_are_no_axis_of_a_mosaic():
    source = RecordingSource(np.zeros((4, 5, 3), "u1"), (4, 5, 3), axes=("a", "b", RGB_AXIS))
    assert mosaic_axes(source.meta) == (0, 1)


def test_a_field_of_more_levels_is_shown_and_opened_alone_it_has_the_same_chunks(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in (1, 2, 3)})
    shutil.rmtree(path / "A" / "3" / "0")
    levels = pyramid((6, 8), 2, seed=3)
    write_image(path / "A" / "3" / "0", levels)
    with nl.open_dataset(path) as plate, nl.open_dataset(path / "A" / "3" / "0") as alone:
        np.testing.assert_array_equal(np.asarray(plate.images[0].boxes[0][:, 16:]), levels[0])
        reads = cache.shared.counters.reads
        np.testing.assert_array_equal(np.asarray(alone.images[0].boxes[0]), levels[0])
        assert cache.shared.counters.reads == reads


def test_a_mosaic_pickles_small_and_reads_by_itself(tmp_path):
    with nl.open_dataset(wide_plate(tmp_path / "a.zarr", there=4)) as dataset:
        chunk = dataset.images[0].source.chunk(0, (0, 1))
        text = pickle.dumps(chunk)
        assert pickle.loads(text).registry is chunk.registry
        cache.shared.drop(lambda _key: True)
        from napari_lazyload.sources.ome_zarr import well_registry

        well_registry._registries.clear()  # as in another process
        alone = pickle.loads(text)
        assert alone.registry is not chunk.registry
        np.testing.assert_array_equal(alone.load(), field(1))
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(dataset.images[0].data[:6, 8:16])).compute(scheduler="sync"),
            field(1),
        )


def test_looking_for_a_chunk_in_memory_reads_no_metadata(tmp_path, counted):
    path = wide_plate(tmp_path / "a.zarr", 2, 4, there=4)
    with nl.open_dataset(path) as dataset:
        source = dataset.images[0].source
        counted[0].forget()
        assert peek_block(source, 0, (0, 1)) is None
        assert peek_block(source, 0, (1, 1)) is None
        assert counted[0].calls == []
        np.asarray(dataset.images[0].boxes[0])
        np.testing.assert_array_equal(peek_block(source, 0, (0, 1)), field(1))
        assert not peek_block(source, 0, (1, 1)).any()
        some = select_channels(
            nl.open_dataset(write_channels(tmp_path / "b.zarr")).images[0].source, [1]
        )
        assert not is_ready(some.chunk(0, (0, 0, 1)))


def write_channels(path):
    return write_plate(path, {f"A/{n}": [field(n, (2, 6, 8))] for n in range(5)}, axes="cyx")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*fork:DeprecationWarning"
)  # of what is tested here
def test_a_forked_process_waits_for_no_thread_that_it_has_not(tmp_path):
    with nl.open_dataset(wide_plate(tmp_path / "a.zarr", 2, 4, there=4)) as dataset:
        chunk = dataset.images[0].source.chunk(0, (0, 1))
        with chunk.registry._lock(1):  # another thread of this process reads the well
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the child if it waits
                signal.alarm(20)
                try:
                    chunk.load()
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0


def test_closing_a_plate_frees_its_chunks(tmp_path):
    before = len(cache.shared)
    with nl.open_dataset(wide_plate(tmp_path / "a.zarr", 2, 2, there=3)) as dataset:
        np.asarray(dataset.images[0].boxes[0])
        assert len(cache.shared) == before + 4
    assert len(cache.shared) == before


def test_a_plate_whose_tried_wells_hold_no_image_says_what_is_wrong(tmp_path):
    path = write_plate(
        tmp_path / "a.zarr", {f"A/{n}": [field(n)] for n in range(2)}, listed=["A/7"]
    )
    shutil.rmtree(path / "A" / "0" / "0" / "0")
    (path / "A" / "1" / "0" / "zarr.json").write_text("{")
    with pytest.raises(
        nl.SourceOpenError,
        match=r"tried 3 of 3: .*no array at 'A/0/0/0'|tried 3 of 3: .*expected JSON",
    ):
        nl.open_dataset(path)


def test_fields_that_do_not_say_their_acquisition_are_all_shown(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {"A/1": [field(0), field(1)]})
    about = zarr.open_group(path, mode="r").attrs["ome"]["plate"]
    write_group(path, {"plate": {**about, "acquisitions": [{"id": 1}, {"id": 2}]}})
    with quietly(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 8:].compute(scheduler="sync"), field(1)
        )
        assert "all are shown as one" in dataset.notes[0]


def test_an_acquisition_that_no_tried_well_has_is_left_out_and_said(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {"A/1": [field(0)]}, acquisitions=(1,))
    about = zarr.open_group(path, mode="r").attrs["ome"]["plate"]
    write_group(path, {"plate": {**about, "acquisitions": [{"id": 1}, {"id": 2, "name": "late"}]}})
    with quietly(path) as dataset:
        assert len(dataset.images) == 1
        assert dataset.notes == ("no field was found of acquisition 2; it is left out",)


def test_axes_of_a_field_other_than_y_and_x_still_make_a_mosaic(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {}, listed=["A/1", "A/2"])
    for n, one in enumerate(("A/1", "A/2")):
        write_group(path / one, {"well": {"images": [{"path": "0"}]}})
        write_image(path / one / "0", [field(n)], entry={"axes": axes_of("ab")})
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data[:, 8:].compute(scheduler="sync"), field(1)
        )


def stack(value, *shape):
    return np.full(shape, value, np.uint8)


def test_wells_with_other_planes_are_shown_and_said_where_they_are_cut(tmp_path):
    sizes = (4, 6, 3, 5, 4, 7)
    wells = {f"A/{n}": [stack(10 * n, size, 6, 8)] for n, size in enumerate(sizes, 1)}
    path = write_plate(tmp_path / "a.zarr", wells, axes="zyx")
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        expected = np.zeros((7, 6, 48), np.uint8)
        for number, size in enumerate(sizes):
            expected[:size, :, 8 * number : 8 * number + 8] = 10 * (number + 1)
        np.testing.assert_array_equal(image.data.compute(scheduler="sync"), expected)
        assert dataset.meta["shape"].tolist() == [f"{size} x 6 x 8" for size in sizes]


def test_a_well_longer_than_those_read_at_opening_is_cut_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_lazyload.sources.ome_zarr.plate.TRIED", 3)
    wells = {f"A/{n}": [stack(n, 2 + 3 * (n == 2), 6, 8)] for n in (1, 2, 3, 4, 5)}
    path = write_plate(tmp_path / "a.zarr", wells, axes="tyx")
    with nl.open_dataset(path) as dataset:
        found = dataset.images[0].data.compute(scheduler="sync")
        np.testing.assert_array_equal(found[:, 0, ::8], [[1, 2, 3, 4, 5]] * 2)
        assert "its shape is 5 x 6 x 8 uint8, of which 2 x 6 x 8" in dataset.meta["error"][1]


@pytest.mark.parametrize("alone", [False, True])
def test_fields_lie_by_their_positions(tmp_path, alone):
    # A snake: to the right, back to the left, down, to the right; then a far one to the right.
    starts = [(0.0, 16.0), (0.0, 0.0), (12.1, 0.0), (11.9, 16.0), (12.0, 99.0)]
    wells = {f"A/{n}": [field(n + number) for number in range(5)] for n in (1, 2)}
    path = write_plate(tmp_path / "a.zarr", wells)
    for name in wells:
        for number, start in enumerate(starts):
            place_at(path / name / str(number), (2.0, 2.0), start)
    expected = [
        np.block([[field(n + 1), field(n), 0 * field(0)], [field(n + 2 + k) for k in range(3)]])
        for n in (1, 2)
    ]
    with nl.open_dataset(path / "A" / "1" if alone else path) as dataset:
        found = dataset.images[0].data.compute(scheduler="sync")
        np.testing.assert_array_equal(found, expected[0] if alone else np.hstack(expected))
        assert not dataset.notes


def test_positions_that_make_no_grid_are_said(tmp_path):
    path = write_plate(tmp_path / "a.zarr", {"A/1": [field(n) for n in range(4)]})
    for number in range(4):
        place_at(path / "A" / "1" / str(number), (1.0, 1.0), (99.0 * number, 99.0 * number))
    with pytest.warns(nl.LazyLoadWarning, match="make no grid"):
        dataset = nl.open_dataset(path)
    with dataset:
        expected = np.block([[field(0), field(1)], [field(2), field(3)]])
        np.testing.assert_array_equal(dataset.images[0].data.compute(scheduler="sync"), expected)


def place_at(folder, scale, start):
    """Write scale and translation of the image in a folder."""
    attributes = json.loads((folder / "zarr.json").read_text())
    (dataset,) = attributes["attributes"]["ome"]["multiscales"][0]["datasets"]
    dataset["coordinateTransformations"] = [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": start},
    ]
    (folder / "zarr.json").write_text(json.dumps(attributes))
