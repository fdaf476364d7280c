"""What a viewer shows of a lazy layer, and what everyone else reads of it at the same time."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.core import settings
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.loading import cache, status

PLUGIN = "napari-lazyload"


@pytest.fixture
def viewer(make_napari_viewer):
    cache.shared.drop()
    return make_napari_viewer()


@pytest.fixture(params=["hook", "fallback"])
def way(request, monkeypatch):
    """Both ways of showing blank frames: with napari's slice request class, and without it."""
    if request.param == "fallback":
        monkeypatch.setattr(napari_requests, "request_class", lambda _layer: None)
    return request.param


def shown(layer):
    return np.asarray(layer._data_view)


def test_opening_reads_the_visible_frame_alone(viewer, tmp_path, write_folder):
    stack = write_folder(tmp_path / "a", 9)
    before = cache.shared.counters.reads
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    nl.wait(viewer, 10)
    assert cache.shared.counters.reads - before == 1
    assert layer.visible
    np.testing.assert_array_equal(shown(layer), stack[viewer.dims.current_step[0]])


def test_a_step_reads_one_file_and_shows_it(viewer, tmp_path, write_folder):
    nl.configure(look_ahead=0)
    stack = write_folder(tmp_path / "a", 9)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    before = cache.shared.counters.reads
    for step in (0, 8, 3):
        viewer.dims.set_current_step(0, step)
        nl.wait(viewer, 10)
        np.testing.assert_array_equal(shown(layer), stack[step])
    assert cache.shared.counters.reads - before == 3


def test_an_unreadable_frame_is_blank_in_the_viewer_and_an_error_for_everyone_else(
    viewer, tmp_path, write_folder, way
):
    stack = write_folder(tmp_path / "a", 6)
    bad = tmp_path / "a" / "img_2.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:-20])
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    viewer.dims.set_current_step(0, 2)
    nl.wait(viewer, 10)
    assert not shown(layer).any()
    with pytest.raises(nl.ChunkReadError, match="img_2"):
        np.asarray(layer.data[2])
    with pytest.raises(nl.ChunkReadError, match="img_2"):
        layer.data[2].compute(scheduler="threads")
    with pytest.raises(nl.ChunkReadError, match="img_2"):
        layer.save(str(tmp_path / "out.tif"))
    viewer.dims.set_current_step(0, 3)
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), stack[3])
    dataset = layer.metadata["napari_lazyload"].dataset
    assert list(dataset.problems()) == [2]
    assert "img_2" in dataset.problems()[2]

    bad.write_bytes(good)
    dataset.retry(2)
    viewer.dims.set_current_step(0, 2)
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), stack[2])
    assert dataset.problems() == {}


def test_the_slider_of_a_layer_that_a_script_added_does_not_raise(viewer, tmp_path, write_folder):
    write_folder(tmp_path / "a", 6)
    (tmp_path / "a" / "img_2.png").write_bytes(b"no picture at all")
    with nl.open_dataset(tmp_path / "a") as dataset:
        data, keywords, _ = dataset.to_layer_data()[0]
        viewer.add_image(data, **keywords)
        viewer.dims.set_current_step(0, 2)
        nl.wait(viewer, 10)
        assert not shown(viewer.layers[0]).any()
        assert 2 in dataset.problems()


def test_a_frame_that_fails_is_marked_on_the_canvas_and_told_once(
    viewer, tmp_path, write_folder, monkeypatch
):
    told = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", told.append)
    write_folder(tmp_path / "a", 6)
    (tmp_path / "a" / "img_2.png").write_bytes(b"no picture at all")
    (tmp_path / "a" / "img_4.png").unlink()
    with pytest.raises(FileNotFoundError):
        (tmp_path / "a" / "img_4.png").read_bytes()
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    for step in (2, 3, 2, 0, 2):
        viewer.dims.set_current_step(0, step)
    nl.wait(viewer, 10)
    assert len(told) == 1
    assert "img_2" in told[0]
    overlay = viewer.canvas.overlays.text
    assert overlay.visible
    assert "img_2.png" in overlay.text
    viewer.dims.set_current_step(0, 3)
    nl.wait(viewer, 10)
    assert not overlay.visible


