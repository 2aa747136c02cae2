"""Philox against its published vectors, the permutation as a permutation, the noise as Gaussian noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gtzan_stream.dsp.random import hash_key, hash_keys, permute, philox, stream, uniform

VECTORS = [  # kat_vectors of Random123: counter, key, result of philox4x32 with 10 rounds
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_philox_known_answers(counter, key, result):
    assert philox(words(counter), words(key)).tolist() == words(result).tolist()


def test_hashes_are_fixed_for_good():
    """Shards hold key hashes and runs resume by them: these numbers may never change."""
    assert hash_key("blues_00000") == 0x25609ECE766B80F6
    assert hash_keys(["blues_00000", "x"]).tolist() == [hash_key("blues_00000"), hash_key("x")]
    assert stream(0, 0, "order") == 0x5279AD9A78A40ECA


def test_streams_of_all_names_seeds_and_epochs_differ():
    names = {stream(s, e, n) for s in range(20) for e in range(20) for n in ("gain", "noise", "order", "1,order")}
    assert len(names) == 20 * 20 * 4


def test_uniform_is_uniform_and_independent_of_its_neighbours():
    keys, crops = hash_keys(f"clip_{i // 8:05d}" for i in range(40_000)), np.arange(40_000) % 8
    u = uniform(stream(0, 0, "gain"), keys, crops, 3)
    assert u.shape == (40_000, 3)
    assert u.dtype == np.float64
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    others = [uniform(stream(0, 1, "gain"), keys, crops), uniform(stream(1, 0, "gain"), keys, crops), np.roll(u, 1, 0)]
    columns = np.column_stack([u, *others])
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(len(u))


def test_uniform_rows_depend_on_nothing_but_their_sample():
    keys, crops = hash_keys(["a", "b", "c"]), np.array([3, 0, 2])
    together = uniform(9, keys, crops, 5)
    for i in range(3):
        assert np.array_equal(uniform(9, keys[i : i + 1], crops[i : i + 1], 5)[0], together[i])
    assert np.array_equal(uniform(9, keys, crops, 2), together[:, :2])
    assert uniform(9, keys[:0], crops[:0], 2).shape == (0, 2)


@given(n=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_permutation(n, key):
    assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


@given(n=st.integers(1, 2**63 - 1), key=st.integers(0, 2**64 - 1), data=st.data())
@settings(max_examples=60, deadline=None)
def test_permute_is_one_to_one_however_large(n, key, data):
    index = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=50, unique=True)), np.uint64)
    place = permute(index, n, key)
    assert place.dtype == np.uint64
    assert len(np.unique(place)) == len(index)
    assert all(int(p) < n for p in place)


def test_permute_keeps_dtype_and_evaluates_anywhere_alone():
    whole = permute(np.arange(1000), 1000, 5)
    assert whole.dtype == np.int64
    assert permute(np.array([417]), 1000, 5)[0] == whole[417]


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_every_order_of_a_few_is_as_likely(n):
    orders = [tuple(permute(np.arange(n), n, stream(seed, 0, "order"))) for seed in range(3000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    n_orders = int(np.prod(np.arange(1, n + 1)))
    assert len(counts) == n_orders
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("n", [10, 16, 37, 100])
def test_every_item_is_as_likely_in_every_place(n):
    places = np.stack([permute(np.arange(n), n, stream(0, epoch, "order")) for epoch in range(1500)])
    for item in (0, 1, n // 2, n - 1):
        assert stats.chisquare(np.bincount(places[:, item], minlength=n)).pvalue > 1e-4
    distance = (places[:, 1] - places[:, 0]) % n  # neighbours do not stay together
    assert stats.chisquare(np.bincount(distance, minlength=n)[1:]).pvalue > 1e-4


def test_orders_of_two_epochs_have_no_more_in_common_than_chance():
    n = 100_000
    first, second = (permute(np.arange(n), n, stream(0, epoch, "order")) for epoch in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(n)
    assert (first == second).sum() < 10
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("n", [0, 2**63])
def test_permute_refuses_sizes_out_of_range(n):
    with pytest.raises(ValueError, match="n must be in"):
        permute(np.arange(1), n, 0)


@pytest.mark.parametrize("index", [[-1], [7]])
def test_permute_refuses_indices_out_of_range(index):
    with pytest.raises(ValueError, match=r"indices must be in 0 \.\. 6"):
        permute(np.array(index), 7, 0)
