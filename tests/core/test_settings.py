"""Settings: what is refused, what stays, and what a child process starts with."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest

from napari_lazyload.core import settings


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.current())
    monkeypatch.setattr(settings, "_chosen", dict(settings._chosen))


def test_what_is_chosen_is_in_force():
    now = settings.update(cache_budget=1e6, workers=np.int64(3), header_seconds=Fraction(1, 2))
    assert (now.cache_budget, now.workers, now.header_seconds) == (1_000_000, 3, 0.5)
    assert {type(now.cache_budget), type(now.workers)} == {int}
    assert type(now.header_seconds) is float
    assert settings.current() is now
    assert settings.update(workers=4).cache_budget == 1_000_000


@pytest.mark.parametrize("value", [nan, inf, -1, "3", True, np.bool_(True), 1 + 0j, [1]])
@pytest.mark.parametrize("name", ["cache_budget", "workers", "header_seconds", "look_ahead"])
def test_a_value_that_is_no_number_is_refused(name, value):
    before = settings.current()
    with pytest.raises(ValueError, match=f"{name} must be a .*number of at least .*, got"):
        settings.update(**{name: value})
    assert settings.current() == before


@pytest.mark.parametrize(
    ("name", "value"), [("workers", 0), ("workers", 2.5), ("cache_budget", 0.5)]
)
def test_counts_are_whole_and_one_worker_is_the_least(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least"):
        settings.update(**{name: value})


@pytest.mark.parametrize("value", [65, 7.5, -1])
def test_look_ahead_is_a_whole_number_up_to_64(value):
    assert [settings.update(look_ahead=most).look_ahead for most in (0, 64, None)] == [0, 64, 8]
    with pytest.raises(
        ValueError,
        match=f"look_ahead must be a whole number of at least 0 and at most 64, got {value}",
    ):
        settings.update(look_ahead=value)


@pytest.mark.parametrize("value", [0, 1, "yes", 1.0, [True]])
def test_a_choice_is_true_or_false(value):
    assert [
        settings.update(coarse_first=choice).coarse_first
        for choice in (False, np.bool_(True), None)
    ] == [
        False,
        True,
        True,
    ]
    assert type(settings.update(coarse_first=np.bool_(False)).coarse_first) is bool
    with pytest.raises(ValueError, match="coarse_first must be True or False, got"):
        settings.update(coarse_first=value)


def test_a_wrong_name_changes_nothing():
    before = settings.current()
    with pytest.raises(
        TypeError,
        match="'budget' is not a setting; there are: cache_budget, workers, header_seconds",
    ):
        settings.update(workers=7, budget=3)
    assert settings.current() == before


def test_none_goes_back_to_the_automatic_choice():
    automatic = settings.Settings(**settings._defaults())
    settings.update(workers=7, cache_budget=1, header_seconds=3)
    assert settings.update(workers=None).workers == automatic.workers
    assert settings.current().cache_budget == 1
    assert settings.update(cache_budget=None, header_seconds=None, workers=None) == automatic


def test_threads_that_set_different_things_lose_nothing():
    gate = threading.Barrier(2)

    def choose(name, value):
        gate.wait()
        settings.update(**{name: value})

    for number in range(1, 200):
        settings._current = None  # the first use of all
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(choose, ("workers", "cache_budget"), (number, number * 1000)))
        assert (settings.current().workers, settings.current().cache_budget) == (
            number,
            number * 1000,
        )


def test_defaults_fit_the_machine():
    now = settings.Settings(**settings._defaults())
    assert 128 * settings.MIB <= now.cache_budget <= 2048 * settings.MIB
    assert 2 <= now.workers <= 16


SPAWNED = """
import multiprocessing
from napari_lazyload.core import settings
def budget(_): return settings.current().cache_budget, settings.current().workers
if __name__ == "__main__":
    settings.update(workers=5)
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, *pool.map(budget, [0])[0])
"""


def test_a_worker_process_keeps_little(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SPAWNED)
    output = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    answers = dict(line.split(" ", 1) for line in output.splitlines())
    assert all(answer.startswith(f"{32 * settings.MIB} ") for answer in answers.values()), answers
    if "fork" in answers:  # what the user chose goes along
        assert answers["fork"].endswith(" 5")
