"""Natural order of names."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.natural import natural_key

ORDERED = {
    "numbers": ["img2.png", "img10.png", "img100.png"],
    "case": ["IMG1", "img2", "IMG10"],
    "leading zeros": ["a01", "a1", "a2", "a010"],
    "number before letter": ["a1", "a10", "ab"],
    "folder before its continuation": ["run/9", "run 2", "run1/1"],
    "folders in turn": ["s2/img1", "s2/img10", "s10/img1"],
    "several numbers": ["t1_z2", "t1_z10", "t2_z1"],
    "other scripts": ["bild_ä1", "bild_ä2", "bild_ä10"],
}


@pytest.mark.parametrize("names", ORDERED.values(), ids=ORDERED)
def test_names_in_natural_order(names):
    for seed in range(5):
        shuffled = random.Random(seed).sample(names, len(names))
        assert sorted(shuffled, key=natural_key) == names


def test_composed_and_decomposed_letters_sort_together():
    names = [unicodedata.normalize(form, "é%d") % number for number, form in ((1, "NFD"), (2, "NFC"), (10, "NFD"))]
    assert sorted([names[2], names[0], names[1]], key=natural_key) == names


@given(st.permutations(["a1", "A1", "a01", "a 1", "a/1", "é", "e\u0301", "a", "", "1", "01"]), st.data())
def test_the_order_does_not_depend_on_the_order_given(names, data):
    assert sorted(names, key=natural_key) == sorted(data.draw(st.permutations(names)), key=natural_key)
    assert len({natural_key(name) for name in names}) == len(names)
