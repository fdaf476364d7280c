"""What napari gets: real layers of it are exact and read no more than the frame they show."""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY, LayerLink
from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.testing.sources import RecordingSource

layers = pytest.importorskip("napari.layers")

GRAY, RGB, RGBA = ("frame", "y", "x"), ("frame", "y", "x", "s"), ("frame", "y", "x", "s")
SHAPES = {"gray": (7, 4, 5), "rgb": (7, 4, 5, 3), "rgba": (7, 4, 5, 4)}
DTYPES = [
    "?",
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "g",
    "c8",
    "c16",
    "G",
]


def pixels_of(dtype, shape):
    """Pixels with the extremes of the dtype in the first frame."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(0)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        pixels = rng.integers(0, 100, shape).astype(dtype)
        pixels.flat[:2] = info.min, info.max
        return pixels
    return (rng.random(shape) * (3 + 4j if dtype.kind == "c" else 5)).astype(dtype)


def source_of(pixels, **meta):
    axes = meta.pop("axes", GRAY if pixels.ndim == 3 else RGB)
    return RecordingSource(pixels, (1, *pixels.shape[1:]), axes=axes, **meta)


def made(source, **options):
    """Make a real napari layer; only warnings of this package are let through."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", LazyLoadWarning)
        return layers.Layer.create(*layer_data(Image(source, **options))[0])


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_makes_an_exact_layer_that_reads_one_frame(dtype, kind):
    pixels = pixels_of(dtype, SHAPES[kind])
    source = source_of(pixels)
    layer = made(source)
    assert [index[0] for _, index in source.loads] == [0]
    assert layer.rgb == (kind != "gray")
    assert layer.data.shape == pixels.shape
    assert layer.data is layer.data[...]  # still a box: nothing was wrapped around it
    shown = {"c": np.abs(pixels), "f": pixels}.get(pixels.dtype.kind, pixels)
    np.testing.assert_array_equal(np.asarray(layer.data), shown.astype(layer.dtype))
    assert layer.contrast_limits[0] < layer.contrast_limits[1]
    assert np.isfinite(layer.contrast_limits).all()
    np.testing.assert_array_equal(layer._slice.image.raw, shown[0].astype(layer.dtype))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_hidden_layer_reads_nothing(dtype):
    source = source_of(pixels_of(dtype, SHAPES["gray"]))
    data, keywords, kind = layer_data(Image(source))[0]
    layers.Layer.create(data, {**keywords, "visible": False}, kind)
    assert source.loads == []


def test_a_step_reads_one_frame():
    from napari.components import ViewerModel

    source = source_of(pixels_of("u2", SHAPES["gray"]))
    viewer = ViewerModel()
    viewer.add_layer(made(source))
    viewer.dims.set_current_step(0, 5)
    assert {index[0] for _, index in source.loads} <= {0, 3, 5}  # napari itself goes to the middle


def test_what_is_assigned_into_a_layers_data_shows_nowhere_else():
    pixels = pixels_of("u2", SHAPES["gray"])
    image = Image(source_of(pixels))
    one, other = (layer_data(image)[0][0] for _ in range(2))
    one[0] = 7
    assert (np.asarray(one)[0] == 7).all()
    np.testing.assert_array_equal(np.asarray(other), pixels)
    np.testing.assert_array_equal(np.asarray(image.data), pixels)


def test_what_napari_is_told():
    source = source_of(
        pixels_of("u2", SHAPES["gray"]),
        name="cells",
        scale=(1.0, 0.5, 0.5),
        translate=(0.0, 10.0, 20.0),
        units=(None, "micrometer", "µm"),
        contrast_limits=(10.0, 20.0),
        colormap="green",
        metadata={"bits": 12},
    )
    image = Image(source)
    data, keywords, kind = layer_data(image)[0]
    assert (data.name, kind, keywords["cache"], keywords["multiscale"]) == (
        image.data.name,
        "image",
        False,
        False,
    )
    link = keywords["metadata"][METADATA_KEY]
    assert (link.image, link.dataset, link.needs_limits, link.hidden) == (image, None, False, False)
    layer = made(source)
    assert (layer.name, layer.axis_labels) == ("cells", GRAY)
    assert layer.scale.tolist() == [1, 0.5, 0.5]
    assert layer.translate.tolist() == [0, 10, 20]
    assert [str(unit) for unit in layer.units] == ["pixel", "micrometer", "micrometer"]
    assert layer.contrast_limits == [10, 20]
    assert layer.colormap.name == "green"
    assert layer.metadata["bits"] == 12