def test_a_vanished_file_is_blank_and_comes_back(viewer, tmp_path, write_folder):
    stack = write_folder(tmp_path / "a", 6)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    path = tmp_path / "a" / "img_1.png"
    content = path.read_bytes()
    path.unlink()
    viewer.dims.set_current_step(0, 1)
    nl.wait(viewer, 10)
    assert not shown(layer).any()
    path.write_bytes(content)
    layer.refresh()
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), stack[1])


def test_the_users_own_text_on_the_canvas_is_left_alone(viewer, tmp_path, write_folder):
    write_folder(tmp_path / "a", 3)
    (tmp_path / "a" / "img_1.png").write_bytes(b"no picture at all")
    overlay = viewer.canvas.overlays.text
    overlay.text, overlay.visible = "mine", True
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    viewer.dims.set_current_step(0, 1)
    nl.wait(viewer, 10)
    assert (overlay.text, overlay.visible) == ("mine", True)


def test_contrast_limits_come_from_the_first_frame_without_a_read_of_their_own(
    viewer, tmp_path, write_folder
):
    stack = write_folder(tmp_path / "a", 5, dtype="uint16")
    before = cache.shared.counters.reads
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    nl.wait(viewer, 10)
    seen = stack[viewer.dims.current_step[0]]
    assert tuple(layer.contrast_limits) == (seen.min(), seen.max())
    assert cache.shared.counters.reads - before == 1
    layer.contrast_limits = (5, 50)
    viewer.dims.set_current_step(0, 0)
    nl.wait(viewer, 10)
    assert tuple(layer.contrast_limits) == (5, 50)


def test_limits_that_the_user_set_first_stay(viewer, tmp_path, write_folder):
    write_folder(tmp_path / "a", 5, dtype="uint16")
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    layer.contrast_limits = (7, 70)
    nl.wait(viewer, 10)
    assert tuple(layer.contrast_limits) == (7, 70)


@pytest.fixture
def small_budget():
    before = settings.current().cache_budget
    yield lambda budget: settings.update(cache_budget=budget)
    settings.update(cache_budget=before)


def test_a_3d_view_beyond_the_budget_shows_every_kth_frame_where_it_belongs(
    viewer, tmp_path, write_folder, small_budget
):
    stack = write_folder(tmp_path / "a", 40)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    small_budget(10 * stack[0].nbytes)
    before = cache.shared.counters.reads
    viewer.dims.ndisplay = 3
    nl.wait(viewer, 10)
    strides = displays_of(layer).display(layer).strides
    assert strides[0] >= 4
    assert cache.shared.counters.reads - before <= 10
    np.testing.assert_array_equal(shown(layer), stack[:: strides[0], :: strides[1], :: strides[2]])
    np.testing.assert_allclose(layer._transforms["tile2data"].scale, strides)
    assert f"1 of {strides[0]} along frame" in viewer.canvas.overlays.text.text
    np.testing.assert_array_equal(np.asarray(layer.data), stack)

    displays_of(layer).show_finer(layer)
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), stack)
    viewer.dims.ndisplay = 2
    nl.wait(viewer, 10)
    assert not viewer.canvas.overlays.text.visible


def test_rolled_axes_and_thick_slices_stay_within_the_budget(
    viewer, tmp_path, write_folder, small_budget
):
    stack = write_folder(tmp_path / "a", 40)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    small_budget(10 * stack[0].nbytes)
    before = cache.shared.counters.reads
    viewer.dims.order = (1, 0, 2)
    nl.wait(viewer, 10)
    assert cache.shared.counters.reads - before <= 10
    strides = displays_of(layer).display(layer).strides
    row = viewer.dims.current_step[1]
    np.testing.assert_array_equal(shown(layer), stack[:: strides[0], row, :: strides[2]])

    viewer.dims.order = (0, 1, 2)
    layer.projection_mode = "max"
    before = cache.shared.counters.reads
    viewer.dims.set_point(0, 20)
    viewer.dims.thickness = (40, 0, 0)
    nl.wait(viewer, 10)
    assert cache.shared.counters.reads - before <= 12
    assert displays_of(layer).display(layer).strides[0] > 1


