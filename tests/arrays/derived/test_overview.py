"""Computed coarse levels: every k-th pixel, each chunk decoded once, and only where needed."""

from __future__ import annotations

import pickle
from dataclasses import replace

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_lazyload as nl
from napari_lazyload.arrays.derived import overview
from napari_lazyload.arrays.derived.overview import ComputedLevels, with_overview
from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core import coarse_levels
from napari_lazyload.core.coarse_levels import overview_steps
from napari_lazyload.core.metadata import RGB_AXIS, ChannelMeta
from napari_lazyload.core.row_map import first_pixel
from napari_lazyload.core.text import level_label
from napari_lazyload.dataset.layer_data import layer_data, shown_image
from napari_lazyload.layers.display.prefetch import SliderMotion
from napari_lazyload.loading import cache, plan
from napari_lazyload.loading.read_box import read_block, read_box
from napari_lazyload.testing.sources import RecordingSource

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (301, 410)).astype("u2")


@pytest.fixture(autouse=True)
def _clean_cache():
    cache.shared.drop()
    yield
    cache.shared.drop()


@pytest.fixture
def small_planes(monkeypatch):
    """Images of a few hundred pixels count as large."""
    monkeypatch.setattr(coarse_levels, "PLANE_NBYTES", 10_000)
    monkeypatch.setattr(coarse_levels, "PLANE_SIDE", 60)
    monkeypatch.setattr(coarse_levels, "LEAST_SIDE", 8)
    monkeypatch.setattr(overview, "CHUNK_NBYTES", 16_000)


@pytest.fixture
def small_volumes(monkeypatch):
    monkeypatch.setattr(coarse_levels, "VOLUME_NBYTES", 10_000)
    monkeypatch.setattr(coarse_levels, "VOLUME_SIDE", 8)
    monkeypatch.setattr(coarse_levels, "VOLUME_PLANES", 4)


def whole(source, level):
    return read_box(source, level, source.meta.levels[level].grid.full_box)


# --- which levels


def test_a_small_image_stays_as_it_is():
    source = RecordingSource(PLANE, (64, 64), axes="yx")
    assert with_overview(source) is source
    image = Image(source)
    assert image.with_overview() is image


def test_a_large_plane_is_halved_until_its_longer_side_is_short():
    source = RecordingSource(
        np.broadcast_to(np.zeros((), "u2"), (3, 9000, 20_000)), (1, 512, 512), axes="zyx"
    )
    assert overview_steps(source.meta) == [(1, 2, 2)] * 4
    shapes = [level.shape for level in with_overview(source).meta.levels]
    assert shapes == [
        (3, 9000, 20_000),
        (3, 4500, 10_000),
        (3, 2250, 5000),
        (3, 1125, 2500),
        (3, 563, 1250),
    ]
    single = RecordingSource(
        np.broadcast_to(np.zeros((), "u2"), (40_000, 40_000)), (512, 512), axes="yx"
    )
    assert with_overview(single).meta.levels[-1].shape == (1250, 1250)


def test_a_large_volume_of_small_planes_gets_one_level_that_leaves_out_planes():
    empty = np.broadcast_to(np.zeros((), "u2"), (1000, 512, 1024))
    source = RecordingSource(empty, (1, 512, 1024), axes="zyx")
    assert overview_steps(source.meta) == [(16, 2, 4)]
    movie = RecordingSource(empty, (1, 512, 1024), axes="tyx")
    assert overview_steps(movie.meta) == []


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        (("y", "x"), (300_000, 300), [(2, 2)] + [(2, 1)] * 7),  # short sides stay
        (("y", "x", RGB_AXIS), (5000, 5000, 3), [(2, 2, 1)] * 2),  # colors count
        (("z", "y", "x", RGB_AXIS), (600, 400, 400, 3), [(16, 2, 2, 1)]),
        (("z", "x"), (40_000, 40_000), [(2, 2)] * 5),  # a plane that has z is no volume
        (("x",), (200_000_000,), []),
    ],
)
def test_what_is_thinned_out_depends_on_sides_colors_and_axes(axes, shape, expected):
    source = RecordingSource(
        np.broadcast_to(np.zeros((), "u1"), shape), (512,) * len(shape), axes=axes
    )
    assert overview_steps(source.meta) == expected


