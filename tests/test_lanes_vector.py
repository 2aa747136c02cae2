"""Vectors of float32 in numba's kernels, compared with numpy lane by lane."""

from fractions import Fraction
from typing import no_type_check

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gtzan_stream.kernels.lane_count import LANES

if not LANES:
    pytest.skip("there are no lanes on this machine, or GTZAN_STREAM_LANES=0", allow_module_level=True)

from gtzan_stream.kernels.vector import (
    broadcast,
    fma,
    integer_at,
    load,
    splat,
    sqrt,
    store,
    where_less,
)  # fmt: skip
from gtzan_stream.kernels.vector_blocks import transpose

F = np.float32
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 3.4028234e38, 1.0, -1.0]
VECTORS = hnp.arrays(F, LANES, elements=st.floats(width=32) | st.sampled_from([F(x).item() for x in SPECIAL]))
OPERATIONS = ("add", "sub", "mul", "div", "neg", "sqrt", "where", "in place")


@numba.njit
@no_type_check
def compute(x, y, z, w, out):
    a, b, c, d = load(x, 0), load(y, 0), load(z, 0), load(w, 0)
    store(out, 0 * LANES, a + b)
    store(out, 1 * LANES, a - b)
    store(out, 2 * LANES, a * b)
    store(out, 3 * LANES, a / b)
    store(out, 4 * LANES, -a)
    store(out, 5 * LANES, sqrt(a))
    store(out, 6 * LANES, where_less(a, b, c, d))
    a += b
    a *= c
    a -= d
    a /= b
    store(out, 7 * LANES, a)


@numba.njit
@no_type_check
def multiply_add(x, y, z, out):
    store(out, 0, fma(load(x, 0), load(y, 0), load(z, 0)))


@numba.njit
@no_type_check
def move(numbers, indices, position, out):
    store(out, position, load(numbers, position))
    store(out, position + LANES, broadcast(numbers, integer_at(indices, 1)))
    store(out, position + 2 * LANES, splat(numbers[3]))


@numba.njit
@no_type_check
def turn(source, position, stride, target, to, step):
    transpose(source, position, stride, target, to, step)


def same_bits(got: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether two arrays of float32 are equal in all bits; any NaN equals any other."""
    both = np.isnan(got) & np.isnan(expected)
    return bool(((got.view(np.int32) == expected.view(np.int32)) | both).all())


@given(VECTORS, VECTORS, VECTORS, VECTORS)
def test_operations_equal_those_of_numpy_in_every_lane(x, y, z, w):
    out = np.zeros((len(OPERATIONS), LANES), F)
    compute(x, y, z, w, out.reshape(-1))
    with np.errstate(all="ignore"):
        expected = [
            x + y, x - y, x * y, x / y, -x, np.sqrt(x),
            np.where(x < y, z, w),
            ((x + y) * z - w) / y,
        ]  # fmt: skip
    for name, got, right in zip(OPERATIONS, out, expected, strict=True):
        assert same_bits(got, right), (name, x, y, got, right)


@given(VECTORS, VECTORS, VECTORS)
@np.errstate(all="ignore")
def test_a_fused_multiply_add_is_rounded_once(x, y, z):
    out = np.zeros(LANES, F)
    multiply_add(x, y, z, out)
    for got, *numbers in zip(out, x, y, z, strict=True):
        a, b, c = map(float, numbers)
        if not np.isfinite(numbers).all():
            assert same_bits(got, F(a * b + c))
            continue
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        if not np.isfinite(got):  # above the largest float32, or so near that it is rounded up
            assert np.sign(got) * exact >= Fraction(2) ** 128 - Fraction(2) ** 103
            continue
        neighbours = np.nextafter(got, F([-np.inf, np.inf])).astype(float)
        error = abs(Fraction(float(got)) - exact)
        assert all(error <= abs(Fraction(n) - exact) for n in neighbours if np.isfinite(n)), (got, numbers)


@pytest.mark.parametrize("position", [0, 1, 3, LANES + 1])
def test_positions_need_not_be_aligned(position):
    numbers, indices = np.random.default_rng(0).standard_normal(64).astype(F), np.array([5, 7])
    for kind in (np.int32, np.int64):
        out = np.zeros(96, F)
        move(numbers, indices.astype(kind), position, out)
        expected = np.zeros(96, F)
        expected[position : position + 3 * LANES] = np.r_[
            numbers[position : position + LANES], np.full(LANES, numbers[7]), np.full(LANES, numbers[3])
        ]
        assert np.array_equal(out, expected)


@given(st.integers(0, 5), st.integers(LANES, 40), st.integers(0, 5), st.integers(LANES, 40))
def test_a_block_is_transposed_and_nothing_else_is_written(position, stride, to, step):
    source = np.arange(1, 41 * LANES + 1, dtype=F)
    target = np.zeros(41 * LANES, F)
    turn(source, position, stride, target, to, step)
    expected = np.zeros(41 * LANES, F)
    for i in range(LANES):
        for j in range(LANES):
            expected[to + i * step + j] = source[position + j * stride + i]
    assert np.array_equal(target, expected)


@pytest.mark.parametrize(
    "wrong", [np.zeros(64), np.zeros((8, 8), F), np.zeros(128, F)[::2]], ids=["dtype", "2d", "gaps"]
)
def test_other_arrays_are_refused_when_a_kernel_is_compiled(wrong):
    right = np.zeros(64, F)
    with pytest.raises(numba.TypingError):
        multiply_add(wrong, right, right, right)
    with pytest.raises(numba.TypingError):
        multiply_add(right, right, right, wrong)
    with pytest.raises(numba.TypingError):
        turn(wrong, 0, LANES, right, 0, LANES)
    with pytest.raises(numba.TypingError):
        move(wrong, np.arange(3), 0, right)
    with pytest.raises(numba.TypingError):
        move(right, np.arange(3.0), 0, right)