def test_colors_have_no_limits_and_labels_for_two_axes_more():
    _, keywords, _ = layer_data(Image(source_of(pixels_of("u1", SHAPES["rgb"]))))[0]
    assert keywords["rgb"]
    assert keywords["axis_labels"] == ("frame", "y", "x")
    assert len(keywords["scale"]) == len(keywords["translate"]) == 3
    assert "contrast_limits" not in keywords
    assert "units" not in keywords


def test_labels_are_a_labels_layer():
    source = source_of(pixels_of("u1", SHAPES["gray"]), kind="labels", scale=(1.0, 2.0, 2.0))
    data, keywords, kind = layer_data(Image(source))[0]
    assert kind == "labels"
    assert not {"rgb", "contrast_limits", "colormap"} & set(keywords)
    layer = layers.Layer.create(data, keywords, kind)
    assert layer.scale.tolist() == [1, 2, 2]
    np.testing.assert_array_equal(np.asarray(layer.data), source.arrays[0])


@pytest.mark.parametrize(
    ("values", "kept"), [((1, 65536, 65537), [1, 65536]), ((-5, 32768, 32769), [-5, 32768])]
)
def test_colors_of_labels_that_napari_needs_numba_for_are_left_to_those_who_have_it(
    monkeypatch, values, kept
):
    colors = {None: (0, 0, 0, 0), **dict.fromkeys((*values, 2**40), (1, 0, 0, 1))}
    source = source_of(pixels_of("i4", SHAPES["gray"]), kind="labels", display={"colormap": colors})
    monkeypatch.setattr("napari_lazyload.dataset.layer_data.find_spec", lambda _name: None)
    with pytest.warns(LazyLoadWarning, match="the colors of 1 labels beyond .* are not shown"):
        _, keywords, _ = layer_data(Image(source))[0]
    assert keywords["colormap"].keys() - {None} == set(kept)
    assert made(source).get_color(kept[0]).tolist() == [1, 0, 0, 1]
    monkeypatch.setattr("napari_lazyload.dataset.layer_data.find_spec", lambda name: name)
    assert layer_data(Image(source))[0][1]["colormap"] == colors


def test_coverage_lets_the_pictures_shine_through(tmp_path, write_folder):
    write_folder(tmp_path, 2)
    write_folder(tmp_path / "wide", 2, shape=(24, 40))
    with nl.open_dataset(tmp_path, mixed="pad") as dataset:
        image, coverage = (layers.Layer.create(*data) for data in dataset.to_layer_data())
        assert (image.opacity, coverage.opacity) == (1, 0.2)
        assert coverage.metadata["coverage_of"] == image.name
        assert coverage.data.shape == image.data.shape == (4, 24, 40)


def test_a_pyramid_is_a_multiscale_layer():
    pixels = pixels_of("u2", (5, 64, 64))
    source = RecordingSource([pixels, pixels[:, ::2, ::2]], (1, 32, 32), axes=GRAY)
    layer = made(source)
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(5, 64, 64), (5, 32, 32)]
    one = made(source, level=1)
    assert (one.multiscale, one.data.shape, one.scale.tolist()) == (False, (5, 32, 32), [1, 2, 2])


def test_a_level_of_converted_values_stays_that_level():
    pixels = pixels_of("c8", (5, 64, 64))
    source = RecordingSource([pixels, pixels[:, ::2, ::2]], (1, 32, 32), axes=GRAY)
    layer = made(source, level=1, on_error="blank")
    assert layer.data.shape == (5, 32, 32)
    assert layer.metadata[METADATA_KEY].image.on_error == "blank"


# --- what napari would refuse (N10)

LIMITS = {
    "equal": ((5.0, 5.0), "u1", (0, 255)),
    "backwards": ((9.0, 5.0), "u2", (0, 65535)),
    "not a number": ((np.nan, 5.0), "i2", (-32768, 32767)),
    "infinite": ((0.0, np.inf), "f4", (0, 1)),
    "bool": ((1.0, 1.0), "?", (0, 1)),
}


@pytest.mark.parametrize(("limits", "dtype", "expected"), LIMITS.values(), ids=LIMITS)
def test_contrast_limits_are_mended(limits, dtype, expected):
    source = source_of(pixels_of(dtype, SHAPES["gray"]), contrast_limits=limits)
    with pytest.warns(
        LazyLoadWarning,
        match=r"recorded: contrast limits .* cannot be used; they are found from the",
    ):
        _, keywords, _ = layer_data(Image(source))[0]
    assert keywords["contrast_limits"] == expected
    assert keywords["metadata"][METADATA_KEY].needs_limits
    assert made(source).contrast_limits == list(expected)