def test_a_sampled_view_has_no_value_under_the_pointer(
    viewer, tmp_path, write_folder, small_budget
):
    stack = write_folder(tmp_path / "a", 40)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    nl.wait(viewer, 10)
    assert (
        layer.get_value((viewer.dims.current_step[0], 3, 4))
        == stack[viewer.dims.current_step[0], 3, 4]
    )
    small_budget(10 * stack[0].nbytes)
    viewer.dims.order = (1, 0, 2)
    assert layer.get_value((1, viewer.dims.current_step[1], 4)) is None


def test_removing_the_layer_gives_everything_back(viewer, tmp_path, write_folder):
    write_folder(tmp_path / "a", 6)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    dataset = layer.metadata["napari_lazyload"].dataset
    assert "_slice_request_class" in vars(layer._slicing_state)
    listeners = len(status.shared._listeners)
    viewer.layers.remove(layer)
    assert dataset.closed
    assert "_slice_request_class" not in vars(layer._slicing_state)
    assert len(status.shared._listeners) == listeners - 1
    assert displays_of(layer) is None
    assert len(cache.shared) == 0


def test_a_dataset_stays_open_while_one_of_its_layers_is_shown(viewer, tmp_path, write_folder):
    write_folder(tmp_path / "a", 3)
    stack = write_folder(tmp_path / "other", 2, shape=(8, 9))
    for path in (tmp_path / "other").iterdir():
        path.rename(tmp_path / "a" / f"z_{path.name}")
    with pytest.warns(nl.LazyLoadWarning, match="2 shapes"):
        first, second = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    dataset = first.metadata["napari_lazyload"].dataset
    viewer.layers.remove(first)
    assert not dataset.closed
    np.testing.assert_array_equal(np.asarray(second.data), stack)
    viewer.layers.remove(second)
    assert dataset.closed


def test_a_duplicate_of_a_layer_is_lazy_and_exact_too(viewer, tmp_path, write_folder):
    stack = write_folder(tmp_path / "a", 5)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    viewer.layers.selection.active = layer
    from napari.layers import Layer

    copy = viewer.add_layer(Layer.create(*layer.as_layer_data_tuple()))
    assert nl.is_lazy(copy)
    np.testing.assert_array_equal(np.asarray(copy.data), stack)
    dataset = layer.metadata["napari_lazyload"].dataset
    viewer.layers.remove(layer)
    assert not dataset.closed
    viewer.layers.remove(copy)
    assert dataset.closed


def test_labels_cannot_be_painted(viewer, tmp_path, write_folder):
    write_folder(tmp_path / "a", 3)
    write_folder(tmp_path / "b", 2, shape=(10, 40))
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / f"z_{path.name}")
    dataset = nl.open_dataset(tmp_path / "a", mixed="pad")
    from napari.layers import Layer

    from napari_lazyload.widgets.attach import attach_open_viewers

    attach_open_viewers()
    for data in dataset.to_layer_data():
        viewer.add_layer(Layer.create(*data))
    labels = viewer.layers[-1]
    assert type(labels).__name__ == "Labels"
    assert not labels.editable
    assert shown(labels).any()


def test_saving_a_half_loaded_layer_writes_every_frame(viewer, tmp_path, write_folder):
    import tifffile

    stack = write_folder(tmp_path / "a", 7)
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    viewer.dims.set_current_step(0, 1)
    (written,) = layer.save(str(tmp_path / "out.tif"))
    np.testing.assert_array_equal(tifffile.imread(written), stack)
