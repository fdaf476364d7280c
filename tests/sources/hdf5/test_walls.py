"""HDF5 files that reach out of their folder: no byte from elsewhere, no hang."""

from __future__ import annotations

import os

import numpy as np
import pytest

import napari_lazyload as nl

h5py = pytest.importorskip("h5py")

SECRET = np.arange(4 * 20 * 30, dtype="u2").reshape(4, 20, 30)
OWN = np.full((4, 20, 30), 7, "u2")


@pytest.fixture
def folders(tmp_path):
    """A folder that is opened, and one beside it that is the user's own."""
    here, private = tmp_path / "here", tmp_path / "private"
    here.mkdir()
    private.mkdir()
    with h5py.File(private / "secret.h5", "w") as file:
        file["x"] = SECRET
    (private / "secret.raw").write_bytes(SECRET.tobytes())
    return here, private


def virtual(file, name, source, dataset="x"):
    layout = h5py.VirtualLayout(SECRET.shape, "u2")
    layout[:] = h5py.VirtualSource(source, dataset, SECRET.shape)
    file.create_virtual_dataset(name, layout, fillvalue=9)


def by_virtual(here, private, absolute):
    with h5py.File(here / "a.h5", "w") as file:
        virtual(file, "image", str(private / "secret.h5") if absolute else "../private/secret.h5")


def by_numbered_virtual(here, private, absolute):
    os.rename(private / "secret.h5", private / "secret0.h5")
    with h5py.File(here / "a.h5", "w") as file:
        folder = str(private) if absolute else "../private"
        space = h5py.h5s.create_simple((4, 20, 30), (h5py.h5s.UNLIMITED, 20, 30))
        space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (4, 1, 1), (4, 20, 30))
        form = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        source = h5py.h5s.create_simple((4, 20, 30))
        form.set_virtual(space, f"{folder}/secret%b.h5".encode(), b"x", source)
        h5py.h5d.create(file.id, b"image", h5py.h5t.NATIVE_UINT16, space, form)


def by_virtual_of_a_link(here, private, absolute):
    name = str(private / "secret.h5") if absolute else "../private/secret.h5"
    with h5py.File(here / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink(name, "x")
        virtual(file, "image", ".", "link")


def by_virtual_of_virtual(here, private, absolute):
    by_virtual(here, private, absolute)
    os.rename(here / "a.h5", here / "b.h5")
    with h5py.File(here / "a.h5", "w") as file:
        virtual(file, "image", "b.h5", "image")


def by_virtual_of_raw(here, private, absolute):
    name = str(private / "secret.raw") if absolute else "../private/secret.raw"
    with h5py.File(here / "b.h5", "w") as file:
        file.create_dataset("x", SECRET.shape, "u2", external=[(name, 0, SECRET.nbytes)])
    with h5py.File(here / "a.h5", "w") as file:
        virtual(file, "image", "b.h5")


def by_link(here, private, absolute):
    with h5py.File(here / "a.h5", "w") as file:
        name = str(private / "secret.h5") if absolute else "../private/secret.h5"
        file["image"] = h5py.ExternalLink(name, "x")


def by_link_to_a_link(here, private, absolute):
    by_link(here, private, absolute)
    os.rename(here / "a.h5", here / "b.h5")
    with h5py.File(here / "a.h5", "w") as file:
        file["image"] = h5py.ExternalLink("b.h5", "image")


def by_link_to_raw(here, private, absolute):
    by_virtual_of_raw(here, private, absolute)
    with h5py.File(here / "a.h5", "w") as file:
        file["image"] = h5py.ExternalLink("b.h5", "x")


def by_link_to_virtual(here, private, absolute):
    by_virtual(here, private, absolute)
    os.rename(here / "a.h5", here / "b.h5")
    with h5py.File(here / "a.h5", "w") as file:
        file["image"] = h5py.ExternalLink("b.h5", "image")


WAYS = [value for name, value in list(globals().items()) if name.startswith("by_")]


def _read(image):
    """Return the name and the pixels of an image, None where they may not be read."""
    try:
        return image.name, np.asarray(image.data)
    except nl.ChunkReadError as err:
        return None if "another folder" in str(err) else (str(err), None)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_pixels_of_another_folder_are_read_on_request_alone(folders, way, absolute):
    here, private = folders
    way(here, private, absolute)
    path = here / "a.h5"
    with h5py.File(path, "a") as file:
        file["own"] = OWN
    dataset = nl.open_dataset(path)
    read = dict(filter(None, map(_read, dataset.images)))
    assert read.keys() == {"a.h5 own"} or read.keys() == {"a.h5"}
    np.testing.assert_array_equal(*read.values(), OWN)
    assert "outside=True" in str(dataset.skipped) or len(dataset.images) == 2
    if way is by_virtual_of_raw and not absolute:
        return  # HDF5 looks for it in the working folder alone
    allowed = nl.open_dataset(path, outside=True)
    assert any(np.array_equal(np.asarray(image.data), SECRET) for image in allowed.images)


@pytest.mark.parametrize("way", ["virtual", "link", "raw", "behind"])
def test_what_is_no_file_is_not_opened(folders, way):
    here, _ = folders
    os.mkfifo(here / "pipe.h5")
    with h5py.File(here / "a.h5", "w") as file:
        file["own"] = OWN
        if way == "virtual":
            virtual(file, "image", "pipe.h5")
        elif way == "link":
            file["image"] = h5py.ExternalLink("pipe.h5", "x")
        elif way == "raw":
            parts = [("pipe.h5", 0, SECRET.nbytes)]
            file.create_dataset("image", SECRET.shape, "u2", external=parts)
        else:
            file["DataSetInfo"] = h5py.ExternalLink("pipe.h5", "x")
            file["link"] = h5py.ExternalLink("pipe.h5", "x")
            virtual(file, "image", ".", "link")
    dataset = nl.open_dataset(here / "a.h5")
    np.testing.assert_array_equal(dataset.images[-1].data, OWN)
    if way == "behind":
        with pytest.raises(nl.ChunkReadError, match="something that is no file"):
            np.asarray(dataset.images[0].data)
    else:
        assert "something that is no file" in str(dataset.skipped)


def test_links_without_an_end_end(folders):
    here, _ = folders
    with h5py.File(here / "a.h5", "w") as file:
        file["own"] = OWN
        file["image"] = h5py.ExternalLink("b.h5", "image")
        virtual(file, "round", "b.h5", "round")
    with h5py.File(here / "b.h5", "w") as file:
        file["image"] = h5py.ExternalLink("a.h5", "image")
        virtual(file, "round", "a.h5", "round")
    dataset = nl.open_dataset(here / "a.h5")
    by_name = {image.name: image for image in dataset.images}
    np.testing.assert_array_equal(by_name["a.h5 own"].data, OWN)
    with pytest.raises(nl.ChunkReadError, match="virtual data sets without an end"):
        np.asarray(by_name["a.h5 round"].data)


def test_positions_of_an_axis_come_from_no_other_file(folders):
    here, private = folders
    with h5py.File(private / "axis.h5", "w") as file:
        file["x"] = np.arange(4) * 5.0
    with h5py.File(here / "a.h5", "w") as file:
        file["own"] = OWN
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(private / "axis.h5"), "x", (4,))
        file.create_virtual_dataset("z", layout)
        file["z"].make_scale("z")
        file["own"].dims[0].attach_scale(file["z"])
    image = nl.open_dataset(here / "a.h5").images[0]
    assert image.axes[0] == "z"
    assert image.scale[0] == 1


