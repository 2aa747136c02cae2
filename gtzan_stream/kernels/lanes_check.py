"""A small test of vectors on this machine, compared with numpy."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector import broadcast, fma, load, splat, sqrt, store
from gtzan_stream.kernels.vector_blocks import transpose


@compiled()
@no_type_check
def _sums(signals, weights, in_lanes, out):
    """Transpose L `signals` of L elements, and fill `out` with the root of each one's weighted sum of squares."""
    transpose(signals, 0, LANES, in_lanes, 0, LANES)
    total = splat(np.float32(0))
    for i in range(LANES):
        x = load(in_lanes, i * LANES)
        total = fma(broadcast(weights, i), x * x, total)
    store(out, 0, sqrt(total))


def check() -> None:
    """Raise an error if vectors cannot be compiled here, or give other results than numpy."""
    numbers = np.arange(LANES * LANES, dtype=np.float32).reshape(LANES, LANES)
    weights = np.linspace(0, 1, LANES, dtype=np.float32)
    in_lanes, out = np.empty(LANES * LANES, np.float32), np.empty(LANES, np.float32)
    _sums(numbers.reshape(-1), weights, in_lanes, out)
    expected = np.sqrt(numbers.astype(np.float64) ** 2 @ weights)
    if not np.array_equal(in_lanes.reshape(LANES, LANES), numbers.T) or not np.allclose(out, expected, rtol=1e-6):
        raise ArithmeticError("they give wrong results")
