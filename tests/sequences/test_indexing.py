"""Sub-sequences by index, query, mask and order of the table: pixels and rows stay together."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pictures import COUNT, PIXELS, write_png
from napari_lazyload.sequences.lazy_image import LazyImage
from napari_lazyload.sequences.reading import read_images
from napari_lazyload.sequences.sequence import ImageSequence


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A sequence of five images whose pixels are their number."""
    root = tmp_path_factory.mktemp("tiny")
    for number in range(5):
        write_png(root / f"{number}.png", np.full((2, 2), number, np.uint8))
    return read_images(root, meta={"number": range(5)})


def index_forms():
    number = st.integers(-7, 6)
    edge = st.none() | number
    return st.one_of(
        number,
        number.map(np.int32),
        number.map(np.array),
        st.builds(slice, edge, edge, st.sampled_from([None, -3, -1, 1, 2])),
        st.lists(number, max_size=8),
        st.lists(number, max_size=8).map(lambda values: np.array(values, np.int64)),
        st.lists(st.integers(0, 6), max_size=8).map(lambda values: np.array(values, np.uint8)),
        st.lists(number, max_size=8).map(lambda values: pd.Series(values, dtype=int)),
        st.lists(st.booleans(), min_size=5, max_size=5),
        st.lists(st.booleans(), min_size=5, max_size=5).map(np.array),
        st.lists(st.booleans(), min_size=5, max_size=5).map(pd.Series),
    )


class TestIndex:
    @given(index_forms())
    def test_as_numpy(self, tiny, index):
        plain = np.asarray(index) if isinstance(index, pd.Series) else index
        if isinstance(plain, list) and not plain:
            plain = np.empty(0, int)
        try:
            expected = np.arange(5)[plain]
        except IndexError:
            with pytest.raises(IndexError, match="out of range"):
                tiny[index]
            return
        found = tiny[index]
        if np.ndim(expected) == 0:
            assert isinstance(found, LazyImage)
            assert found.meta["number"] == found.data[0, 0] == expected
        else:
            assert isinstance(found, ImageSequence)
            assert found.meta["number"].tolist() == expected.tolist()
            assert found.meta.index.tolist() == list(range(len(expected)))
            assert [image.data[0, 0] for image in found] == expected.tolist()

    @given(
        st.lists(st.integers(-5, 4), min_size=1), st.lists(st.booleans(), min_size=5, max_size=5)
    )
    def test_one_after_the_other(self, tiny, numbers, mask):
        chosen = np.arange(5)[numbers]
        both = chosen[::-1][: len(mask)]
        keep = np.array(mask)[: len(both)]
        assert tiny[numbers][::-1][:5][keep].meta["number"].tolist() == both[keep].tolist()

    @pytest.mark.parametrize("index", [5, -6, np.int64(5), [0, 5], np.array([-6])])
    def test_out_of_range(self, tiny, index):
        with pytest.raises(
            IndexError,
            match=r"index (5|-6) is out of range: there are 5 images, 0 to 4 or -5 to -1",
        ):
            tiny[index]

    def test_of_nothing(self, tiny):
        with pytest.raises(IndexError, match="there is no image"):
            tiny[[]][0]

    @pytest.mark.parametrize(
        "index", [np.zeros((2, 2), int), [[0, 1], [1, 0]], (0, 1), np.ones((5, 1), bool), ()]
    )
    def test_more_than_one_axis(self, tiny, index):
        with pytest.raises(ValueError, match="one axis"):
            tiny[index]

    @pytest.mark.parametrize("mask", [[True] * 4, np.ones(6, bool), pd.Series([True])])
    def test_mask_of_another_length(self, tiny, mask):
        with pytest.raises(ValueError, match=f"one bool for each of the 5 images, got {len(mask)}"):
            tiny[mask]

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            *(
                ("0", "'0'"),
                (1.0, "1.0"),
                (None, "None"),
                (True, "True"),
                (np.True_, "True"),
                ({0}, "{0}"),
            ),
            *(
                (np.array([1.0]), "float64 array"),
                (["a"], "'a'"),
                (Ellipsis, "Ellipsis"),
                (np.array(1.5), "float64"),
            ),
        ],
    )
    def test_another_type(self, tiny, index, message):
        with pytest.raises(
            TypeError, match=f"an index is a whole number, a slice.*got .*{re.escape(message)}"
        ):
            tiny[index]

    def test_a_mask_in_another_order_goes_by_its_row_numbers(self, tiny):
        mask = (tiny.meta["number"] > 2).sort_values(ascending=False)
        assert tiny[mask].meta["number"].tolist() == [3, 4]

    def test_reads_nothing(self, folder, headers, counted):
        seq = read_images(folder)
        _ = (
            seq[3],
            seq[2:5][::-1],
            seq[[1, 2]],
            seq[np.ones(COUNT, bool)],
            seq.where(np.ones(COUNT, bool)),
        )
        assert not headers
        assert counted("reads") == 0


