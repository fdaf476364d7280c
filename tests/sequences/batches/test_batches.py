"""Batches: their images, their order, messages for wrong arguments, and bad images."""

from __future__ import annotations

import functools
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pictures import NUMBERED, number_image, numbers, write_png
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sequences.batch_engines import Part, join_images, make_engine
from napari_lazyload.sequences.batch_plan import plan_batches, random_order
from napari_lazyload.sequences.batches import Batches, join_batch
from napari_lazyload.sequences.malloc_trim import malloc_trimmer
from napari_lazyload.sequences.reading import read_images


def make(plan, read, *, workers, prefetch):
    """Batches of numbers, without files."""
    engine = make_engine(lambda position: [functools.partial(read, position)], workers)
    join = functools.partial(join_batch, columns=[], skipped=None)
    return Batches(plan, engine, join, total=0, prefetch=prefetch, skipped={})


class TestContents:
    def test_in_order_the_last_one_short(self, seq):
        batches = seq.batches(4)
        assert len(batches) == 3
        got = list(batches)
        assert [numbers(batch) for batch in got] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert all(isinstance(batch, tuple) and len(batch) == 1 for batch in got)
        assert got[0][0].shape == (4, 3, 4)
        assert got[2][0].dtype == np.uint8

    @given(st.data())
    def test_in_order_however_long_reads_take(self, data):
        delays = data.draw(st.lists(st.sampled_from([0, 0.001, 0.004]), min_size=7, max_size=7))
        size, workers, prefetch = (data.draw(st.integers(1, 4)) for _ in range(3))

        def read(position):
            time.sleep(delays[position])
            return np.array([position])

        plan = plan_batches(7, size, random=None, chances=None, drop_last=False, repeats=1)
        batches = make(plan, read, workers=workers, prefetch=prefetch)
        assert np.concatenate([batch[0].ravel() for batch in batches]).tolist() == list(range(7))

    def test_images_are_the_callers_own(self, seq):
        for _ in range(2):
            for (images,) in seq.batches(5):
                assert images.max() > 0
                images[...] = 0
        assert seq[9].data.max() == 9

    def test_batch_larger_than_the_sequence(self, seq):
        assert [numbers(batch) for batch in seq.batches(99)] == [list(range(NUMBERED))]

    def test_of_nothing(self, seq):
        assert list(seq[:0].batches(4)) == []
        assert list(seq[:0].batches(4, weights=None, shuffle=True, workers="processes")) == []

    def test_meta_and_arrays_follow_the_images(self, seq):
        squares, pairs = (
            [number**2 for number in range(NUMBERED)],
            np.arange(2 * NUMBERED).reshape(NUMBERED, 2),
        )
        batches = seq.batches(
            4,
            with_meta=["name", "number"],
            arrays=[squares, pairs],
            shuffle=np.random.default_rng(0),
        )
        for images, name, number, square, pair in batches:
            assert number.tolist() == images[:, 0, 0].tolist()
            assert name.tolist() == [f"n{one}" for one in number]
            assert square.tolist() == (number**2).tolist()
            np.testing.assert_array_equal(pair, pairs[number])

    def test_one_column_may_be_given_by_its_name(self, seq):
        assert [part.tolist() for _, part in seq.batches(5, with_meta="number")] == [
            [0, 1, 2, 3, 4],
            [5, 6, 7, 8, 9],
        ]

    def test_another_sequence_is_read_along(self, seq, folder, reads):
        masks = read_images(folder).map(np.negative)[::-1]
        for images, masked, number in seq.batches(4, arrays=[masks, range(NUMBERED)], shuffle=True):
            assert masked[:, 0, 0].tolist() == [(256 - (9 - one)) % 256 for one in number]
            assert images[:, 0, 0].tolist() == number.tolist()
        assert len(reads) == NUMBERED

    def test_a_list_where_shapes_differ(self, seq, folder):
        write_png(folder / "4.png", np.zeros((2, 2), np.uint8))
        first, second = seq.batches(5)
        assert isinstance(first[0], list)
        assert [image.shape for image in first[0]] == [(3, 4)] * 4 + [(2, 2)]
        first[0][1][...] = 99
        assert seq[1].data.max() == 1
        assert isinstance(second[0], np.ndarray)

    def test_a_dtype_that_holds_all(self):
        assert join_images([np.array([1], np.uint8), np.array([-1], np.int8)]).dtype == np.int16

    def test_a_batch_on_its_way_holds_no_decoded_image(self):
        image = number_image(7)
        part = Part(2)
        for at in range(2):
            part.put(at, image)
        alive = weakref.ref(image)
        del image
        assert alive() is None
        assert part.joined([0, 1]).tolist() == [number_image(7).tolist()] * 2

    def test_freed_memory_goes_back_to_the_system_as_images_come(self, seq, monkeypatch):
        counted = []
        monkeypatch.setattr(malloc_trimmer, "record", counted.append)
        for _ in seq.batches(4):
            pass
        assert counted == [12] * NUMBERED

    def test_maps_are_applied(self, seq):
        images = np.concatenate(
            [images for (images,) in seq.map(np.square).astype("f4").batches(3)]
        )
        assert images.dtype == np.float32
        assert images[:, 0, 0].tolist() == [number**2 for number in range(NUMBERED)]

    def test_of_a_loaded_sequence(self, folder):
        loaded = read_images(folder, lazy=False)
        for (images,) in loaded.batches(4):
            images[...] = 0
        assert loaded[9].max() == 9