GUESSES = {"?": False, "u1": False, "i1": True, "u2": True, "f4": True, "u8": True}


@pytest.mark.parametrize(("dtype", "guessed"), GUESSES.items(), ids=GUESSES)
def test_limits_of_pictures_are_known_for_bytes_and_bits_alone(tmp_path, dtype, guessed):
    pixels = pixels_of(dtype, (4, 5))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    with nl.open_dataset(tmp_path / "a.tif") as dataset:
        _, keywords, _ = dataset.to_layer_data()[0]
        assert keywords["metadata"][METADATA_KEY].needs_limits == guessed


@pytest.mark.parametrize("size", [0.0, np.nan, np.inf, -np.inf, 1e-320])
def test_scales_are_mended(size):
    source = source_of(pixels_of("u1", SHAPES["gray"]), scale=(1.0, size, 0.5))
    with pytest.warns(
        LazyLoadWarning, match=r"scale .* cannot be shown; using \(1\.0, 1\.0, 0\.5\)"
    ):
        layer_data(Image(source))
    assert made(source).scale.tolist() == [1, 1, 0.5]


def test_a_negative_scale_is_a_scale():
    assert made(
        source_of(pixels_of("u1", SHAPES["gray"]), scale=(1.0, -2.0, 0.5))
    ).scale.tolist() == [1, -2, 0.5]


@pytest.mark.parametrize("start", [np.nan, np.inf])
def test_places_are_mended(start):
    source = source_of(pixels_of("u1", SHAPES["gray"]), translate=(0.0, start, 3.0))
    with pytest.warns(
        LazyLoadWarning, match=r"translation .* cannot be shown; using \(0\.0, 0\.0, 3\.0\)"
    ):
        layer_data(Image(source))
    assert made(source).translate.tolist() == [0, 0, 3]


ODD_UNITS = ["furlongs per", "mm)", "((", "2 um", "\0", "x" * 300, "1/0", "__import__('os')", "'"]


@pytest.mark.parametrize("unit", ODD_UNITS)
def test_unknown_units_are_mended(unit):
    source = source_of(pixels_of("u1", SHAPES["gray"]), units=("second", unit, "um"))
    with pytest.warns(LazyLoadWarning, match="is not known; using pixels for all axes"):
        _, keywords, _ = layer_data(Image(source))[0]
    assert "units" not in keywords
    assert [str(one) for one in made(source).units] == ["pixel"] * 3


MIXED_UNITS = [
    ("second", "um", "mm"),
    ("pixel", "um", "um"),
    (None, None, "um"),
    ("", "%", "Å"),
    ("K", "nm", "µm"),
]


@pytest.mark.parametrize("units", MIXED_UNITS)
def test_mixed_units_are_shown(units):
    import pint

    layer = made(source_of(pixels_of("u1", SHAPES["gray"]), units=units))
    assert layer.units == tuple(pint.application_registry.Unit(unit or "pixel") for unit in units)


def test_layers_of_several_units_go_together():
    from napari.components import ViewerModel

    viewer = ViewerModel()
    for units in MIXED_UNITS:
        viewer.add_layer(made(source_of(pixels_of("u1", SHAPES["gray"]), units=units)))
    assert len(viewer.layers) == len(MIXED_UNITS)


NOTED = {"c8": "complex64 values are shown as their magnitude", "g": "is shown as float64"}


@pytest.mark.parametrize(("dtype", "note"), NOTED.items(), ids=NOTED)
def test_what_is_converted_is_said_and_the_image_keeps_its_values(dtype, note):
    source = source_of(pixels_of(dtype, SHAPES["gray"]))
    image = Image(source)
    if source.meta.dtype == np.dtype("f8"):
        pytest.skip("here a long double is a double")
    with pytest.warns(
        LazyLoadWarning, match=f"{note}; the data set itself keeps {source.meta.dtype}"
    ):
        _, keywords, _ = layer_data(image)[0]
    assert keywords["metadata"][METADATA_KEY].needs_limits
    np.testing.assert_array_equal(np.asarray(image.data), source.arrays[0])


