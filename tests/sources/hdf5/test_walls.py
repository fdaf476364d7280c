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
    np.testing.assert_array_equal(image.data[8], plane + 8)
    assert [os.path.basename(path) for path in asked] == ["v8.h5"]
