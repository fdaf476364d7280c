"""TIFF files that name others: no byte from elsewhere. Texts made to be searched for ever."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile

import napari_lazyload as nl
from napari_lazyload.sources.tiff import ifd, ome_xml, tag_table

OWN = np.full((20, 30), 7, "u2")
SECRET = np.arange(600, dtype="u2").reshape(20, 30)
XML = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"
 SizeX="30" SizeY="20" SizeZ="2"
 SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>
<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:{own}</UUID>
</TiffData><TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID
 FileName="{name}">urn:uuid:{other}</UUID></TiffData>
</Pixels></Image></OME>"""
UUIDS = {
    "own": "11111111-1111-1111-1111-111111111111",
    "other": "22222222-2222-2222-2222-222222222222",
}


@pytest.fixture
def folders(tmp_path):
    here, private = tmp_path / "here", tmp_path / "private"
    for folder in (here, private):
        folder.mkdir()
    xml = XML.format(name="x.ome.tif", own=UUIDS["other"], other=UUIDS["own"])
    tifffile.imwrite(private / "x.ome.tif", SECRET, description=xml, metadata=None)
    return here, private


def first(here, name):
    xml = XML.format(name=name, **UUIDS)
    tifffile.imwrite(here / "a.ome.tif", OWN, description=xml, metadata=None)
    return here / "a.ome.tif"


def test_a_set_in_one_folder_is_whole(folders):
    here, private = folders
    path = first(here, "x.ome.tif")
    (private / "x.ome.tif").rename(here / "x.ome.tif")
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, [OWN, SECRET])


@pytest.mark.parametrize(
    "name", ["../private/x.ome.tif", "{private}/x.ome.tif", "..\\private\\x.ome.tif"]
)
def test_a_file_of_another_folder_is_not_opened(folders, name, monkeypatch):
    here, private = folders
    path = first(here, name.format(private=private))
    opened, init = [], tifffile.FileHandle.__init__
    monkeypatch.setattr(
        tifffile.FileHandle,
        "__init__",
        lambda handle, file, *args, **more: (
            opened.append(str(file)),
            init(handle, file, *args, **more),
        )[1],
    )
    with pytest.warns(nl.LazyLoadWarning, match="planes"):
        image = nl.open_dataset(path).images[0]
    np.testing.assert_array_equal(image.data, [OWN, np.zeros_like(OWN)])
    assert not any("private" in file for file in opened)
    # The same name in the folder of the set is one of the set.
    (private / "x.ome.tif").rename(here / "x.ome.tif")
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, [OWN, SECRET])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_a_pipe_is_not_waited_for(folders):
    here, _ = folders
    path = first(here, "x.ome.tif")
    os.mkfifo(here / "x.ome.tif")
    with pytest.warns(nl.LazyLoadWarning, match="planes"):
        image = nl.open_dataset(path).images[0]
    np.testing.assert_array_equal(image.data, [OWN, np.zeros_like(OWN)])


def test_planes_that_an_index_takes_from_elsewhere_are_refused():
    from napari_lazyload.sources.image_header import PictureError
    from napari_lazyload.sources.tiff.pages import refuse_elsewhere

    refuse_elsewhere("/data/here/a.tif", ["", "/data/here/b.tif", "/data/here/sub/c.tif"])
    for away in ("/data/b.tif", "/data/here/../b.tif", "/data/here2/b.tif"):
        with pytest.raises(PictureError, match="planes in a file of another folder"):
            refuse_elsewhere("/data/here/a.tif", [away])


def test_a_companion_that_cannot_be_read_says_so(tmp_path):
    (tmp_path / "a.companion.ome").symlink_to("a.companion.ome")
    with pytest.raises(nl.SourceOpenError, match="a companion that can be read"):
        nl.open_dataset(tmp_path / "a.companion.ome")


HOSTILE = {
    "channels": "<!-- " + "<Channel " * 200_000 + " -->",
    "quotes": "<!-- " + "<Channel a=\"'" * 200_000 + " -->",
    "pixels": "<Pixels " * 200_000,
    "images": "<Image " * 200_000,
    "only": "<BinaryOnly " * 200_000,
    "only, named": "<BinaryOnly " + "MetadataFile=" * 200_000,
    "word": "<Image " + "a" * 2_000_000,
    "words": "<Pixels " + "a:" * 1_000_000 + ">",
    "blanks": "<Pixels a" + " " * 2_000_000 + ">",
    "letters": "<Pixels " + "SizeZ" * 400_000 + ">",
    "root": "<OME " * 400_000,
}


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:a.ome.tif. 1 of 2 planes")
@pytest.mark.parametrize("name", HOSTILE)
def test_texts_made_to_be_searched_for_ever_are_not(tmp_path, name):
    """Each took from minutes to days; all together take a few seconds."""
    xml = XML.format(name="x.ome.tif", **UUIDS).replace("<Image ", f"{HOSTILE[name]}<Image ", 1)
    ome_xml.ome_metadata(xml, 0, ("z", "y", "x"), (2, 20, 30))
    list(tag_table._ome_fields(xml))
    ifd.companion_xml(str(tmp_path / "a.tif"), xml.encode())
    ifd._IDENTITY.search(xml.encode())
    tifffile.imwrite(tmp_path / "a.ome.tif", OWN, description=xml, metadata=None)
    pixels = np.asarray(nl.open_dataset(tmp_path / "a.ome.tif").images[0].data)
    np.testing.assert_array_equal(pixels.reshape(-1, 20, 30)[0], OWN)
