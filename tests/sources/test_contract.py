"""The contract of sources, inherited for each format and for each derived source."""

from __future__ import annotations

import gzip
import shutil
import zipfile

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from helpers.ome_stores import write_image, write_plate
from helpers.server import FolderServer
from napari_lazyload.arrays.derived.channels import ChannelSource
from napari_lazyload.arrays.derived.converted import displayable
from napari_lazyload.arrays.derived.overview import with_overview
from napari_lazyload.core import coarse_levels
from napari_lazyload.sources.registry import open_path
from napari_lazyload.sources.tiff import tiled
from napari_lazyload.testing.contract import SourceContract


class TestFolderOfPng(SourceContract):
    def write(self, folder, pixels):
        for number, frame in enumerate(pixels):
            (folder / f"img_{number}.png").write_bytes(imagecodecs.png_encode(frame))
        return folder


class TestFolderOfNpy(SourceContract):
    def write(self, folder, pixels):
        for number, frame in enumerate(pixels):
            np.save(folder / f"img_{number}.npy", frame)
        return folder


class TestOneTiffOfAFolder(SourceContract):
    """One file of several: the others are nobody's to free."""

    shape = (20, 30)

    def write(self, folder, pixels):
        for number in range(3):
            tifffile.imwrite(folder / f"img_{number}.tif", pixels + number)
        return folder / "img_0.tif"


class TestFolderOfPages(SourceContract):
    """Files of several pages."""

    shape = (2, 3, 20, 30)

    def write(self, folder, pixels):
        for number, pages in enumerate(pixels):
            tifffile.imwrite(folder / f"img_{number}.tif", pages, photometric="minisblack")
        return folder


class TestPaddedFolder(SourceContract):
    shape = (2, 20, 30)
    options = {"mixed": "pad", "headers": "all"}

    def write(self, folder, pixels):
        (folder / "0.png").write_bytes(imagecodecs.png_encode(pixels[0]))
        (folder / "1.png").write_bytes(imagecodecs.png_encode(pixels[1, :10, :15]))
        return folder

    def expected(self, pixels, level):
        padded = pixels.copy()
        padded[1, 10:], padded[1, :, 15:] = 0, 0
        return padded

    @pytest.fixture(autouse=True)
    def _said(self, recwarn):
        yield
        recwarn.clear()


class LargeTiff(SourceContract):
    """TIFF whose pages are read in pieces."""

    shape = (3, 96, 80)
    how = {}

    @pytest.fixture(autouse=True)
    def _pages_are_large(self, monkeypatch):
        monkeypatch.setattr(tiled, "LARGE", 1000)

    def write(self, folder, pixels):
        how = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}, **self.how}
        tifffile.imwrite(folder / "a.tif", pixels, **how)
        return folder / "a.tif"


class TestTiffInPlace(LargeTiff):
    pass


class TestTiffByTiles(LargeTiff):
    how = {"tile": (32, 32), "compression": "zlib"}


class TestTiffByStrips(LargeTiff):
    how = {"rowsperstrip": 16, "compression": "zlib"}


class TestNpy(SourceContract):
    def write(self, folder, pixels):
        np.save(folder / "a.npy", pixels)
        return folder / "a.npy"


class TestNpyWithCoarseLevels(TestNpy):
    """Levels that are read by strides."""

    shape = (6, 40, 40)

    @pytest.fixture(autouse=True)
    def _volumes_are_large(self, monkeypatch):
        limits = {"VOLUME_NBYTES": 1000, "VOLUME_SIDE": 10, "VOLUME_PLANES": 3}
        for name, value in limits.items():
            monkeypatch.setattr(coarse_levels, name, value)

    def expected(self, pixels, level):
        return (pixels, pixels[::2, ::4, ::4])[level]


class TestNpz(SourceContract):
    def write(self, folder, pixels):
        np.savez(folder / "a.npz", pixels=pixels)
        return folder / "a.npz"