def test_a_million_planes_are_not_listed():
    empty = np.broadcast_to(np.zeros((), "u1"), (1_000_000, 64, 64))
    made = with_overview(RecordingSource(empty, (1, 64, 64), axes="zyx"))
    assert made.meta.levels[1].shape == (62, 64, 64)
    assert made.meta.levels[1].grid.chunks[0] == 1


def test_more_planes_are_left_out_where_strides_would_decode_everything():
    empty = np.broadcast_to(np.zeros((), "u2"), (4096, 2048, 2048))
    thin = RecordingSource(empty, (1, 2048, 2048), axes="zyx")
    assert overview_steps(thin.meta) == [(64, 8, 8)]  # 64 of 4096 planes
    thick = RecordingSource(empty, (64, 64, 64), axes="zyx")
    assert overview_steps(thick.meta) == [(512, 8, 8)]  # every 64th plane would be in every chunk


def test_a_pyramid_goes_on_from_its_coarsest_level(small_planes):
    source = RecordingSource(
        [PLANE, PLANE[::2, ::2].copy()], (64, 64), axes="yx", factors=[(1.0, 1.0), (2.0, 2.0)]
    )
    made = with_overview(source)
    assert [level.computed_from for level in made.meta.levels] == [None, None, 1, 1]
    assert [level.factors for level in made.meta.levels] == [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert [level.first_center for level in made.meta.levels] == [
        (0, 0),
        (0.5, 0.5),
        (0.5, 0.5),
        (0.5, 0.5),
    ]
    np.testing.assert_array_equal(whole(made, 2), PLANE[::4, ::4])
    np.testing.assert_array_equal(whole(made, 3), PLANE[::8, ::8])
    assert {level for level, _ in source.loads} == {1}


def test_one_level_opened_alone_stays_one(small_planes):
    image = Image(RecordingSource(PLANE, (64, 64), axes="yx"), level=0)
    assert image.with_overview() is image


# --- exactly what they say


def test_every_level_is_every_kth_pixel_and_each_chunk_of_the_file_is_decoded_once(small_planes):
    source = RecordingSource(PLANE, (37, 64), axes="yx", scale=(2.0, 3.0), translate=(5.0, 7.0))
    made = with_overview(source)
    assert len(made.meta.levels) == 4
    assert source.loads == []
    for number, level in enumerate(made.meta.levels):
        cache.shared.drop()
        source.loads.clear()
        step = 2**number
        np.testing.assert_array_equal(whole(made, number), PLANE[::step, ::step])
        assert len(source.loads) == len(set(source.loads)) == 9 * 7
        assert level.factors == (step, step)
        assert level.first_center == (0, 0)


@given(
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
)
def test_whatever_the_grid_and_the_steps(shape, chunks, steps):
    pixels = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    source = RecordingSource(pixels, chunks, axes="yx")
    made = ComputedLevels(source, steps)
    y = x = 1
    for number, step in enumerate(steps, 1):
        y, x = y * step[0], x * step[1]
        np.testing.assert_array_equal(whole(made, number), pixels[::y, ::x])
        level = made.meta.levels[number]
        assert all(
            min(level.grid.block_sizes(axis, 0, size)) > 0 for axis, size in enumerate(level.shape)
        )
        for index in level.grid.touched(level.grid.full_box):
            starts = [pair[0] for pair in level.grid.bounds(index)]
            first = [first_pixel(level, axis, block) for axis, block in enumerate(index)]
            assert first == [start * factor for start, factor in zip(starts, (y, x), strict=True)]


@pytest.mark.parametrize(
    ("axes", "shape", "chunks", "more"),
    [
        ("yxs", (301, 200, 3), (64, 64, 3), {}),
        ("yx", (301, 200), ((100, 1, 200), (64, 64, 72)), {"kind": "labels"}),
        ("tcyx", (2, 3, 150, 160), (1, 2, 32, 32), {"channels": tuple(map(ChannelMeta, "abc"))}),
    ],
)
def test_colors_labels_and_channels(small_planes, axes, shape, chunks, more):
    pixels = RNG.integers(0, 250, shape).astype("u1")
    source = RecordingSource(pixels, chunks, axes=axes, **more)
    layers = layer_data(Image(source))
    number = axes.index("y")
    for channel, (data, keywords, kind) in enumerate(layers):
        assert keywords["multiscale"]
        assert kind == more.get("kind", "image")
        own = pixels if len(layers) == 1 else pixels[:, channel]
        at = number if len(layers) == 1 else number - 1
        for level, array in enumerate(data):
            thin = (slice(None),) * at + (slice(None, None, 2**level),) * 2
            np.testing.assert_array_equal(np.asarray(array), own[thin])


def test_volumes_read_the_planes_that_they_have_and_no_other(small_volumes):
    stack = RNG.integers(0, 250, (32, 16, 24)).astype("u1")
    source = RecordingSource(stack, (1, 16, 24), axes="zyx")
    made = with_overview(source)
    assert made.meta.levels[1].shape == (4, 8, 6)
    np.testing.assert_array_equal(whole(made, 1), stack[::8, ::2, ::4])
    assert sorted(index[0] for _, index in source.loads) == [0, 8, 16, 24]


# --- what a chunk of them is


def test_what_is_decoded_on_the_way_is_kept_only_where_its_level_is_small(small_planes):
    source = RecordingSource(PLANE, (64, 64), axes="yx")
    made = with_overview(source)
    nl.configure(cache_budget=PLANE.nbytes)
    whole(made, 3)
    kept = cache.shared.nbytes
    thin = [PLANE[:: 2**number, :: 2**number].nbytes for number in range(4)]
    assert thin[2] + thin[3] == kept  # a sixteenth of the plane, and what was asked for
    source.loads.clear()
    whole(made, 2)
    assert source.loads == []


@pytest.mark.parametrize(
    ("remote", "parts"), [(False, overview.CHUNK_PARTS), (True, overview.REMOTE_PARTS)]
)
def test_a_computed_chunk_of_a_server_waits_for_few_one_after_the_other(remote, parts):
    source = RecordingSource(np.zeros((1024, 1024), "u1"), (32, 32), axes="yx")
    source.remote = remote
    made = ComputedLevels(source, [(2, 2)])
    assert made.remote == remote
    assert len(made.chunk(1, (0, 0)).parts) == parts


def test_chunks_in_memory_are_used(small_planes):
    source = RecordingSource(PLANE, (64, 64), axes="yx")
    made = with_overview(source)
    whole(made, 0)
    source.loads.clear()
    whole(made, 3)
    assert source.loads == []


def test_the_key_changes_with_any_chunk_of_the_file_and_belongs_to_it(small_planes):
    source = RecordingSource(PLANE, (64, 64), axes="yx")
    made = with_overview(source)
    chunk = made.chunk(3, (0, 0))
    key = chunk.key
    assert key == made.chunk(3, (0, 0)).key
    assert key.file == source.token
    assert key != made.chunk(2, (0, 0)).key
    other = with_overview(RecordingSource(PLANE, (64, 64), axes="yx"))
    assert key != other.chunk(3, (0, 0)).key
    assert made.token not in (source.token, other.token)
    assert made.token == with_overview(source).token


def test_the_key_tells_each_part_and_which_pixels_of_it_are_taken():
    source, other = (RecordingSource(PLANE, (64, 64), axes="yx") for _ in range(2))
    chunk = ComputedLevels(source, [(2, 2)]).chunk(1, (0, 0))
    assert len(chunk.parts) > 1
    for number, part in enumerate(chunk.parts):
        for changed in (
            replace(part, chunk=other.chunk(0, part.chunk.index)),
            replace(part, first=(1, 1)),
        ):
            parts = (*chunk.parts[:number], changed, *chunk.parts[number + 1 :])
            assert chunk.key != replace(chunk, parts=parts).key


def test_the_original_is_asked_for_its_own_levels_alone():
    source, asked = RecordingSource(PLANE, (64, 64), axes="yx"), []
    source.box_reader = lambda level, _box: asked.append(level)
    made = ComputedLevels(source, [(2, 2)])
    np.testing.assert_array_equal(whole(made, 1), PLANE[::2, ::2])
    assert asked == []
    np.testing.assert_array_equal(whole(made, 0), PLANE)
    assert set(asked) == {0}


def test_chunks_and_arrays_work_in_another_process_s_hands(small_planes):
    image = Image(RecordingSource(PLANE, (64, 64), axes="yx")).with_overview()
    chunk = pickle.loads(pickle.dumps(image.source.chunk(3, (0, 0))))
    np.testing.assert_array_equal(chunk.load(), PLANE[::8, ::8][: chunk.shape[0], : chunk.shape[1]])
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(np.asarray(again.levels[2]), PLANE[::4, ::4])
    for how in ("sync", "threads"):
        with dask.config.set(scheduler=how):
            np.testing.assert_array_equal((image.levels[2] + 1).compute(), PLANE[::4, ::4] + 1)


def test_a_chunk_that_cannot_be_read_says_which(small_planes):
    source = RecordingSource(PLANE, (64, 64), axes="yx", failing=[(1, 1)])
    with pytest.raises(nl.ChunkReadError, match=r"0/1\.1"):
        whole(with_overview(source), 3)


def test_a_key_that_has_to_be_looked_up_first_is_waited_for():
    source = RecordingSource(PLANE, (64, 64), axes="yx")
    made = ComputedLevels(source, [(2, 2)])
    chunk = made.chunk(1, (0, 0))
    assert chunk.ready
    object.__setattr__(chunk.parts[0], "chunk", type("Unready", (), {"ready": False})())
    assert not chunk.ready


def test_what_a_view_of_a_computed_level_decodes_is_known_before():
    source = RecordingSource(np.zeros((64, 128, 128), "u1"), (4, 32, 32), axes="zyx")
    made = ComputedLevels(source, [(1, 2, 2), (16, 4, 4)])
    assert plan.decoded(made.meta, 0, ((0, 1), (0, 40), (0, 32))) == (2, 4 * 64 * 32)
    whole_plane = ((0, 1), (0, 64), (0, 64))
    assert plan.decoded(made.meta, 1, whole_plane) == (16, 4 * 128 * 128)
    assert plan.decoded(made.meta, 2, made.meta.levels[2].grid.full_box) == (
        4 * 16,
        4 * 4 * 128 * 128,
    )
    assert plan.decoded(made.meta, 1, ((0, 64), (0, 64), (0, 64)), (32, 1, 1)) == (
        2 * 16,
        2 * 4 * 128 * 128,
    )
    assert plan.decoded(made.meta, 1, ((0, 0), (0, 64), (0, 64))) == (0, 0)


# --- data sets


def test_scripts_have_what_is_stored_and_layers_have_more(small_planes, tmp_path, write_folder):
    stack = write_folder(tmp_path / "in", 3, (200, 240))
    with nl.open_dataset(tmp_path / "in") as dataset:
        assert len(dataset.images[0].levels) == 1
        ((data, keywords, _),) = dataset.to_layer_data()
        assert [level.shape for level in data] == [(3, 200, 240), (3, 100, 120), (3, 50, 60)]
        assert keywords["multiscale"]
        assert keywords["metadata"][METADATA_KEY].image.shape == stack.shape
        np.testing.assert_array_equal(np.asarray(data[0]), stack)
        np.testing.assert_array_equal(np.asarray(data[2]), stack[:, ::4, ::4])


def test_rows_and_closing_know_the_computed_levels(small_planes, tmp_path, write_folder):
    write_folder(tmp_path / "in", 3, (200, 240))
    dataset = nl.open_dataset(tmp_path / "in")
    source = shown_image(dataset.images[0]).source
    read_block(source, 2, (1, 0, 0))
    assert dataset.row_state(1) == "loaded"
    assert dataset.row_states() == {1: "loaded"}
    assert dataset.row_of(0, (1, 0, 0), 2) == 1
    (tmp_path / "in" / "img_2.png").write_bytes(b"no picture")
    with pytest.raises(nl.ChunkReadError):
        read_block(source, 2, (2, 0, 0))
    assert dataset.row_state(2) == "failed"
    assert "img_2" in dataset.problems()[2]
    assert len(cache.shared) > 0
    dataset.close()
    assert len(cache.shared) == 0


def test_what_napari_cannot_show_is_converted_before_it_is_thinned_out(small_planes):
    pixels = PLANE.astype("c8") * 1j
    with pytest.warns(nl.LazyLoadWarning, match="magnitude"):
        ((data, _, _),) = layer_data(Image(RecordingSource(pixels, (64, 64), axes="yx")))
    np.testing.assert_array_equal(np.asarray(data[2]), np.abs(pixels[::4, ::4]))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_crop_of_a_computed_level_says_what_it_decodes(small_planes, level):
    source = RecordingSource(PLANE, (32, 32), axes="yx")
    image, region = Image(source).with_overview(), (slice(10, 140), slice(0, 64))
    found = nl.estimate(image, region, level=level)
    pixels = nl.crop(image, region, level=level)
    assert (found.result_nbytes, found.full_nbytes) == (pixels.nbytes, image.levels[level].nbytes)
    assert found.touched_chunks == len(source.loads) == len(set(source.loads))
    assert found.touched_nbytes == len(source.loads) * 32 * 32 * 2


@pytest.mark.parametrize(
    ("steps", "axes", "label"),
    [
        (None, "yx", "level 3"),
        ((1, 1), "yx", "level 3"),
        ((2, 2), "yx", "level 3 (computed, every 2nd pixel)"),
        ((1, 16, 16), "tyx", "level 3 (computed, every 16th pixel)"),
        ((3, 3, 1), "yxs", "level 3 (computed, every 3rd pixel)"),
        ((8, 2, 2), "zyx", "level 3 (computed, 1 of 8 along z, 1 of 2 along y, 1 of 2 along x)"),
    ],
)
def test_a_level_is_called_what_it_is(steps, axes, label):
    level = RecordingSource(PLANE, (64, 64), axes="yx").meta.levels[0]
    assert level_label(3, replace(level, steps=steps), axes) == label


def test_the_levels_that_big_binaries_bring_are_called_computed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(coarse_levels, "VOLUME_NBYTES", 1000)
    stack = RNG.integers(0, 250, (128, 300, 300)).astype("u1")
    np.save(tmp_path / "stack.npy", stack)
    with nl.open_dataset(tmp_path / "stack.npy") as dataset:
        (image,) = dataset.images
        level = image.meta.levels[1]
        assert (level.steps, level.computed_from, level.first_center) == (
            (2, 2, 2),
            None,
            (0, 0, 0),
        )
        assert level_label(1, level, image.axes).startswith("level 1 (computed, 1 of 2 along z")
        np.testing.assert_array_equal(np.asarray(image.levels[1]), stack[::2, ::2, ::2])
        assert image.with_overview() is image  # read in place: nothing to add


def test_less_is_read_ahead_where_more_is_decoded():
    nl.configure(cache_budget=4 * 4 * 64 * 64, look_ahead=8)
    source = ComputedLevels(
        RecordingSource(np.zeros((40, 64, 64), "u1"), (1, 64, 64), axes="zyx"), [(1, 2, 2)]
    )
    for level, size in ((0, 64), (1, 32)):
        motion = SliderMotion()
        for place in (3, 4, 5):
            motion.moved(level, ((place, place + 1), (0, size), (0, size)), frozenset({1, 2}))
        assert motion.next_chunks(source, complete=True) == [
            (place, 0, 0) for place in (6, 7, 8, 9)
        ]
