"""Philox compared with its published vectors, and the statistics of uniform numbers and noise."""

import numpy as np
import pytest
import torch
from scipy import stats

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.philox import philox, philox_torch
from gtzan_stream.dsp.random import hash_key, hash_keys, normal, rng, uniform
from tests.conftest import no_synchronisation, without_numba

VECTORS = [  # from kat_vectors of Random123, philox4x32 with 10 rounds: counter, key, result
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_philox_known_answers(counter, key, result):
    assert philox(words(counter), words(key)).tolist() == words(result).tolist()


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_philox_in_torch_gives_the_same(counter, key, result):
    counters = [torch.tensor([int(word)]) for word in words(counter)]
    got = philox_torch(*counters, (int(words(key)[0]), int(words(key)[1])))
    assert [int(word) for word in got] == words(result).tolist()


def test_hashes_never_change():
    """Shards contain key hashes and resumed runs compute them again, so these numbers must never change."""
    assert hash_key("blues_00000") == 0x25609ECE766B80F6
    assert hash_keys(["blues_00000", "x"]).tolist() == [hash_key("blues_00000"), hash_key("x")]
    assert rng(0, 0, "order") == 0x5279AD9A78A40ECA


def test_keys_of_all_names_seeds_and_epochs_differ():
    names = {rng(s, e, n) for s in range(20) for e in range(20) for n in ("gain", "noise", "order", "1,order")}
    assert len(names) == 20 * 20 * 4


def test_uniform_is_uniform_and_independent_of_its_neighbours():
    keys, crops = hash_keys(f"clip_{i // 8:05d}" for i in range(40_000)), np.arange(40_000) % 8
    u = uniform(rng(0, 0, "gain"), keys, crops, 3)
    assert u.shape == (40_000, 3)
    assert u.dtype == np.float64
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    others = [uniform(rng(0, 1, "gain"), keys, crops), uniform(rng(1, 0, "gain"), keys, crops), np.roll(u, 1, 0)]
    columns = np.column_stack([u, *others])
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(len(u))


def test_a_row_of_uniform_numbers_does_not_depend_on_its_batch():
    keys, crops = hash_keys(["a", "b", "c"]), np.array([3, 0, 2])
    together = uniform(9, keys, crops, 5)
    for i in range(3):
        assert np.array_equal(uniform(9, keys[i : i + 1], crops[i : i + 1], 5)[0], together[i])
    assert np.array_equal(uniform(9, keys, crops, 2), together[:, :2])
    assert uniform(9, keys[:0], crops[:0], 2).shape == (0, 2)


KEYS, CROPS = hash_keys(["a", "a", "b", "c"]), np.array([0, 1, 0, 2**32 - 1])


def test_compiled_and_plain_draws_are_the_same():
    keys, crops = hash_keys(map(str, range(50))), np.arange(50) * 7
    for n in (1, 2, 5):
        with without_numba():
            plain = uniform(2**63 + 5, keys, crops, n)
        assert np.array_equal(uniform(2**63 + 5, keys, crops, n), plain)


@pytest.mark.parametrize("name", ["torch", "triton"])
def test_a_forced_backend_does_not_change_how_draws_are_made(name, monkeypatch):
    drawn = uniform(7, KEYS, CROPS, 3)
    monkeypatch.setattr("gtzan_stream.dsp.random.philox", None)  # what draws without numba call
    with force(name):
        assert np.array_equal(uniform(7, KEYS, CROPS, 3), drawn)


def test_noise_is_gaussian_and_white():
    noise = normal(rng(0, 0, "noise"), KEYS, CROPS, 100_000).double()
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    assert noise.mean().abs() < 5 / np.sqrt(noise.numel())
    assert (noise.var() - 1).abs() < 5 * np.sqrt(2 / noise.numel())
    spectrum = torch.fft.rfft(noise[0])[1:].abs().square() / noise.shape[1]
    assert stats.kstest(spectrum[:-1].numpy(), "expon").pvalue > 1e-3
    for lag in (1, 2, 255, 256, 257, 512, 768, 1024):  # 256 lanes a tile, four words a lane
        assert (noise[0, lag:] * noise[0, :-lag]).mean().abs() < 5 / np.sqrt(noise.shape[1])


def test_noise_of_different_examples_seeds_and_epochs_is_not_correlated():
    rows = [normal(rng(s, e, "noise"), KEYS, CROPS, 50_000) for s, e in ((0, 0), (0, 1), (1, 0))]
    correlation = torch.corrcoef(torch.cat(rows)) - torch.eye(12)
    assert correlation.abs().max() < 5 / np.sqrt(50_000)


@pytest.mark.parametrize("length", [0, 1, 255, 1024, 1025, 5000])
def test_noise_depends_on_example_and_position_only(length):
    batch = normal(3, KEYS, CROPS, length)
    assert batch.shape == (4, length)
    assert torch.equal(normal(3, KEYS, CROPS, 6000)[:, :length], batch)
    assert torch.equal(normal(3, KEYS[2:3], CROPS[2:3], length)[0], batch[2])


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_noise_has_a_standard_deviation_for_each_example(backend):
    std = np.array([0, 0.005, 1, 2])
    with force(backend):
        noise = normal(3, KEYS, CROPS, 5000, std=std)
        standard = normal(3, KEYS, CROPS, 5000)
    torch.testing.assert_close(noise, standard * torch.from_numpy(std).float()[:, None])


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_the_smallest_word_gives_the_largest_noise(backend):
    """The counters of these crops give words below 256, the logarithm's limit, in the first and in the second pair."""
    crops = np.array([13_222_856, 11_655_894])
    with force(backend):
        noise = normal(3, hash_keys(["a", "a"]), crops, 1024).double()
    assert torch.hypot(noise[0, 0], noise[0, 256]) == pytest.approx(np.sqrt(48 * np.log(2)), rel=1e-5)
    assert torch.hypot(noise[1, 512], noise[1, 768]) == pytest.approx(np.sqrt(48 * np.log(2)), rel=1e-5)


def test_noise_of_an_empty_batch():
    assert normal(3, KEYS[:0], CROPS[:0], 10).shape == (0, 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plain_and_compiled_noise_agree_with_float64(dtype):
    with force("torch"):
        plain = normal(3, KEYS, CROPS, 300_001, dtype=dtype)
    exact = normal(3, KEYS, CROPS, 300_001, dtype=torch.float64)
    assert plain.dtype == dtype
    assert (plain - exact).abs().max() < 1e-5
    assert (normal(3, KEYS, CROPS, 300_001) - exact).abs().max() < 1e-5


def test_noise_keeps_half_precision():
    assert normal(3, KEYS, CROPS, 10, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_noise_on_cuda_is_the_same_without_a_sync(cuda):
    normal(3, KEYS, CROPS, 5000, device=cuda)
    with no_synchronisation():
        noise = normal(3, KEYS, CROPS, 100_001, device=cuda)
    assert (noise.cpu() - normal(3, KEYS, CROPS, 100_001)).abs().max() < 1e-5
