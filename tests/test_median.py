"""The running median compared with scipy's, bit for bit, on every backend."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.median import median_filter

SHAPES = [(1, 1, 1), (2, 1, 40), (1, 5, 7), (3, 65, 64), (1, 200, 129), (0, 4, 4)]


def scipy_median(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    sizes = [1, 1, 1]
    sizes[axis] = size
    return ndimage.median_filter(x, sizes, mode="reflect")


@pytest.mark.parametrize("name", ["torch", "numba"])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 31])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scipy_bit_for_bit(rng, name, axis, size, shape):
    x = rng.exponential(size=shape).astype(np.float32)
    before = x.copy()
    with force(name):
        got = median_filter(torch.from_numpy(x), size, axis)
    assert np.array_equal(got.numpy(), scipy_median(x, size, axis))
    assert np.array_equal(x, before)


@pytest.mark.parametrize("name", ["torch", "numba"])
def test_ties_zeros_negative_numbers_and_infinities(rng, name):
    x = rng.integers(-2, 3, (2, 80, 70)).astype(np.float32)
    x[0, 30:50] = 0
    x[1, ::7] = np.inf
    with force(name):
        for axis in (-1, -2):
            assert np.array_equal(median_filter(torch.from_numpy(x), 31, axis).numpy(), scipy_median(x, 31, axis))


def test_the_plain_version_accepts_float64(rng):
    x = rng.standard_normal((1, 40, 50))
    assert np.array_equal(median_filter(torch.from_numpy(x), 17, 2).numpy(), scipy_median(x, 17, 2))


def test_any_memory_layout_is_accepted(rng):
    x = torch.from_numpy(rng.standard_normal((2, 90, 40)).astype(np.float32)).transpose(1, 2)
    assert torch.equal(median_filter(x, 5, 2), median_filter(x.contiguous(), 5, 2))


@pytest.mark.parametrize(
    ("size", "axis", "message"),
    [(4, 1, "odd"), (0, 1, "odd"), (-3, 1, "odd"), (3, 0, "axis must be"), (3, 1, "at least one value")],
)
def test_bad_arguments(size, axis, message):
    with pytest.raises(ValueError, match=message):
        median_filter(torch.zeros(1, 0, 5), size, axis)


@pytest.mark.parametrize("axis", [1, 2])
def test_cuda_is_exact(rng, cuda, axis):
    x = rng.exponential(size=(2, 1025, 300)).astype(np.float32)
    assert np.array_equal(
        median_filter(torch.from_numpy(x).to(cuda), 31, axis).cpu().numpy(), scipy_median(x, 31, axis)
    )
