"""Natural order of names."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.natural_sort import natural_key

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
    names = [
        unicodedata.normalize(form, "é%d") % number
        for number, form in ((1, "NFD"), (2, "NFC"), (10, "NFD"))
    ]
    assert sorted([names[2], names[0], names[1]], key=natural_key) == names


@given(
    st.permutations(["a1", "A1", "a01", "a 1", "a/1", "é", "e\u0301", "a", "", "1", "01"]),
    st.data(),
)
def test_the_order_does_not_depend_on_the_order_given(names, data):
    assert sorted(names, key=natural_key) == sorted(
        data.draw(st.permutations(names)), key=natural_key
    )
    assert len({natural_key(name) for name in names}) == len(names)


@given(
    st.lists(st.integers(0, 10**45), min_size=2, max_size=8),
    st.sampled_from(["", "a", "-", ".png", "\u00e9"]),
)
def test_numbers_of_any_length_sort_as_numbers(numbers, after):
    names = [f"1.2.840.{number}{after}" for number in numbers]
    assert sorted(names, key=natural_key) == [
        f"1.2.840.{number}{after}" for number in sorted(numbers)
    ]


@pytest.mark.parametrize("digits", [1, 18, 19, 20, 21, 39, 64])
def test_a_longer_number_comes_after_all_that_begin_like_a_shorter_one(digits):
    last, next_one = "9" * digits, "1" + "0" * digits
    ordered = [f"{last}a", f"0{last}z9", f"{last}z9", f"{next_one}", f"00{next_one}1"]
    assert sorted(random.Random(0).sample(ordered, len(ordered)), key=natural_key) == ordered