def test_only_sources_that_a_box_touches_are_looked_at(folders, monkeypatch):
    from napari_lazyload.sources.hdf5 import other_files

    here, _ = folders
    plane = np.arange(300 * 500, dtype="u2").reshape(300, 500)
    with h5py.File(here / "a.h5", "w") as file:
        layout = h5py.VirtualLayout((9, 300, 500), "u2")
        for number in range(9):
            with h5py.File(here / f"v{number}.h5", "w") as other:
                other.create_dataset("x", data=plane + number, chunks=(300, 500))
            layout[number] = h5py.VirtualSource(f"v{number}.h5", "x", plane.shape)
        file.create_virtual_dataset("image", layout)
    asked = []
    check = other_files._check_source
    monkeypatch.setattr(
        other_files, "_check_source", lambda *args: asked.append(args[0]) or check(*args)
    )
    image = nl.open_dataset(here / "a.h5").images[0]
    assert asked == []
    listed, virtual_sources = [], h5py.Dataset.virtual_sources
    monkeypatch.setattr(
        h5py.Dataset,
        "virtual_sources",
        lambda found: listed.append(0) or virtual_sources(found),
    )
    np.testing.assert_array_equal(image.data[8], plane + 8)
    assert [os.path.basename(path) for path in asked] == ["v8.h5"]
    np.testing.assert_array_equal(image.data[3:5, 0], np.stack([plane[0] + 3, plane[0] + 4]))
    assert not listed  # the list was made when the file was opened


@pytest.mark.parametrize(
    ("part", "how"),
    [
        ("image/0/image", "link"),
        ("image/0/image-max", "link"),
        ("dimensions/yspace", "link"),
        ("image/0/image", "virtual"),
        ("image/0/image", "raw"),
    ],
)
def test_a_minc_volume_is_in_its_own_file(folders, part, how):
    import shutil
    from pathlib import Path

    nibabel = pytest.importorskip("nibabel")
    sample = Path(nibabel.__file__).parent / "tests" / "data" / "minc2_1_scale.mnc"
    if not sample.is_file():
        pytest.skip("nibabel was installed without its files")
    here, private = folders
    path = here / "a.mnc"
    shutil.copy(sample, path)
    assert len(nl.open_dataset(path).images[0].shape) == 3
    with h5py.File(path, "a") as file:
        name = f"minc-2.0/{part}"
        shape, dtype, attributes = file[name].shape, file[name].dtype, dict(file[name].attrs)
        del file[name]
        if how == "link":
            with h5py.File(private / "secret.h5", "a") as other:
                other.create_dataset("part", shape, dtype).attrs.update(attributes)
            file[name] = h5py.ExternalLink("../private/secret.h5", "part")
        elif how == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[...] = h5py.VirtualSource(str(private / "secret.h5"), "x", shape)
            file.create_virtual_dataset(name, layout).attrs.update(attributes)
        else:
            parts = [(str(private / "secret.raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset(name, shape, dtype, external=parts).attrs.update(attributes)
    with pytest.raises(nl.SourceOpenError, match="is not in the file itself"):
        nl.open_dataset(path)


def test_partitions_of_bigdataviewer_are_followed_on_request(folders):
    here, private = folders
    with h5py.File(private / "part.h5", "w") as file:
        file["t00000/s00/0/cells"] = SECRET
    with h5py.File(here / "a.h5", "w") as file:
        for time in range(2):
            name = f"t{time:05d}/s00/0/cells"
            file[name] = h5py.ExternalLink("../private/part.h5", "t00000/s00/0/cells")
        file["own"] = OWN
    assert len(nl.open_dataset(here / "a.h5").images) == 1
    image = nl.open_dataset(here / "a.h5", outside=True).images[0]
    np.testing.assert_array_equal(image.data, np.stack([SECRET, SECRET]))