class TestPfm(SourceContract):
    shape = (20, 30)
    dtype = "float32"

    def write(self, folder, pixels):
        (folder / "a.pfm").write_bytes(b"Pf 30 20 1\n" + pixels[::-1].astype(">f4").tobytes())
        return folder / "a.pfm"


class TestSplitMetaImage(SourceContract):
    """Planes in files of their own."""

    def write(self, folder, pixels):
        depth, height, width = pixels.shape
        names = [f"{number}.raw" for number in range(depth)]
        for name, plane in zip(names, pixels, strict=True):
            (folder / name).write_bytes(plane.tobytes())
        lines = "\n".join(names)
        (folder / "a.mhd").write_text(
            f"NDims = 3\nDimSize = {width} {height} {depth}\nElementType = MET_USHORT\n"
            f"ElementDataFile = LIST\n{lines}\n"
        )
        return folder / "a.mhd"


class TestMetaImage(SourceContract):
    def write(self, folder, pixels):
        depth, height, width = pixels.shape
        (folder / "a.raw").write_bytes(pixels.tobytes())
        (folder / "a.mhd").write_text(
            f"NDims = 3\nDimSize = {width} {height} {depth}\nElementType = MET_USHORT\n"
            "ElementDataFile = a.raw\n"
        )
        return folder / "a.mhd"


class TestPackedMetaImage(SourceContract):
    def write(self, folder, pixels):
        import zlib

        depth, height, width = pixels.shape
        packed = zlib.compress(pixels.tobytes())
        header = (
            f"NDims = 3\nDimSize = {width} {height} {depth}\nElementType = MET_USHORT\n"
            f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementDataFile = LOCAL\n"
        )
        (folder / "a.mha").write_bytes(header.encode() + packed)
        return folder / "a.mha"


class TestRaw(SourceContract):
    def write(self, folder, pixels):
        path = folder / "vol_3x20x30_uint16.raw"
        path.write_bytes(pixels.tobytes())
        return path


class TestMrc(SourceContract):
    dtype = "int16"

    def write(self, folder, pixels):
        mrcfile = pytest.importorskip("mrcfile")
        with mrcfile.new(folder / "a.mrc", pixels, overwrite=True):
            pass
        return folder / "a.mrc"


class TestNifti(SourceContract):
    suffix = ".nii"

    def write(self, folder, pixels):
        nibabel = pytest.importorskip("nibabel")
        image = nibabel.Nifti1Image(pixels.T, np.eye(4))
        nibabel.save(image, folder / f"a{self.suffix}")
        return folder / f"a{self.suffix}"


class TestPackedNifti(TestNifti):
    suffix = ".nii.gz"


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
class TestNrrd(SourceContract):
    def write(self, folder, pixels):
        nrrd = pytest.importorskip("nrrd")
        nrrd.write(str(folder / "a.nrrd"), pixels, {"encoding": "raw"}, index_order="C")
        return folder / "a.nrrd"


class TestFits(SourceContract):
    dtype = "int16"

    def write(self, folder, pixels):
        fits = pytest.importorskip("astropy.io.fits")
        fits.PrimaryHDU(pixels).writeto(folder / "a.fits", overwrite=True)
        return folder / "a.fits"


class TestEnvi(SourceContract):
    def write(self, folder, pixels):
        pytest.importorskip("spectral")
        bands, lines, samples = pixels.shape
        (folder / "a.img").write_bytes(pixels.tobytes())
        (folder / "a.hdr").write_text(
            f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {bands}\nheader offset = 0\n"
            "data type = 12\ninterleave = bsq\nbyte order = 0\n"
        )
        return folder / "a.img"


class TestHdf5(SourceContract):
    how = {}

    def write(self, folder, pixels):
        h5py = pytest.importorskip("h5py")
        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("pixels", data=pixels, **self.how)
        return folder / "a.h5"


