"""ESRI's band files: where each pixel lies, by the header's words."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl

RNG = np.random.default_rng(0)
ORDERS = {"BIL": (1, 0, 2), "BIP": (1, 2, 0), "BSQ": (0, 1, 2)}


def written(folder, pixels, layout, suffix=".bil", **more):
    bands, rows, columns = pixels.shape
    folder.mkdir(exist_ok=True)
    path = folder / f"map{suffix}"
    stored = pixels.transpose(ORDERS[layout])
    path.write_bytes(bytes(int(more.get("SKIPBYTES", 0))) + stored.tobytes())
    kinds = {"u": "UNSIGNEDINT", "i": "SIGNEDINT", "f": "FLOAT"}
    order = "M" if pixels.dtype.str[0] == ">" else "I"
    fields = {
        "BYTEORDER": order,
        "LAYOUT": layout,
        "NROWS": rows,
        "NCOLS": columns,
        "NBANDS": bands,
        "NBITS": 8 * pixels.dtype.itemsize,
        "PIXELTYPE": kinds[pixels.dtype.kind],
        "XDIM": 0.5,
        "YDIM": 0.25,
    }
    text = "".join(f"{name:<14} {value}\n" for name, value in (fields | more).items())
    (folder / "map.hdr").write_text(text)
    return path


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i2", "<f4", ">f4", "<i4"])
def test_bands_rows_and_columns(tmp_path, layout, dtype):
    pixels = RNG.integers(0, 100, (3, 20, 30)).astype(dtype)
    path = written(tmp_path / "a", pixels, layout, SKIPBYTES=7)
    for one in (path, path.with_suffix(".hdr")):
        dataset = nl.open_dataset(one)
        image = dataset.images[0]
        np.testing.assert_array_equal(image.data, pixels)
        assert image.dtype == pixels.dtype.newbyteorder("=")
        assert (image.axes, image.scale) == (("c", "y", "x"), (1, 0.25, 0.5))
        assert dataset.meta["LAYOUT"].tolist() == [layout]


def test_gaps(tmp_path):
    pixels = RNG.integers(0, 100, (2, 5, 6)).astype("u1")
    padded = np.zeros((2, 5, 8), "u1")
    padded[..., :6] = pixels
    path = tmp_path / "map.bsq"
    path.write_bytes(padded[0].tobytes() + bytes(11) + padded[1].tobytes())
    head = "nrows 5\nncols 6\nnbands 2\nlayout bsq\nbandrowbytes 8\nbandgapbytes 11\n"
    (tmp_path / "map.hdr").write_text(head)
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, pixels)
    path = tmp_path / "rows.bil"
    path.write_bytes(padded.transpose(1, 0, 2).tobytes())
    (tmp_path / "rows.hdr").write_text(
        "NROWS = 5\nNCOLS = 6\nNBANDS: 2\nBANDROWBYTES 8\nTOTALROWBYTES 16\n"
    )
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, pixels)


def test_what_the_header_does_not_say(tmp_path):
    heights = RNG.integers(-500, 500, (1, 20, 30)).astype("<i2")
    path = written(tmp_path / "a", heights, "BIL", PIXELTYPE="", NODATA=-9999)
    image = nl.open_dataset(path).images[0]
    assert (image.axes, image.dtype) == (("y", "x"), np.int16)
    np.testing.assert_array_equal(image.data, heights[0])
    grid = RNG.random((20, 30)).astype("<f4")
    (tmp_path / "grid.flt").write_bytes(grid.tobytes())
    (tmp_path / "grid.hdr").write_text(
        "ncols 30\nnrows 20\nxllcorner 3\nyllcorner 4\ncellsize 0.1\nbyteorder LSBFIRST\n"
    )
    image = nl.open_dataset(tmp_path / "grid.flt").images[0]
    np.testing.assert_array_equal(image.data, grid)
    assert image.scale == (0.1, 0.1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"NROWS": "-3"}, "a whole number for NROWS"),
        ({"NBITS": 4}, "pixels of 8, 16 or 32 bits"),
        ({"LAYOUT": "BIX"}, "LAYOUT of BIL, BIP or BSQ"),
        ({"NROWS": 21}, "as its header says"),
        ({"TOTALROWBYTES": 3}, "at least 30 bytes in a row"),
        ({"NCOLS": "9" * 40}, "a whole number for NCOLS"),
    ],
)
def test_what_is_damaged_says_how(tmp_path, more, said):
    path = written(tmp_path / "a", np.zeros((1, 20, 30), "u1"), "BIL")
    text = path.with_suffix(".hdr").read_text()
    kept = [line for line in text.splitlines() if line.split()[0] not in more]
    lines = [*kept, *(f"{name} {value}" for name, value in more.items())]
    path.with_suffix(".hdr").write_text("\n".join(lines))
    with pytest.raises(nl.SourceOpenError, match=said):
        nl.open_dataset(path)


def test_headers_of_others_are_not_taken(tmp_path):
    from napari_lazyload.sources.binary.esri import takes_esri

    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 3\n")
    (tmp_path / "b.hdr").write_bytes(bytes(348))
    (tmp_path / "c.hdr").write_text("NROWS 3\n")
    assert not any(takes_esri(str(tmp_path / f"{name}.hdr")) for name in "abcd")