class TestOrder:
    @given(
        st.integers(0, 30),
        st.integers(1, 12),
        st.booleans(),
        st.integers(1, 3),
        st.sampled_from(["", "random", "weights"]),
    )
    def test_plan(self, count, size, drop_last, repeats, kind):
        random = np.random.default_rng(0) if kind else None
        chances = np.full(count, 1 / max(count, 1)) if kind == "weights" and count else None
        plan = plan_batches(
            count, size, random=random, chances=chances, drop_last=drop_last, repeats=repeats
        )
        sizes = [len(part) for part in plan]
        epoch = [size] * (count // size) + (
            [count % size] if count % size and not drop_last else []
        )
        assert sizes == epoch * repeats

    def test_drop_last(self, seq):
        batches = seq.batches(4, drop_last=True, repeats=2)
        assert len(batches) == 4
        assert [numbers(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2

    def test_repeats_begin_again(self, seq):
        batches = seq.batches(6, repeats=2)
        assert len(batches) == 4
        assert [len(batch[0]) for batch in batches] == [6, 4, 6, 4]

    @pytest.mark.parametrize("make_random", [np.random.default_rng, np.random.RandomState])
    def test_shuffle_draws_each_epoch_and_can_be_had_again(self, seq, make_random):
        runs = [
            [
                n
                for batch in seq.batches(3, shuffle=make_random(5), repeats=2)
                for n in numbers(batch)
            ]
            for _ in "ab"
        ]
        assert runs[0] == runs[1]
        first, second = runs[0][:NUMBERED], runs[0][NUMBERED:]
        assert sorted(first) == sorted(second) == list(range(NUMBERED))
        assert first != second
        random = make_random(5)
        assert runs[0] == [*random.permutation(NUMBERED), *random.permutation(NUMBERED)]

    @pytest.mark.parametrize("shuffle", [True, np.True_])
    def test_shuffle_true(self, seq, shuffle):
        assert sorted(
            n for batch in seq.batches(3, shuffle=shuffle) for n in numbers(batch)
        ) == list(range(NUMBERED))

    @pytest.mark.parametrize("shuffle", [None, False, np.False_])
    def test_no_shuffle(self, shuffle):
        assert random_order(shuffle) is None

    @pytest.mark.parametrize("shuffle", [3, "yes", np.random])
    def test_bad_shuffle(self, seq, shuffle):
        with pytest.raises(TypeError, match=r"shuffle must be .*default_rng\(seed\)"):
            seq.batches(3, shuffle=shuffle)

    def test_weights_draw_with_replacement(self, seq):
        weights = np.zeros(NUMBERED)
        weights[[2, 7]] = 1, 3
        random = np.random.default_rng(0)
        drawn = [
            n
            for batch in seq.batches(5, shuffle=random, weights=weights, repeats=40)
            for n in numbers(batch)
        ]
        assert len(drawn) == 40 * NUMBERED
        assert set(drawn) == {2, 7}
        assert 0.65 < drawn.count(7) / len(drawn) < 0.85

    def test_weights_without_shuffle_and_from_a_column(self, seq):
        for batch in seq.batches(5, weights="number"):
            assert 0 not in numbers(batch)

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            *(
                ([1, 2], "10 numbers"),
                (np.ones((NUMBERED, 1)), "10 numbers"),
                (np.zeros(NUMBERED), "not all zero"),
            ),
            *((np.full(NUMBERED, np.nan), "finite"), (np.arange(NUMBERED) - 1, "not negative")),
        ],
    )
    def test_bad_weights(self, seq, weights, message):
        with pytest.raises(ValueError, match=f"weights must be .*{message}"):
            seq.batches(3, weights=weights)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
            ({"batch_size": 2.0}, TypeError, "batch_size must be a whole number"),
            ({"batch_size": True}, TypeError, "batch_size must be a whole number"),
            ({"repeats": 0}, ValueError, "repeats must be at least 1"),
            ({"prefetch": -1}, ValueError, "prefetch must be at least 0"),
            ({"workers": 0}, ValueError, "workers must be at least 1"),
            ({"workers": 1.5}, TypeError, "workers must be a whole number"),
            (
                {"workers": "many"},
                ValueError,
                "workers must be a number of threads, 'processes' or",
            ),
            ({"workers": "processes:0"}, ValueError, "got 'processes:0'"),
            ({"workers": "processes:"}, ValueError, "got 'processes:'"),
            ({"on_error": "blank"}, ValueError, "on_error must be 'raise' or 'skip', got 'blank'"),
            (
                {"with_meta": ["size"]},
                ValueError,
                "got 'size'; there are 'original_filename', 'number', 'name'",
            ),
            ({"weights": "size"}, ValueError, "got 'size'; there are"),
            (
                {"arrays": [np.arange(NUMBERED), [1, 2]]},
                ValueError,
                r"arrays\[1\] must have 10 entries.*it has 2",
            ),
            ({"arrays": [5]}, ValueError, r"arrays\[0\] must have 10 entries.*it has no"),
        ],
    )
    def test_bad(self, seq, reads, arguments, error, message):
        with pytest.raises(error, match=message):
            seq.batches(**{"batch_size": 2, **arguments})
        assert not reads

    def test_a_sequence_of_another_length(self, seq):
        with pytest.raises(ValueError, match=r"arrays\[0\] must have 10 entries.*it has 3"):
            seq.batches(2, arrays=[seq[:3]])

    @pytest.mark.parametrize("workers", [None, 1, np.int64(3), "threads", "threads:2"])
    def test_threads(self, seq, workers):
        assert np.concatenate(
            [numbers(batch) for batch in seq.batches(4, workers=workers)]
        ).tolist() == list(range(NUMBERED))