class TestChunkedHdf5(TestHdf5):
    how = {"chunks": (1, 8, 16), "compression": "gzip"}


class TestZarr2(SourceContract):
    version = 2

    def write(self, folder, pixels):
        shutil.rmtree(folder / "a.zarr", ignore_errors=True)
        array = zarr.create_array(
            folder / "a.zarr",
            shape=pixels.shape,
            chunks=(1, 8, 16),
            dtype=pixels.dtype,
            zarr_format=self.version,
        )
        array[...] = pixels
        return folder / "a.zarr"


class TestZarr3(TestZarr2):
    version = 3


class TestOmeZarr(SourceContract):
    def write(self, folder, pixels):
        shutil.rmtree(folder / "a.zarr", ignore_errors=True)
        levels = [pixels, pixels[:, ::2, ::2]]
        return write_image(folder / "a.zarr", levels, axes="zyx", chunks=(1, 8, 16))

    def expected(self, pixels, level):
        return (pixels, pixels[:, ::2, ::2])[level]


class TestZippedOmeZarr(TestOmeZarr):
    def write(self, folder, pixels):
        path = super().write(folder, pixels)
        (folder / "b.ozx").unlink(missing_ok=True)
        with zipfile.ZipFile(folder / "b.ozx", "w") as archive:
            for file in sorted(path.rglob("*")):
                archive.write(file, file.relative_to(path))
        return folder / "b.ozx"


class TestOmeZarrOnAServer(TestOmeZarr):
    @pytest.fixture(autouse=True)
    def _served(self, tmp_path):
        pytest.importorskip("obstore")
        with FolderServer(tmp_path) as self.server:
            yield

    def write(self, folder, pixels):
        super().write(folder, pixels)
        return f"{self.server.url}/a.zarr"

    test_the_key_changes_with_the_file = None  # not promised: a server may give no time of change


class TestPlate(SourceContract):
    """Two fields of one well, one of another: the fourth place is blank."""

    shape = (16, 32)

    def write(self, folder, pixels):
        shutil.rmtree(folder / "a.zarr", ignore_errors=True)
        left, right = pixels[:, :16], pixels[:, 16:]
        return write_plate(folder / "a.zarr", {"A/1": [left], "A/2": [right]}, chunks=(8, 8))


class TestChannels(TestOmeZarr):
    """Some channels of an image."""

    shape = (4, 20, 30)

    def write(self, folder, pixels):
        shutil.rmtree(folder / "a.zarr", ignore_errors=True)
        return write_image(folder / "a.zarr", [pixels], axes="cyx", chunks=(4, 8, 16))

    def source(self, path):
        return ChannelSource(open_path(path).sources[0], [2, 0])

    def expected(self, pixels, level):
        return pixels[[2, 0]]


class TestConverted(TestNpy):
    """Values that a viewer cannot show."""

    dtype = "complex64"

    def source(self, path):
        return displayable(open_path(path).sources[0])[0]

    def expected(self, pixels, level):
        return np.abs(pixels)


class TestComputedLevels(TestFolderOfPng):
    """Levels that are made from whole chunks."""

    shape = (3, 64, 48)

    @pytest.fixture(autouse=True)
    def _planes_are_large(self, monkeypatch):
        limits = {"PLANE_NBYTES": 1000, "PLANE_SIDE": 20, "LEAST_SIDE": 8}
        for name, value in limits.items():
            monkeypatch.setattr(coarse_levels, name, value)

    def source(self, path):
        return with_overview(open_path(path).sources[0])

    def expected(self, pixels, level):
        step = 2**level
        return pixels[:, ::step, ::step]


def test_a_packed_file_of_the_same_name_is_another(tmp_path):
    """The key of a chunk names its file."""
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), "u1"))
    (tmp_path / "b.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    source = open_path(tmp_path / "a.npy").sources[0]
    assert source.chunk(0, (0, 0, 0)).key.file == str(tmp_path / "a.npy")
