"""Files of one binary format as a stack."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.sources import file_stack

PIXELS = np.random.default_rng(0).integers(0, 60000, (12, 5, 6)).astype("u2")


def write_npy(folder):
    for number, frame in enumerate(PIXELS):
        np.save(folder / f"img_{number}.npy", frame)


def write_nifti(folder):
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([0.5, 0.25, 1, 1])
    for number, frame in enumerate(PIXELS):
        image = nibabel.Nifti1Image(frame.T[..., np.newaxis], affine)
        nibabel.save(image, folder / f"img_{number}.nii")


def write_nrrd(folder):
    nrrd = pytest.importorskip("nrrd")
    for number, frame in enumerate(PIXELS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of older versions, on newer Pythons
            nrrd.write(str(folder / f"img_{number}.nrrd"), frame, index_order="C")


def write_detached(folder):
    """MetaImage with its pixels in files of their own, which are no frames."""
    for number, frame in enumerate(PIXELS):
        name = f"img_{number}"
        (folder / f"{name}.raw").write_bytes(frame.tobytes())
        (folder / f"{name}.mhd").write_text(
            "NDims = 2\nDimSize = 6 5\nElementType = MET_USHORT\n"
            f"ElementByteOrderMSB = False\nElementDataFile = {name}.raw\n"
        )


WRITERS = {
    "npy": write_npy,
    "nii": write_nifti,
    "nrrd": write_nrrd,
    "mhd": write_detached,
}


@pytest.mark.parametrize("way", ["folder", "pattern", "list"])
@pytest.mark.parametrize("suffix", WRITERS)
def test_a_folder_a_pattern_and_a_list_are_one_stack_in_natural_order(tmp_path, suffix, way):
    WRITERS[suffix](tmp_path)
    names = [tmp_path / f"img_{number}.{suffix}" for number in range(len(PIXELS))]
    path = {"folder": tmp_path, "pattern": tmp_path / f"*.{suffix}", "list": names}[way]
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert image.axes[0] == "frame"
        np.testing.assert_array_equal(np.asarray(image.data).reshape(PIXELS.shape), PIXELS)
        np.testing.assert_array_equal(np.asarray(image.data[7]).reshape(5, 6), PIXELS[7])
        assert dataset.meta["original_filename"].tolist() == [name.name for name in names]
        assert dataset.locate(7) == (0, (7,))
        assert np.asarray(dataset.reopen().images[0].data).sum() == PIXELS.sum()


def test_a_list_keeps_its_order(tmp_path):
    write_npy(tmp_path)
    order = [3, 11, 0]
    with nl.open_dataset([tmp_path / f"img_{number}.npy" for number in order]) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS[order])


def test_a_step_opens_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(file_stack, "READ_FIRST", 2)
    write_npy(tmp_path)
    opened = []
    original = file_stack.Format.open
    monkeypatch.setattr(
        file_stack.Format,
        "open",
        lambda row, path, **more: (opened.append(path), original(row, path, **more))[1],
    )
    with nl.open_dataset(tmp_path) as dataset:
        assert len(opened) == 3  # the folder, and two of its files
        np.testing.assert_array_equal(dataset.images[0].data[8], PIXELS[8])
        assert [path.rpartition("_")[2] for path in opened[3:]] == ["8.npy"]


def test_shapes_are_images_of_their_own(tmp_path):
    write_npy(tmp_path)
    np.save(tmp_path / "img_4.npy", np.full((3, 4), 9, "f4"))
    with pytest.warns(nl.LazyLoadWarning, match="files of 2 shapes or types"):
        dataset = nl.open_dataset(tmp_path)
    with dataset:
        assert [image.shape for image in dataset.images] == [(11, 5, 6), (1, 3, 4)]
        np.testing.assert_array_equal(dataset.images[0].data, np.delete(PIXELS, 4, axis=0))
        assert (np.asarray(dataset.images[1].data) == 9).all()
        assert dataset.meta["image"].tolist() == [0] * 11 + [1]


def test_files_that_were_not_opened_first_are_different_or_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(file_stack, "READ_FIRST", 2)
    write_npy(tmp_path)
    np.save(tmp_path / "img_4.npy", PIXELS[4, :3])
    (tmp_path / "img_5.npy").write_bytes(b"no array")
    with nl.open_dataset(tmp_path) as dataset:
        image = dataset.images[0]
        with pytest.raises(nl.ChunkReadError, match="expected 5 x 6 uint16, found 3 x 6 uint16"):
            np.asarray(image.data[4])
        with pytest.raises(nl.ChunkReadError, match=r"img_5\.npy"):
            np.asarray(image.data[5])
        np.testing.assert_array_equal(image.data[6], PIXELS[6])


def test_a_broken_file_is_a_row_with_a_reason(tmp_path):
    write_npy(tmp_path)
    (tmp_path / "img_5.npy").write_bytes(b"no array")
    with nl.open_dataset(tmp_path) as dataset:
        assert dataset.images[0].shape == PIXELS.shape
        assert list(dataset.problems()) == [5]
        assert dataset.meta["status"].tolist()[5] == "failed"
        np.save(tmp_path / "img_5.npy", PIXELS[5])
        dataset.retry(5)
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS)
        assert dataset.problems() == {}


def test_pictures_come_first_and_other_files_are_left_out(tmp_path, write_folder):
    write_npy(tmp_path)
    np.savez(tmp_path / "other.npz", a=PIXELS[0])
    (tmp_path / "notes.txt").write_text("text")
    with nl.open_dataset(tmp_path) as dataset:
        assert dataset.images[0].shape[0] >= len(PIXELS)
        assert dataset.skipped == {"no image, or the data of another file": 1}
    write_folder(tmp_path, 2)
    with nl.open_dataset(tmp_path) as dataset:
        assert dataset.kind == "image folder"


def test_files_of_several_images_are_refused(tmp_path):
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", a=PIXELS[0], b=PIXELS[1])
    with pytest.raises(nl.SourceOpenError, match="expected files of one image each, found 2"):
        nl.open_dataset(tmp_path)


def test_options_of_the_format_are_part_of_what_is_cached(tmp_path):
    """The same file with other options has other pixels."""
    nibabel = pytest.importorskip("nibabel")
    for number in range(2):
        image = nibabel.Nifti1Image(PIXELS[:2].astype("i2") // 4, np.eye(4))
        image.header.set_slope_inter(2.0, 5.0)
        image.to_filename(tmp_path / f"{number}.nii")
    with nl.open_dataset(tmp_path) as scaled, nl.open_dataset(tmp_path, scaled=False) as stored:
        before = np.asarray(scaled.images[0].data[0]).copy()
        np.testing.assert_allclose(before, 2.0 * np.asarray(stored.images[0].data[0]) + 5.0)


def test_options_may_be_lists(tmp_path):
    write_npy(tmp_path)
    with nl.open_dataset(tmp_path, axes=["z", "x"]) as dataset:
        assert dataset.images[0].axes == ("frame", "z", "x")


def test_hidden_folders_are_no_matter(tmp_path):
    write_npy(tmp_path)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    with nl.open_dataset(tmp_path) as dataset:
        assert dataset.images[0].shape == PIXELS.shape


def test_a_scale_is_that_of_the_files(tmp_path):
    write_nifti(tmp_path)
    with nl.open_dataset(tmp_path) as dataset:
        image = dataset.images[0]
        with nl.open_dataset(tmp_path / "img_0.nii") as alone:
            assert image.scale == (1.0, *alone.images[0].scale)
            assert image.units == (None, *alone.images[0].units)
            corner = (0,) * len(alone.images[0].axes)
            ones = (1,) * len(corner)
            world = np.array(image.affine) @ (3, *ones, 1)
            expected = np.array(alone.images[0].affine) @ (*ones, 1)
            np.testing.assert_allclose(world, [3, *expected])