class TestTable:
    @pytest.fixture
    def labelled(self, folder):
        return read_images(
            folder,
            meta={
                "label": [number * 5 % COUNT for number in range(COUNT)],
                "well": list("abc") * 4,
            },
        )

    def check(self, seq):
        """Pixels and rows belong together."""
        for row, pixels in zip(seq.meta.itertuples(), seq.load(), strict=True):
            np.testing.assert_array_equal(pixels, PIXELS[int(row.original_filename[3:-4])])

    def test_query(self, labelled):
        found = labelled.query("label > 5 and well == 'a'")
        assert isinstance(found, ImageSequence)
        assert (found.meta["label"] > 5).all()
        assert set(found.meta["well"]) == {"a"}
        self.check(found)

    def test_query_sees_local_variables_and_methods(self, labelled):
        least = 9
        assert sorted(labelled.query("label >= @least").meta["label"]) == [least, 10, 11]
        assert len(labelled.query("original_filename.str.startswith('img1')")) == 3

    def test_query_of_missing_values_is_no(self, folder):
        seq = read_images(folder, meta={"label": pd.array([1, None] * 6, dtype="Int64")})
        assert len(seq.query("label == 1")) == 6

    @pytest.mark.parametrize(
        "expression", ["labl > 1", "label >", "label + 1", "1 > 0", "x = label", ""]
    )
    def test_bad_query_names_the_columns(self, labelled, expression):
        with pytest.raises(
            ValueError, match=r"query.*Columns are 'original_filename', 'label', 'well'"
        ):
            labelled.query(expression)

    def test_query_takes_a_string(self, labelled):
        with pytest.raises(TypeError, match="a query is a string"):
            labelled.query(np.ones(COUNT, bool))

    def test_where(self, labelled):
        found = labelled.where(labelled.meta["label"] < 3)
        assert sorted(found.meta["label"]) == [0, 1, 2]
        self.check(found)
        assert len(labelled.where([True, False] * 6)) == 6

    def test_bad_mask(self, labelled):
        with pytest.raises(ValueError, match="one bool for each of the 12 images, got 3"):
            labelled.where([True] * 3)
        with pytest.raises(TypeError, match="a bool for each image, got int64"):
            labelled.where(np.arange(COUNT))

    def test_sort(self, labelled):
        by_label = labelled.sort("label")
        assert by_label.meta["label"].tolist() == list(range(COUNT))
        self.check(by_label)
        down = labelled.sort(["well", "label"], ascending=False)
        assert down.meta["well"].tolist() == sorted(down.meta["well"], reverse=True)
        self.check(down)
        self.check(labelled.sort("label")[::2].query("label > 2").sort("well"))

    def test_sort_is_stable_natural_and_puts_missing_last(self, labelled, names, folder):
        assert labelled.sort("well").meta["original_filename"].tolist() == [
            names[number] for start in range(3) for number in range(start, COUNT, 3)
        ]
        assert labelled[::-1].sort("original_filename").meta["original_filename"].tolist() == names
        gaps = read_images(folder, meta={"label": [np.nan, *range(COUNT - 1)]})
        assert gaps.sort("label").meta["original_filename"].tolist() == [*names[1:], names[0]]

    def test_sort_by_what_is_not_there(self, labelled):
        with pytest.raises(
            ValueError,
            match=r"sort by columns of the meta table, got 'size'; there are 'original_fil",
        ):
            labelled.sort("size")

    def test_reads_nothing(self, labelled, headers, counted):
        _ = labelled.sort("label").query("label > 3").where([True] * 8)
        assert not headers
        assert counted("reads") == 0
