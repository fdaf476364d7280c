"""Damaged headers of each binary format: opened, or refused in bounded time and memory.

``tox -e fuzz`` tries 100,000 of each format; NAPARI_LAZYLOAD_FUZZ sets the number.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.loading.read_box import read_box

COUNT = int(os.environ.get("NAPARI_LAZYLOAD_FUZZ", "100"))
SLOWEST_SECONDS = 5.0
MOST_GROWTH = 300 << 20
MOST_READ = 1 << 20

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:datetime.datetime.utcnow:DeprecationWarning"
    ),  # pynrrd's writer
    pytest.mark.filterwarnings("ignore::napari_lazyload.LazyLoadWarning"),
    pytest.mark.timeout(0 if COUNT > 100 else 120),
]

NUMBERS = [
    b"0",
    b"-1",
    b"1",
    b"2",
    b"255",
    b"65536",
    b"2147483648",
    b"4294967295",
    b"1152921504606846976",
    b"9" * 30,
    b"1e308",
    b"nan",
]
WORDS = [
    b"",
    b"raw",
    b"gzip",
    b"LIST",
    b"../../etc/passwd",
    b"/etc/passwd",
    b"%999999999d 0 99999999 1",
    b"float",
    b"\xff\xfe",
    b"{",
    b"}",
    b"\0",
]


def npy(folder):
    np.save(folder / "a.npy", np.arange(60, dtype="<u2").reshape(3, 4, 5))
    return "a.npy", 128


def npy_records(folder):
    np.save(folder / "a.npy", np.zeros((3, 4), [("a", "<u2", (2, 2)), ("b", "f4")]))
    return "a.npy", 128


def npz(folder):
    np.savez(folder / "a.npz", a=np.arange(60, dtype="<u2").reshape(3, 4, 5))
    return "a.npz", None


def mrc(folder):
    mrcfile = pytest.importorskip("mrcfile")
    dtype = mrcfile.dtypes.get_ext_header_dtype(b"FEI1", "<")
    frames = np.zeros(3, dtype)
    frames["Metadata size"] = dtype.itemsize
    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(np.arange(60, dtype="<i2").reshape(3, 4, 5))
        file.header.exttyp = b"FEI1"
        file.set_extended_header(frames)
    return "a.mrc", 1040


def nifti(folder):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(
        nibabel.Nifti1Image(np.arange(60, dtype="<i2").reshape(3, 4, 5), np.diag([1, 2, 3, 1])),
        folder / "a.nii",
    )
    return "a.nii", 352


def nifti_2(folder):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(
        nibabel.Nifti2Image(np.arange(60, dtype="<f4").reshape(3, 4, 5), np.eye(4)),
        folder / "a.nii",
    )
    return "a.nii", 540


def nifti_packed(folder):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(
        nibabel.Nifti1Image(np.arange(60, dtype="<i2").reshape(3, 4, 5), np.eye(4)),
        folder / "a.nii.gz",
    )
    return "a.nii.gz", None


def analyze(folder):
    nibabel = pytest.importorskip("nibabel")
    nibabel.Spm2AnalyzeImage(np.arange(60, dtype="<i2").reshape(3, 4, 5), np.eye(4)).to_filename(
        folder / "a.img"
    )
    return "a.hdr", None


def mgh(folder):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(
        nibabel.MGHImage(np.arange(60, dtype="<i2").reshape(3, 4, 5), np.eye(4)), folder / "a.mgh"
    )
    return "a.mgh", 284


def nrrd(folder):
    library = pytest.importorskip("nrrd")
    header = {
        "space directions": np.eye(3),
        "space": "left-posterior-superior",
        "encoding": "raw",
        "kinds": ["domain"] * 3,
    }
    library.write(str(folder / "a.nrrd"), np.arange(60, dtype="<i2").reshape(3, 4, 5), header)
    return "a.nrrd", None


def nrrd_detached(folder):
    pytest.importorskip("nrrd")
    (folder / "a1.raw").write_bytes(bytes(60))
    (folder / "a2.raw").write_bytes(bytes(60))
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\n"
        "endian: big\nencoding: raw\nline skip: 0\nbyte skip: 0\n"
    )
    (folder / "a.nhdr").write_text(
        head.replace("4 3", "4 6").replace("short", "uchar") + "data file: a%d.raw 1 2 1\n"
    )
    return "a.nhdr", None


def metaimage(folder):
    head = (
        "NDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\n"
        "ElementSpacing = 1 2 3\nOffset = 1 2 3\nHeaderSize = 0\n"
    )
    head += (
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        "ElementNumberOfChannels = 1\nElementDataFile = LOCAL\n"
    )
    (folder / "a.mha").write_bytes(head.encode() + bytes(120))
    return "a.mha", len(head)


def metaimage_packed(folder):
    head = (
        b"NDims = 2\nDimSize = 5 4\nElementType = MET_SHORT\n"
        b"CompressedData = True\nElementDataFile = LOCAL\n"
    )
    (folder / "a.mha").write_bytes(head + zlib.compress(bytes(40)))
    return "a.mha", None


def metaimage_list(folder):
    for number in range(3):
        (folder / f"{number}.raw").write_bytes(bytes(40))
    head = (
        "NDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\n"
        "ElementDataFile = LIST\n0.raw\n1.raw\n2.raw\n"
    )
    (folder / "a.mhd").write_text(head)
    return "a.mhd", None


def fits(folder):
    library = pytest.importorskip("astropy.io.fits")
    units = [
        library.PrimaryHDU(np.arange(60, dtype="u2").reshape(3, 4, 5)),
        library.ImageHDU(np.zeros((4, 5)), name="B"),
    ]
    library.HDUList(units).writeto(folder / "a.fits")
    return "a.fits", 400  # the cards; most of a header is blank


def envi(folder):
    pytest.importorskip("spectral")
    (folder / "a.img").write_bytes(bytes(120))
    (folder / "a.hdr").write_text(
        "ENVI\ndescription = {a, b}\nsamples = 5\nlines = 4\n"
        "bands = 3\nheader offset = 0\ndata type = 2\n"
        "interleave = bil\n"
        "byte order = 0\nwavelength = {1, 2, 3}\npixel size = {1, 2, units=Meters}\n"
    )
    return "a.hdr", None


def hdf5(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file["plain"] = np.arange(60).reshape(3, 4, 5)
        file.create_dataset("packed", data=np.zeros((8, 8)), chunks=(4, 4), compression="gzip")
        file["plain"].attrs["element_size_um"] = [1.0, 2.0, 3.0]
    return "a.h5", None


def sidecar(folder):
    (folder / "a.raw").write_bytes(bytes(120))
    said = {
        "dtype": "<i2",
        "shape": [3, 4, 5],
        "offset": 0,
        "order": "C",
        "axes": ["z", "y", "x"],
        "scale": [1, 2, 3],
    }
    (folder / "a.json").write_text(json.dumps(said))
    return "a.json", None


def itk_wasm(folder):
    image = folder / "a.iwi"
    image.mkdir()
    (image / "data.raw").write_bytes(bytes(40))
    kind = {"dimension": 2, "componentType": "int16", "pixelType": "Scalar", "components": 1}
    said = {"imageType": kind, "origin": [0, 0], "spacing": [1, 1], "size": [5, 4]}
    (image / "index.json").write_text(
        json.dumps(said | {"data": "data:application/vnd.itk.path,data.raw"})
    )
    return "a.iwi/index.json", None


def pgm(folder):
    (folder / "a.pgm").write_bytes(b"P5\n# a comment\n5 12\n1023\n" + bytes(120))
    return "a.pgm", 28


def pam(folder):
    head = b"P7\nWIDTH 5\nHEIGHT 4\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    (folder / "a.pam").write_bytes(head + bytes(60))
    return "a.pam", len(head)


def pfm(folder):
    (folder / "a.pfm").write_bytes(b"Pf\n5 12\n-1.0\n" + bytes(240))
    return "a.pfm", 14


def pbm_text(folder):
    (folder / "a.pbm").write_bytes(b"P1\n5 12\n" + b"1 " * 60)
    return "a.pbm", None


def esri(folder):
    (folder / "a.bil").write_bytes(bytes(240))
    lines = "NROWS 5\nNCOLS 4\nNBANDS 3\nNBITS 16\nBYTEORDER M\nLAYOUT BIL\nSKIPBYTES 0\n"
    (folder / "a.hdr").write_text(f"{lines}PIXELTYPE SIGNEDINT\nTOTALROWBYTES 24\nXDIM 0.5\n")
    return "a.hdr", None


def nibabel_file(folder, name, other=None):
    nibabel = pytest.importorskip("nibabel")
    files = Path(nibabel.__file__).parent / "tests" / "data"
    for one in filter(None, (name, other)):
        if not (files / one).is_file():
            pytest.skip("nibabel was installed without its files")
        shutil.copy(files / one, folder)
    return name


def afni(folder):
    return nibabel_file(folder, "scaled+tlrc.HEAD", "scaled+tlrc.BRIK"), None


def parrec(folder):
    return nibabel_file(folder, "phantom_varscale.PAR", "phantom_varscale.REC"), None


def minc(folder):
    return nibabel_file(folder, "tiny.mnc"), 3000


def minc_2(folder):
    return nibabel_file(folder, "minc2_1_scale.mnc"), None


SEEDS = [
    *(
        npy,
        npy_records,
        npz,
        mrc,
        nifti,
        nifti_2,
        nifti_packed,
        analyze,
        mgh,
        nrrd,
        nrrd_detached,
        metaimage,
    ),
    *(metaimage_packed, metaimage_list, fits, envi, hdf5, sidecar, itk_wasm),
    *(pgm, pam, pfm, pbm_text, esri, afni, parrec, minc, minc_2),
]


def damaged(content, head, rng):
    """Return a file with some of its first `head` bytes changed, taken out, put in, or cut off."""
    made = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        end = max(1, min(head or len(made), len(made)))
        place = rng.randrange(end)
        way = rng.randrange(7)
        if way == 0:
            made[place : place + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            made[place : place + 1] = (
                bytes([made[place] ^ (1 << rng.randrange(8))]) if made else b""
            )
        elif way == 2:
            made[place : place + 4] = rng.choice(
                [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)]
            )
        elif way == 3:
            del made[place : place + rng.choice([1, 4, 40])]
        elif way == 4:
            del made[rng.choice([place, len(made) - 1]) :]
        elif way == 5:
            made[place:place] = rng.choice(WORDS)
        else:
            digits = [at for at in range(end) if 48 <= made[at] < 58] or [place]
            at = rng.choice(digits)
            made[at : at + 1] = rng.choice(NUMBERS)
        if not made:
            break
    return bytes(made)


def grown():
    """Return the most memory that this process has had, in bytes; 0 where that is unknown."""
    if not sys.platform.startswith("linux"):
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def try_to_open(path):
    """Open a file and read its first chunks; the package's own errors are right."""
    try:
        with nl.open_dataset(path) as dataset:
            assert len(dataset.meta) == dataset._opened.row_count
            for image in dataset.images[:3]:
                assert repr(image)
                assert np.isfinite(image.affine).all()
                source = image.source
                grid = source.meta.levels[0].grid
                box = grid.bounds((0,) * len(grid.shape))
                if image.nbytes <= MOST_READ:
                    read_box(source, 0, box, keep=False)
    except nl.LazyLoadError:
        return


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.__name__)
def test_a_damaged_header_is_opened_or_refused(seed, tmp_path):
    name, head = seed(tmp_path)
    path = tmp_path / name
    shown = {"a.json": tmp_path / "a.raw", "a.iwi/index.json": tmp_path / "a.iwi"}.get(name, path)
    try_to_open(shown)  # undamaged; also loads the library
    content, before = path.read_bytes(), grown()
    for number in range(COUNT):
        rng = random.Random(f"{seed.__name__} {number}")
        path.write_bytes(damaged(content, head, rng))
        started = time.perf_counter()
        try:
            try_to_open(shown)
        except BaseException:
            print(f"example {number} of {seed.__name__}")
            raise
        assert time.perf_counter() - started < SLOWEST_SECONDS, f"example {number}"
    assert grown() - before < MOST_GROWTH
