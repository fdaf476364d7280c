"""Binaries that are damaged, cut, replaced or hostile: each gives the package's own error."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.binary import compressed
from napari_lazyload.sources.binary.header_checks import data_file, default_axes, named_axes
from napari_lazyload.sources.files import LONG_TEXT, FileStamp, in_table
from napari_lazyload.sources.registry import open_path

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:datetime.datetime.utcnow:DeprecationWarning"
    ),  # pynrrd's writer
    pytest.mark.filterwarnings(
        "ignore:.*its pixels are whole:napari_lazyload.LazyLoadWarning"
    ),  # FITS without its end
]

ARRAY = np.arange(3 * 40 * 50, dtype="<i2").reshape(3, 40, 50)


def npy(folder):
    np.save(folder / "a.npy", ARRAY)
    return folder / "a.npy"


def mrc(folder):
    pytest.importorskip("mrcfile").write(folder / "a.mrc", ARRAY)
    return folder / "a.mrc"


def nifti(folder):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(ARRAY, np.eye(4)), folder / "a.nii")
    return folder / "a.nii"


def nrrd(folder):
    pytest.importorskip("nrrd").write(str(folder / "a.nrrd"), ARRAY, {"encoding": "raw"})
    return folder / "a.nrrd"


def metaimage(folder):
    head = "NDims = 3\nDimSize = 50 40 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (folder / "a.mha").write_bytes(head.encode() + ARRAY.tobytes())
    return folder / "a.mha"


def fits(folder):
    pytest.importorskip("astropy.io.fits").PrimaryHDU(ARRAY).writeto(folder / "a.fits")
    path = folder / "a.fits"
    os.truncate(path, 2880 + ARRAY.nbytes)  # without the blank end, which readers do without
    return path


def envi(folder):
    pytest.importorskip("spectral")
    ARRAY.tofile(folder / "a.bsq")
    (folder / "a.hdr").write_text(
        "ENVI\nsamples=50\nlines=40\nbands=3\ndata type=2\ninterleave=bsq\nbyte order=0\n"
    )
    return folder / "a.bsq"


def raw(folder):
    ARRAY.tofile(folder / "a_3x40x50_int16.raw")
    return folder / "a_3x40x50_int16.raw"


MAKERS = [npy, mrc, nifti, nrrd, metaimage, fits, envi, raw]
every_format = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def refused(path, match, **options):
    with pytest.raises(nl.SourceOpenError, match=match) as info:
        nl.open_dataset(path, **options)
    assert info.value.path == str(path)
    assert str(path) in str(info.value)


@every_format
def test_a_file_cut_by_one_byte_is_refused_with_both_sizes(make, tmp_path):
    path = make(tmp_path)
    size = path.stat().st_size
    os.truncate(path, size - 1)
    refused(path, rf"expected {size:,} bytes as .* found {size - 1:,} bytes; it is truncated")


@every_format
def test_a_file_longer_than_its_header_says_opens_with_a_warning(make, tmp_path):
    path = make(tmp_path)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(3))
    if make is fits:  # FITS files are filled up, and may have more behind
        np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, ARRAY)
        return
    found = rf"expected {size:,} bytes as .* found {size + 3:,} bytes"
    if make is raw:  # nothing but its name says what is in it
        refused(path, f"{found}; 3 bytes are left over")
        return
    with pytest.warns(nl.LazyLoadWarning, match=f"{found}; the 3 bytes behind the pixels"):
        dataset = nl.open_dataset(path)
    pixels = np.asarray(dataset.images[0].data)
    np.testing.assert_array_equal(
        pixels, np.asarray(nl.open_dataset(path, trailing=True).images[0].data)
    )
    assert pixels.shape in (ARRAY.shape, ARRAY.shape[::-1])


@every_format
def test_an_empty_file_and_one_that_is_gone(make, tmp_path):
    path = make(tmp_path)
    path.write_bytes(b"")
    refused(path, "expected .* found")
    path.unlink()
    refused(path, "does not exist")


@every_format
def test_a_header_cut_anywhere_is_refused(make, tmp_path):
    path = make(tmp_path)
    head = path.read_bytes()
    for end in (1, 4, 60, 127):
        path.write_bytes(head[:end])
        refused(path, "expected .* found")


@every_format
def test_a_file_cut_or_replaced_while_it_is_open_fails_chunk_by_chunk(make, tmp_path):
    path = make(tmp_path)
    with nl.open_dataset(path, chunks=(1, -1, -1)) as dataset:
        (image,) = dataset.images
        first = np.asarray(image.data[0])
        content = path.read_bytes()
        os.truncate(path, path.stat().st_size - 1)
        with pytest.raises(nl.ChunkReadError, match=r"expected .* found"):
            np.asarray(image.data[-1])
        path.write_bytes(content)
        os.utime(path, ns=(5, 5))
        if make is raw:  # nothing but its size is known of it
            np.testing.assert_array_equal(image.data[0], first)
        else:
            with pytest.raises(
                nl.ChunkReadError, match="replaced or is still being written: open it again"
            ):
                np.asarray(image.data[0])
        with nl.open_dataset(path) as again:
            np.testing.assert_array_equal(again.images[0].data[0], first)


@every_format
@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_file_that_may_not_be_read(make, tmp_path):
    path = make(tmp_path)
    path.chmod(0)
    refused(path, "may not be read")
    path.chmod(0o600)


@every_format
def test_what_may_not_be_read_is_said(make, tmp_path, monkeypatch):
    path = make(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    refused(path, "may not be read; allow reading it")


@every_format
def test_a_folder_with_that_suffix_is_a_folder(make, tmp_path):
    path = make(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(nl.SourceOpenError, match=r"expected .* found"):
        nl.open_dataset(path)


@every_format
def test_no_format_takes_another_ones_file(make, tmp_path):
    path = make(tmp_path)
    for other in ("a.npy", "a.mrc", "a.nii", "a.nrrd", "a.mha", "a.fits", "a.h5"):
        copy = tmp_path / "copies" / other
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
        if copy.suffix != path.suffix:
            refused(copy, "expected .* found")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1 << 60, 4), "less than 8 EiB|bytes as its header says"),
        ((-3, 4), "at least one pixel|cannot be read"),
        ((1 << 40, 1 << 40), "less than 8 EiB"),
        ((0, 4), "at least one pixel"),
        ((1 << 31, 1 << 20), "bytes as its header says"),
        ((7,), "at least 2 axes"),
        ((), "at least 2 axes"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "nrrd", "metaimage"])
def test_absurd_sizes_are_refused_at_once(tmp_path, kind, shape, said):
    if kind == "npy":
        path = tmp_path / "a.npy"
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<u2", "fortran_order": False, "shape": shape}
            )
            file.write(bytes(100))
    elif kind == "nrrd":
        pytest.importorskip("nrrd")
        path = tmp_path / "a.nrrd"
        sizes = " ".join(map(str, shape))
        text = (
            f"NRRD0004\ntype: short\ndimension: {len(shape)}\n"
            f"sizes: {sizes}\nendian: little\nencoding: raw\n\n"
        )
        path.write_bytes(text.encode() + bytes(100))
    else:
        path = tmp_path / "a.mha"
        sizes = " ".join(map(str, shape))
        text = (
            f"NDims = {len(shape)}\nDimSize = {sizes}\n"
            f"ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        )
        path.write_bytes(text.encode() + bytes(100))
    refused(path, f"{said}|expected .* sizes|cannot be read")


def test_python_objects_and_other_values_are_never_loaded(tmp_path):
    path = tmp_path / "a.npy"
    for array, said in [
        (np.array([[1, "a"], [None, 2]], object), "Python objects are never loaded"),
        (np.array([["a", "b"]]), "cannot be shown as pixels"),
        (np.zeros((3, 4), "M8[s]"), "cannot be shown as pixels"),
        (np.zeros((3, 4), "V7"), "cannot be shown as pixels"),
    ]:
        np.save(path, array, allow_pickle=True)
        refused(path, said)
    path.write_bytes(np.lib.format.magic(9, 9) + bytes(100))
    refused(path, "cannot be read")


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../outside.raw", "sub/../../outside.raw", "C:\\data.raw", ""]
)
@pytest.mark.parametrize("kind", ["nhdr", "mhd"])
def test_data_outside_the_folder_is_refused_unless_trusted(tmp_path, kind, name):
    folder = tmp_path / "inside"
    folder.mkdir()
    ARRAY.tofile(tmp_path / "outside.raw")
    path = folder / f"a.{kind}"
    if kind == "nhdr":
        pytest.importorskip("nrrd")
        text = (
            "NRRD0004\ntype: short\ndimension: 3\nsizes: 50 40 3\n"
            "endian: little\nencoding: raw\ndata file: {}\n"
        )
    else:
        text = "NDims = 3\nDimSize = 50 40 3\nElementType = MET_SHORT\nElementDataFile = {}\n"
    path.write_text(text.format(name))
    refused(path, "in the header's own folder.*outside=True")
    if name == "../outside.raw":
        np.testing.assert_array_equal(nl.open_dataset(path, outside=True).images[0].data, ARRAY)


@pytest.mark.parametrize(
    "name", ["", "..\\a.raw", "in\\..\\..\\a.raw", "C:\\a.raw", "C:a.raw", "/a.raw", "a\0.raw"]
)
def test_a_data_file_of_a_header_is_named_safely_on_every_system(tmp_path, name):
    with pytest.raises(nl.SourceOpenError, match="in the header's own folder"):
        data_file(str(tmp_path / "a.nhdr"), name)


def test_names_of_axes_and_texts_for_the_table():
    assert default_axes((5, 5, 3), np.dtype("u1")) == ("y", "x", "s")
    assert default_axes((4, 5, 3), np.dtype("u1")) == ("z", "y", "x")  # too small for a picture
    with pytest.raises(ValueError, match="different names, one for each axis"):
        named_axes("a.npy", "yy", (3, 4))
    assert in_table("x" * 5000) == "x" * LONG_TEXT


def test_a_binary_owns_the_chunks_of_its_files_whatever_became_of_them(tmp_path):
    path = str(tmp_path / "a.npy")
    np.save(path, ARRAY)
    owns = open_path(path).owns
    assert owns(ChunkKey(path, FileStamp(1, 2), ("part",)))
    assert not owns(ChunkKey(path + "x", FileStamp(1, 2), ("part",)))


def test_headers_whose_data_is_missing_name_it(tmp_path):
    pytest.importorskip("nibabel")
    pytest.importorskip("spectral")
    nifti_pair = tmp_path / "b.hdr"
    import nibabel

    nibabel.save(nibabel.Nifti1Pair(ARRAY, np.eye(4)), tmp_path / "b.img")
    (tmp_path / "b.img").unlink()
    refused(nifti_pair, r"its data file '.*b\.img', found nothing there")
    data = envi(tmp_path)
    data.unlink()
    refused(tmp_path / "a.hdr", r"its data file '.*a\.img', found nothing there")
    (tmp_path / "c.img").write_bytes(b"data alone")
    refused(tmp_path / "c.img", r"its data file '.*c\.hdr', found nothing there")
    (tmp_path / "d.bsq").write_bytes(b"data alone")
    with pytest.raises(nl.SourceOpenError, match="no reader here knows"):
        nl.open_dataset(tmp_path / "d.bsq")


def test_compressed_data_that_is_damaged_or_too_large(tmp_path, monkeypatch):
    pytest.importorskip("nibabel")
    plain = nifti(tmp_path)
    path = tmp_path / "b.nii.gz"
    content = gzip.compress(plain.read_bytes())
    path.write_bytes(content[:-200])
    with (
        nl.open_dataset(path) as dataset,
        pytest.raises(nl.ChunkReadError, match="cannot be unpacked"),
    ):
        np.asarray(dataset.images[0].data)
    path.write_bytes(content)
    monkeypatch.setattr(compressed, "MOST_PACKED", 1000)
    refused(path, "12,000 bytes as gzip; unpack it")
    monkeypatch.undo()
    head = bytearray(plain.read_bytes()[:352])
    head[42:48] = np.array([2000] * 3, "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(head)))
    refused(path, "which cannot hold them|at most 2 GiB")


def test_compressed_images_say_so_where_the_cache_cannot_keep_them(tmp_path):
    pytest.importorskip("nibabel")
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(nifti(tmp_path).read_bytes()))
    nl.configure(cache_budget=1000)
    with pytest.warns(nl.LazyLoadWarning, match="each view unpacks all of it"):
        nl.open_dataset(path)


def test_a_bad_sidecar_is_refused(tmp_path):
    path = tmp_path / "a.raw"
    ARRAY.tofile(path)
    for said, why in [
        ("{", "sidecar in JSON"),
        ("[]", "a JSON object with dtype and shape, found a list|found"),
        ('{"shape": [3]}', "dtype and shape"),
    ]:
        (tmp_path / "a.json").write_text(said)
        with pytest.raises(nl.SourceOpenError, match=why):
            nl.open_dataset(path)
    good = {"dtype": "<i2", "shape": [3, 40, 50]}
    for more, why in [
        ({"shape": [3, "b"]}, "whole numbers"),
        ({"dtype": "int99"}, "no type of NumPy"),
        ({"byte_order": "middle"}, "'little' or 'big'"),
        ({"axes": ["a", "a", "b"]}, "different names, one for each axis"),
        ({"scale": [1, 2]}, "scale must have a value for each"),
        ({"order": "A"}, "order must be"),
        ({"offset": -4}, "at least 0"),
    ]:
        (tmp_path / "a.json").write_text(json.dumps(good | more))
        with pytest.raises(ValueError, match=why):
            nl.open_dataset(path)


def test_several_files_at_once_are_said_to_be_too_many(tmp_path):
    first, second = npy(tmp_path), raw(tmp_path)
    with pytest.raises(nl.UnknownFormatError, match="no reader here knows"):
        nl.open_dataset([first, second])
    with nl.open_dataset([first]) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, ARRAY)
    with pytest.raises(ValueError, match="one by one"):
        nl.open_dataset([first, second], format="npy")
