"""Running medians in lanes, compared bit for bit with sorting, with scipy and with the kernel without lanes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from gtzan_stream.dsp.median import median_filter
from gtzan_stream.kernels import numba_median
from gtzan_stream.kernels.lane_count import LANES

if not LANES:
    pytest.skip("there are no lanes on this machine, or GTZAN_STREAM_LANES=0", allow_module_level=True)

from gtzan_stream.kernels import lanes_median
from gtzan_stream.kernels.lanes_median import LARGEST

F = np.float32
ROWS = [1, 2, 7, 15, 16, 17, 31, 33, 60, 200]
COLUMNS = [1, LANES - 1, LANES, LANES + 1, 40]
SPECIAL = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4028234e38, 1.0, -1.0]
SIGNALS = hnp.arrays(
    F,
    st.tuples(st.integers(1, 40), st.integers(1, 20)),
    elements=st.sampled_from([F(x).item() for x in SPECIAL]) | st.floats(width=32),
)


def medians(x: np.ndarray, size: int, *, transposed: bool = False) -> np.ndarray:
    """Return medians along axis 0, from scratch memory full of NaN, of which no number too many is written."""
    needed = lanes_median.scratch_size(x.shape, size)
    memory = np.full(needed + LANES, np.nan, F)
    around = np.full((x.size + 2 * LANES), 7, F)
    out = around[LANES:-LANES]
    out = out.reshape(x.shape[::-1]).T if transposed else out.reshape(x.shape)
    lanes_median.median_columns(x, size, memory[:needed], out)
    assert np.isnan(memory[needed:]).all()
    assert (around[:LANES] == 7).all()
    assert (around[-LANES:] == 7).all()
    return out


def keys(x: np.ndarray) -> np.ndarray:
    """Return integers in the order of the numbers: -NaN, -infinity, ..., -0, 0, ..., infinity, NaN."""
    bits = x.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF) - 1)


def sorted_medians(x: np.ndarray, size: int) -> np.ndarray:
    """Return the keys of the middle ones of all sorted windows of the mirrored rows."""
    padded = np.pad(keys(x), ((size // 2, size // 2), (0, 0)), mode="symmetric")
    return np.sort(np.lib.stride_tricks.sliding_window_view(padded, size, axis=0), axis=-1)[..., size // 2]


@pytest.mark.parametrize("size", [1, 3, 5, 9, 17, 31, 33, LARGEST])
def test_all_shapes_and_layouts_equal_sorting_bit_for_bit(size):
    rng = np.random.default_rng(size)
    for n in ROWS:
        for m in COLUMNS:
            x = rng.standard_normal((n, m)).astype(F)
            expected = sorted_medians(x, size)
            for layout in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
                before = layout.copy()
                for transposed in (False, True):
                    got = keys(medians(layout, size, transposed=transposed))
                    assert np.array_equal(got, expected), (n, m, transposed)
                assert np.array_equal(layout, before)


def test_the_last_step_reads_no_row_that_does_not_exist():
    for size in (1, 3, 5, 9, 17, 31, LARGEST):
        n_at_once = lanes_median.medians_at_once(size)
        assert n_at_once <= size
        for n in range(1, 70):
            first = (n - 1) // n_at_once * n_at_once  # row of the last step
            assert lanes_median.rows_needed(n, size) == first + n_at_once + size - 1


@given(SIGNALS, st.sampled_from([3, 31]))
def test_zeros_equal_values_infinities_and_nan_equal_sorting_bit_for_bit(x, size):
    expected = sorted_medians(x, size)
    for transposed in (False, True):
        assert np.array_equal(keys(medians(x, size, transposed=transposed)), expected)


@pytest.mark.parametrize("shape", [(31, 40), (138, 1025), (1025, 33)])
def test_results_equal_scipy_and_the_kernel_without_lanes(shape):
    """Not below 31 rows, where scipy 1.17 reads beyond the end of its buffer if the window is much longer."""
    x = np.random.default_rng(0).exponential(size=shape).astype(F)
    x[10:20, :20] = 0
    x[5, 7] = np.inf
    other = np.empty_like(x)
    numba_median.median_columns(x, 31, other)
    assert np.array_equal(medians(x, 31), other)
    assert np.array_equal(medians(x, 31), ndimage.median_filter(x, (31, 1), mode="reflect"))


@pytest.mark.parametrize("number", [np.nan, -np.nan, np.inf])
def test_a_number_changes_only_the_medians_of_windows_that_contain_it(number):
    x = np.random.default_rng(1).exponential(size=(100, 40)).astype(F)
    x[50, 20] = 9 if np.signbit(number) else 0  # at the other end of the order
    expected = medians(x, 31)
    x[50, 20] = number
    for transposed in (False, True):
        changed = medians(x, 31, transposed=transposed) != expected
        assert changed.any()
        assert not changed[:, np.arange(40) != 20].any()
        assert not changed[[*range(35), *range(66, 100)]].any()


def test_median_filter_uses_the_lanes_where_it_can(monkeypatch):
    used = []
    kernel = lanes_median.median_columns

    def spy(x, size, memory, out):
        used.append((size, out.flags.c_contiguous))
        kernel(x, size, memory, out)

    monkeypatch.setattr(lanes_median, "median_columns", spy)
    x = torch.rand(1, 70, 60)
    for size in (31, LARGEST, LARGEST + 2):
        for axis in (1, 2):
            expected = sorted_medians(np.moveaxis(x.numpy()[0], axis - 1, 0).copy(), size)
            got = np.moveaxis(median_filter(x, size, axis).numpy()[0], axis - 1, 0)
            assert np.array_equal(keys(got.copy()), expected)
    assert used == [(31, True), (31, False), (LARGEST, True), (LARGEST, False)]


@pytest.mark.parametrize("axis", [1, 2])
def test_median_filter_accepts_every_layout(axis):
    x = torch.rand(3, 70, 60)
    expected = median_filter(x, 5, axis)
    layouts = [x.transpose(1, 2).contiguous().transpose(1, 2), x.permute(1, 2, 0).contiguous().permute(2, 0, 1)]
    layouts += [torch.repeat_interleave(x, 2, 2)[:, :, ::2], torch.repeat_interleave(x, 2, 0)[::2]]
    for layout in layouts:
        assert torch.equal(layout, x)
        assert torch.equal(median_filter(layout, 5, axis), expected)
    assert torch.equal(median_filter(x[:1].expand(2, -1, -1), 5, axis), expected[:1].expand(2, -1, -1))