# --- palettes


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_indices_show_the_colors_of_their_palette(tmp_path, bits):
    count = 1 << bits
    palette = np.random.default_rng(1).integers(0, 65536, (3, 256)).astype("u2")
    palette[:, count:] = 0
    indices = np.arange(count, dtype="u1").reshape(2, -1)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=palette)
    with nl.open_dataset(tmp_path / "a.tif") as dataset:
        layer = layers.Layer.create(*dataset.to_layer_data()[0])
    assert not layer.rgb
    low, high = layer.contrast_limits
    shown = layer.colormap.map((indices.ravel() - low) / (high - low))
    np.testing.assert_allclose(shown[:, :3], palette.T[:count] / 65535, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(layer.data), indices)


def test_two_palettes_do_not_become_one():
    rng = np.random.default_rng(2)
    colors = [rng.random((256, 3)) for _ in range(2)]
    pixels = pixels_of("u1", SHAPES["gray"])
    shown = [made(source_of(pixels, colormap=one, contrast_limits=(0.0, 255.0))) for one in colors]
    for layer, one in zip(shown, colors, strict=True):
        np.testing.assert_allclose(layer.colormap.colors[:, :3], one, atol=1e-6)


def test_a_palette_that_the_graphics_card_cannot_look_up_is_said():
    source = source_of(pixels_of("u2", SHAPES["gray"]), colormap=np.zeros((65536, 3)))
    with pytest.warns(LazyLoadWarning, match="a palette of 65536 colors cannot be shown"):
        layer_data(Image(source))
    assert made(source).colormap.name == "gray"


# --- the link


def test_copies_of_a_layer_have_the_same_link(tmp_path, write_folder):
    write_folder(tmp_path, 2)
    with nl.open_dataset(tmp_path) as dataset:
        _, keywords, _ = dataset.to_layer_data()[0]
        link = keywords["metadata"][METADATA_KEY]
        assert link.dataset is dataset
        assert copy.copy(link) is link
        assert copy.deepcopy(keywords["metadata"])[METADATA_KEY] is link
        assert str(tmp_path) in repr(link)
        elsewhere = pickle.loads(pickle.dumps(link))
        assert isinstance(elsewhere, LayerLink)
        assert elsewhere.dataset is None
        np.testing.assert_array_equal(
            np.asarray(elsewhere.image.data), np.asarray(dataset.images[0].data)
        )


def channel_source(**more):
    pixels = np.arange(2 * 3 * 8 * 8, dtype="u2").reshape(2, 3, 8, 8)
    channels = (
        ChannelMeta("DAPI", "#0000ff", (0, 100)),
        ChannelMeta("GFP", "green", visible=False),
        ChannelMeta("", np.eye(3).tolist()),
    )
    coarse = pixels[..., ::2, ::2]
    return RecordingSource(
        [pixels, coarse], (1, 1, 4, 4), axes="tcyx", name="cells", channels=channels, **more
    )


def test_each_channel_with_a_look_is_a_layer_of_the_same_chunks():
    affine = np.array(
        [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 0, -1, 3], [0, 0, 1, 0, 4], [0, 0, 0, 0, 1]],
        float,
    )
    source = channel_source(
        scale=(9, 1, 2, 3),
        translate=(1, 0, 5, 6),
        units=("second", None, "micrometer", "micrometer"),
        affine=tuple(map(tuple, affine.tolist())),
        display={"gamma": 0.5},
    )
    image = Image(source)
    made = [layers.Layer.create(*one) for one in layer_data(image)]
    assert [layer.name for layer in made] == ["cells DAPI", "cells GFP", "cells"]
    assert [layer.visible for layer in made] == [True, False, True]
    assert {layer.blending for layer in made} == {"additive"}
    assert {layer.gamma for layer in made} == {0.5}
    assert tuple(made[0].contrast_limits) == (0, 100)
    np.testing.assert_allclose(made[0].colormap.map(1.0), [[0, 0, 1, 1]])
    links = [layer.metadata[METADATA_KEY] for layer in made]
    assert [link.channel for link in links] == [0, 1, 2]
    assert [link.needs_limits for link in links] == [False, True, True]
    for number, layer in enumerate(made):
        assert layer.axis_labels == ("t", "y", "x")
        np.testing.assert_array_equal(layer.scale, [9, 2, 3])
        np.testing.assert_array_equal(layer.translate, [1, 5, 6])
        np.testing.assert_array_equal(
            layer.affine.affine_matrix, np.delete(np.delete(affine, 1, 0), 1, 1)
        )
        for level, lazy in zip(source.arrays, layer.data, strict=True):
            np.testing.assert_array_equal(np.asarray(lazy), level[:, number])
        assert layer.data[0].source is source
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(links[number])).image.data, image.data
        )


