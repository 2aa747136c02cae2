"""Running median on CUDA: every thread walks down one column with its window sorted in registers."""

from typing import no_type_check

import torch
import triton
import triton.language as tl

RUN = 64  # medians a thread makes, after filling its window once
LANES = 128


@triton.jit
@no_type_check
def _reflect(i, n):
    i = i % (2 * n)
    i = tl.where(i < 0, i + 2 * n, i)
    return tl.where(i < n, i, 2 * n - 1 - i)


@triton.jit
@no_type_check
def _replace(window, old, new, SIZE: tl.constexpr):
    """Delete `old` from the sorted window, put in `new`: each place looks only at its neighbours."""
    below = tl.full(old.shape, float("-inf"), tl.float32)
    result = ()
    for i in tl.static_range(SIZE - 1):
        kept = tl.where(window[i] >= old, window[i + 1], window[i])
        result = result + (tl.maximum(below, tl.minimum(kept, new)),)  # noqa: RUF005
        below = kept
    return result + (tl.maximum(below, new),)  # noqa: RUF005


@triton.jit
@no_type_check
def _median(x, out, n, m, SIZE: tl.constexpr, RUN: tl.constexpr, LANES: tl.constexpr):
    """Along the first of the two axes of each [n, m] plane."""
    column = tl.program_id(0) * LANES + tl.arange(0, LANES)
    first = tl.program_id(1) * RUN
    plane = tl.program_id(2).to(tl.int64) * n * m
    inside = column < m
    infinity = tl.full([LANES], float("inf"), tl.float32)
    window = ()
    for _ in tl.static_range(SIZE):
        window = window + (infinity,)  # noqa: RUF005
    for i in range(SIZE - 1):
        row = _reflect(first - SIZE // 2 + i, n)
        new = tl.load(x + plane + row * m + column, mask=inside, other=0.0)
        window = _replace(window, infinity, new, SIZE)
    old = infinity
    for i in range(RUN):  # a bound from a tensor would stop Triton's interpreter
        row = first + i
        new = tl.load(x + plane + _reflect(row + SIZE // 2, n) * m + column, mask=inside, other=0.0)
        window = _replace(window, old, new, SIZE)
        tl.store(out + plane + row * m + column, window[SIZE // 2], mask=inside & (row < n))
        old = tl.load(x + plane + _reflect(row - SIZE // 2, n) * m + column, mask=inside, other=0.0)


@no_type_check
def median_columns(x: torch.Tensor, size: int, out: torch.Tensor) -> None:
    """Running median of `size`, odd, along axis 1 of contiguous float32 [batch, n, m], reflected at the ends."""
    batch, n, m = x.shape
    grid = (triton.cdiv(m, LANES), triton.cdiv(n, RUN), batch)
    if x.numel():
        with torch.cuda.device_of(x):
            _median[grid](x, out, n, m, SIZE=size, RUN=RUN, LANES=LANES, num_warps=4)
