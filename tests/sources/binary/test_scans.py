"""AFNI, PAR/REC and MINC volumes: the values and places of nibabel, on its own files."""

from __future__ import annotations

import gzip
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.core.affine import matrix_from

nibabel = pytest.importorskip("nibabel")
FILES = Path(nibabel.__file__).parent / "tests" / "data"
pytestmark = pytest.mark.skipif(
    not FILES.is_dir(), reason="nibabel was installed without its files"
)

SCANS = [
    "example4d+orig.HEAD",
    "example4d+orig.BRIK.gz",
    "scaled+tlrc.HEAD",
    "scaled+tlrc.BRIK",
    "phantom_EPI_asc_CLEAR_2_1.PAR",
    "phantom_EPI_asc_CLEAR_2_1.REC",
    "phantom_varscale.PAR",
    "tiny.mnc",
    "minc1_1_scale.mnc",
    "minc1_4d.mnc",
    "minc1-no-att.mnc",
    "small.mnc",
    "minc2_1_scale.mnc",
    "minc2_4d.mnc",
    "minc2-4d-d.mnc",
    "minc2-no-att.mnc",
]


def reference(path):
    """Return the image of nibabel, its values with the fastest axis last."""
    parrec = {"permit_truncated": True} if str(path).endswith((".PAR", ".REC")) else {}
    image = nibabel.load(path, **parrec)
    values = np.array(np.asarray(image.dataobj))
    if parrec:  # nibabel keeps it open
        image.dataobj.file_like.close()
    return image, values if str(path).endswith(".mnc") else values.T


def matrix_of(dataset):
    """Return where the voxels along z, y, x lie, as a matrix."""
    meta = dataset._opened.sources[0].meta
    return matrix_from(meta.scale, meta.translate, meta.affine)[-4:, -4:]


@pytest.mark.parametrize("name", SCANS)
def test_it_is_what_nibabel_reads(name):
    _, expected = reference(FILES / name)
    image = nl.open_dataset(FILES / name).images[0]
    assert image.axes == ("t", "z", "y", "x")[-expected.ndim :]
    found = np.asarray(image.data)
    assert image.dtype == found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)
    for index in (np.s_[..., 3, :, 2:9], np.s_[..., 1:3, 5:7, 4], np.s_[-1], np.s_[..., ::2, ::3]):
        np.testing.assert_array_equal(image.data[index], expected[index])
    again = pickle.loads(pickle.dumps(image.levels[0]))
    np.testing.assert_array_equal(again, expected)
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(lambda n: np.asarray(image.data[n]), [*range(len(expected))] * 2))
    np.testing.assert_array_equal(frames, [*expected, *expected])


@pytest.mark.parametrize("name", SCANS)
def test_it_lies_where_nibabel_has_it(name):
    known, expected = reference(FILES / name)
    dataset = nl.open_dataset(FILES / name)
    image = dataset.images[0]
    order = [2, 1, 0, 3]
    columns = [0, 1, 2, 3] if name.endswith(".mnc") else order
    np.testing.assert_allclose(matrix_of(dataset), known.affine[order][:, columns], atol=1e-3)
    assert image.units[-3:] == ("millimeter",) * 3
    if expected.ndim == 4 and "scaled" not in name:
        # Of MINC, nibabel says the sizes in space only.
        assert image.scale[0] == (1 if name.endswith(".mnc") else known.header.get_zooms()[3])


def made_rec(folder, name):
    """Copy a header of nibabel's, with made data beside it; return it, and the sorted frames."""
    shutil.copy(FILES / name, folder / name)
    with (folder / name).open(encoding="latin-1") as file:
        header = nibabel.parrec.PARRECHeader.from_fileobj(file, permit_truncated=True)
    frames = np.random.default_rng(0).integers(0, 4000, header.get_rec_shape()[::-1], "<u2")
    (folder / name).with_suffix(".REC").write_bytes(frames.tobytes())
    shape = header.get_data_shape()[::-1]
    return folder / name, frames[header.get_sorted_slice_indices()].reshape(shape)


@pytest.mark.filterwarnings("ignore:.*Header inconsistency")
@pytest.mark.parametrize(
    "name", ["T2-interleaved.PAR", "DTI.PAR", "T1_dual_echo.PAR", "ADC_Map.PAR"]
)
def test_slices_in_any_order(tmp_path, name):
    path, frames = made_rec(tmp_path, name)
    _, expected = reference(path)
    image = nl.open_dataset(path).images[0]
    np.testing.assert_array_equal(image.data[..., 3:9, ::5], expected[..., 3:9, ::5])
    stored = nl.open_dataset(path, scaled=False).images[0]
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored.data, frames)


