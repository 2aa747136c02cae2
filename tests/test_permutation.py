"""`permute` is a permutation for every size and key, can be evaluated at any index alone, and shows no pattern."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.random import rng
from gtzan_stream.permutation import permute
from tests.conftest import without_numba


@given(n=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_permutation(n, key):
    assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


@given(n=st.integers(1, 2**63 - 1), key=st.integers(0, 2**64 - 1), data=st.data())
@settings(max_examples=60, deadline=None)
def test_permute_is_one_to_one_at_any_size(n, key, data):
    index = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=50, unique=True)), np.uint64)
    values = permute(index, n, key)
    assert values.dtype == np.uint64
    assert len(np.unique(values)) == len(index)
    assert all(int(value) < n for value in values)


def test_permute_keeps_the_dtype_and_evaluates_any_index_alone():
    whole = permute(np.arange(1000), 1000, 5)
    assert whole.dtype == np.int64
    assert permute(np.array([417]), 1000, 5)[0] == whole[417]


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_all_orders_of_a_few_examples_are_equally_likely(n):
    orders = [tuple(permute(np.arange(n), n, rng(seed, 0, "order"))) for seed in range(3000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    n_orders = int(np.prod(np.arange(1, n + 1)))
    assert len(counts) == n_orders
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("n", [10, 16, 37, 100])
def test_every_index_is_equally_likely_to_go_anywhere(n):
    orders = np.stack([permute(np.arange(n), n, rng(0, epoch, "order")) for epoch in range(1500)])
    for index in (0, 1, n // 2, n - 1):
        assert stats.chisquare(np.bincount(orders[:, index], minlength=n)).pvalue > 1e-4
    distance = (orders[:, 1] - orders[:, 0]) % n  # neighbours do not stay together
    assert stats.chisquare(np.bincount(distance, minlength=n)[1:]).pvalue > 1e-4


def test_orders_of_two_epochs_are_uncorrelated():
    n = 100_000
    first, second = (permute(np.arange(n), n, rng(0, epoch, "order")) for epoch in (0, 1))
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


def test_compiled_and_plain_permutations_are_equal():
    for n in (1, 2, 3, 33, 1000, 10**6 + 3, 2**63 - 1):
        index = np.unique([i * (n - 1) // 40 for i in range(41)]).astype(np.int64)
        with without_numba():
            plain = permute(index, n, 2**63 + 5)
        assert plain.dtype == index.dtype
        assert np.array_equal(permute(index, n, 2**63 + 5), plain)


@pytest.mark.parametrize("name", ["torch", "triton"])
def test_a_forced_backend_does_not_change_how_orders_are_made(name, monkeypatch):
    order = permute(np.arange(99), 99, 5)
    monkeypatch.setattr("gtzan_stream.permutation._feistel", None)  # what orders without numba call
    with force(name):
        assert np.array_equal(permute(np.arange(99), 99, 5), order)