class TestErrors:
    def break_files(self, folder, *spoiled):
        for number in spoiled:
            (folder / f"{number}.png").write_text("not a picture")

    @pytest.mark.parametrize("prefetch", [0, 2])
    def test_a_bad_image_raises_at_its_batch_and_the_next_still_come(self, seq, folder, prefetch):
        self.break_files(folder, 3)
        batches = seq.batches(2, prefetch=prefetch)
        assert numbers(next(batches)) == [0, 1]
        with pytest.raises(ChunkReadError, match=r"3\.png") as caught:
            next(batches)
        assert caught.value.path == str(folder / "3.png")
        assert [numbers(batch) for batch in batches] == [[4, 5], [6, 7], [8, 9]]

    def test_skip_leaves_it_out_with_its_row_and_says_so(self, seq, folder):
        self.break_files(folder, 3, 8, 9)
        (folder / "0.png").unlink()
        batches = seq.batches(2, on_error="skip", with_meta=["number"], arrays=[range(NUMBERED)])
        got = [(numbers((images,)), meta.tolist(), more.tolist()) for images, meta, more in batches]
        assert got == [([1],) * 3, ([2],) * 3, ([4, 5],) * 3, ([6, 7],) * 3]
        assert sorted(Path(path).name for path in batches.skipped) == [
            "0.png",
            "3.png",
            "8.png",
            "9.png",
        ]
        assert "not a picture" not in batches.skipped[str(folder / "0.png")]

    def test_skip_goes_for_sequences_read_along(self, seq, folder, tmp_path):
        masks = tmp_path / "masks"
        masks.mkdir()
        for number in range(NUMBERED):
            write_png(masks / f"{number}.png", number_image(number))
        self.break_files(masks, 1)
        got = list(seq.batches(3, arrays=[read_images(masks)], on_error="skip"))
        assert [numbers(batch) for batch in got] == [[0, 2], [3, 4, 5], [6, 7, 8], [9]]
        assert numbers(got[0][1:]) == [0, 2]

    @pytest.mark.parametrize("on_error", ["raise", "skip"])
    def test_an_error_in_a_function_is_never_skipped(self, seq, on_error):
        def fail_on_two(pixels):
            if pixels[0, 0] == 2:
                msg = "a fault of the function"
                raise ValueError(msg)
            return pixels

        batches = seq.map(fail_on_two).batches(2, on_error=on_error)
        next(batches)
        with pytest.raises(ValueError, match="a fault of the function") as caught:
            next(batches)
        assert "2.png" in caught.value.__notes__[0]
        assert numbers(next(batches)) == [4, 5]
        batches.close()

    def test_even_what_would_end_a_thread_comes_out(self, seq):
        def leave(_):
            raise SystemExit

        batches = seq.map(leave).batches(4)
        with pytest.raises(SystemExit):
            next(batches)
        batches.close()

    def test_nothing_is_left_where_all_are_skipped(self):
        skipped = {}
        errors = {0: ChunkReadError("broken", "a.png"), 1: ChunkReadError("gone", "b.png")}
        assert join_batch(np.arange(2), errors, [], columns=[], skipped=skipped) is None
        assert skipped == {"a.png": "broken", "b.png": "gone"}