def test_an_index_of_a_channel_layer_is_one_of_the_image():
    link = layer_data(Image(channel_source()))[1][1]["metadata"][METADATA_KEY]
    assert link.axes == ("t", "y", "x")
    assert link.in_image((1, 5, 6)) == (1, 1, 5, 6)
    assert link.in_layer((1, 0, 5, 6)) == (1, 5, 6)


def test_a_channel_layer_is_cropped_like_any_other():
    source = channel_source()
    layer = layers.Layer.create(*layer_data(Image(source))[1])
    region = {"t": (1, 2), "y": (2, 7), "x": (1, 3)}
    source.loads.clear()
    np.testing.assert_array_equal(nl.crop(layer, region), source.arrays[0][1:2, 1, 2:7, 1:3])
    assert sorted(source.loads) == [(0, (1, 1, 0, 0)), (0, (1, 1, 1, 0))]
    np.testing.assert_array_equal(
        nl.crop(layer, region, level=1), source.arrays[1][1:2, 1, 1:4, 0:2]
    )
    assert nl.estimate(layer, region).touched_chunks == 2


def test_a_level_that_lies_elsewhere_says_where():
    pixels = np.zeros((8, 8), "u1")
    source = RecordingSource(
        [pixels, pixels[::2, ::2]], (4, 4), axes="yx", scale=(2, 3), translate=(10, 20)
    )
    levels = source.meta.levels
    moved = replace(source.meta, levels=(levels[0], replace(levels[1], offsets=(0.0, 1.25))))
    assert Image(source, level=1).translate == (10 + 2 * 0.5, 20 + 3 * 0.5)
    source.meta = moved
    assert Image(source, level=1).translate == (10, 20 + 3 * 1.25)
    np.testing.assert_array_equal(Image(source).affine, np.eye(3))
    layer = layers.Layer.create(*layer_data(Image(source))[0])
    from napari_lazyload.layers.crop.crop_layer import crop_layer

    crop = crop_layer(layer, np.zeros((2, 1)), (slice(4, 8), slice(2, 4)), 1)
    np.testing.assert_allclose(crop.translate, [10 + 2 * (2 * 2), 20 + 3 * (1 * 2 + 1.25)])


# --- volumes that lie otherwise in the world


def signed_permutations():
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            yield matrix


def tilted(axis, degrees):
    turn = np.deg2rad(degrees)
    matrix = np.eye(3)
    places = [place for place in range(3) if place != axis]
    matrix[np.ix_(places, places)] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return matrix


TURNS = [
    *signed_permutations(),
    *(tilted(axis, degrees) for axis in range(3) for degrees in (12, 44, 46, 75, 91)),
    tilted(0, 30) @ tilted(1, 100) @ tilted(2, 200),
]


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # napari's own, of tilted planes
@pytest.mark.parametrize("number", range(len(TURNS)))
def test_a_volume_is_shown_upright_wherever_it_lies(tmp_path, number):
    """Any two axes are a plane of the right proportions; each voxel is where nibabel has it."""
    nibabel = pytest.importorskip("nibabel")
    affine = np.eye(4)
    affine[:3, :3] = TURNS[number] * (0.5, 2.0, 3.0)
    affine[:3, 3] = 7, -80, 110
    pixels = np.arange(7 * 6 * 5, dtype="i2").reshape(7, 6, 5)
    path = tmp_path / "a.nii"
    nibabel.Nifti1Image(pixels, affine).to_filename(path)
    world = np.asarray(nibabel.load(path).affine, float)
    viewer = pytest.importorskip("napari.components").ViewerModel()
    with nl.open_dataset(path) as dataset:
        layer = viewer.add_layer(layers.Layer.create(*dataset.to_layer_data()[0]))
        names = [label.strip() for label in layer.axis_labels]
        assert sorted(names) == ["x", "y", "z"]
        for voxel in ((0, 0, 0), (6, 5, 4), (1, 2, 3)):
            expected = dict(zip("xyz", (world @ [*voxel, 1])[:3], strict=True))
            found = dict(zip(names, layer.data_to_world(voxel[::-1]), strict=True))
            assert found == pytest.approx(expected, abs=1e-4)
        for shown in itertools.permutations(range(3)):
            viewer.dims.order = shown
            plane = shown[1:]
            inner = np.array(layer.affine.affine_matrix)[np.ix_(plane, plane)]
            assert abs(np.linalg.det(inner)) > 0.4
        np.testing.assert_array_equal(np.asarray(layer.data), pixels.T)