def test_a_scan_that_was_cut_short_says_so(tmp_path):
    path = FILES / "phantom_truncated.PAR"
    with pytest.warns(UserWarning, match="Header inconsistency"):
        _, expected = reference(path)
    with pytest.warns(nl.LazyLoadWarning, match="Found 3 dynamic scan values, but expected 4"):
        image = nl.open_dataset(path).images[0]
    np.testing.assert_array_equal(image.data, expected)


def test_packed_volumes_are_scaled_each_by_its_own_slope(tmp_path):
    text = (FILES / "example4d+orig.HEAD").read_text()
    place = text.index("name  = BRICK_FLOAT_FACS")
    text = text[:place] + text[place:].replace("0              0              0", "0.5 0 2.25", 1)
    (tmp_path / "a+orig.HEAD").write_text(text)
    shutil.copy(FILES / "example4d+orig.BRIK.gz", tmp_path / "a+orig.BRIK.gz")
    _, expected = reference(tmp_path / "a+orig.HEAD")
    assert expected.dtype == np.float64
    image = nl.open_dataset(tmp_path / "a+orig.HEAD").images[0]
    np.testing.assert_array_equal(image.data, expected)
    (tmp_path / "a+orig.BRIK").write_bytes(
        gzip.decompress((tmp_path / "a+orig.BRIK.gz").read_bytes())
    )
    image = nl.open_dataset(tmp_path / "a+orig.BRIK").images[0]
    np.testing.assert_array_equal(image.data, expected)
    stored = nl.open_dataset(tmp_path / "a+orig.BRIK", scaled=False).images[0]
    np.testing.assert_array_equal(
        stored.data, expected / np.array([0.5, 1, 2.25])[:, None, None, None]
    )


def test_milliseconds_of_afni_are_seconds(tmp_path):
    text = (FILES / "example4d+orig.HEAD").read_text()
    assert "77002" in text
    for code, step in (("77002", 3.0), ("77001", 0.003)):
        (tmp_path / "a+orig.HEAD").write_text(text.replace("77002", code))
        shutil.copy(FILES / "example4d+orig.BRIK.gz", tmp_path / "a+orig.BRIK.gz")
        image = nl.open_dataset(tmp_path / "a+orig.HEAD").images[0]
        assert image.scale == (step, 3, 3, 3)
        assert image.units[0] == "second"


@pytest.mark.parametrize(
    "name", ["scaled+tlrc.BRIK", "phantom_varscale.REC", "tiny.mnc", "small.mnc"]
)
def test_a_cut_file_is_refused(tmp_path, name):
    for path in FILES.glob(f"{name.rpartition('.')[0]}.*"):
        shutil.copy(path, tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(nl.SourceOpenError):
        nl.open_dataset(tmp_path / name)


def test_what_is_no_scan_is_refused(tmp_path):
    for name in ("a.HEAD", "a.mnc"):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(nl.SourceOpenError, match=r"AFNI header|a MINC volume"):
            nl.open_dataset(tmp_path / name)
    shutil.copy(FILES / "scaled+tlrc.HEAD", tmp_path)
    with pytest.raises(nl.SourceOpenError, match=r"its data file .*scaled\+tlrc\.BRIK"):
        nl.open_dataset(tmp_path / "scaled+tlrc.HEAD")


def test_a_tomogram_is_no_philips_scan(tmp_path):
    mrcfile = pytest.importorskip("mrcfile")
    pixels = np.arange(60, dtype="f4").reshape(3, 4, 5)
    mrcfile.write(tmp_path / "a.mrc", pixels)
    (tmp_path / "a.mrc").rename(tmp_path / "a.rec")
    (tmp_path / "a.par").write_text("parameters of something else")
    np.testing.assert_array_equal(nl.open_dataset(tmp_path / "a.rec").images[0].data, pixels)


def test_a_view_reads_its_own_slices(tmp_path, monkeypatch):
    from napari_lazyload.sources.binary import boxes

    path, _ = made_rec(tmp_path, "DTI.PAR")
    read = []
    read_strided = boxes.read_strided

    def counted(path, offset, target, strides):
        read.append(target.nbytes)
        read_strided(path, offset, target, strides)

    monkeypatch.setattr(boxes, "read_strided", counted)
    image = nl.open_dataset(path).images[0]
    np.asarray(image.data[1, 2])
    assert sum(read) < path.with_suffix(".REC").stat().st_size / 10
