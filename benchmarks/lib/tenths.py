"""Memory and speed over the tenths of a long run: whether both stay flat."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.lib.common import spread

TENTHS = 10
GROWTH = 0.02
"""Largest growth of memory from the first tenth to the last that counts as flat."""
SLOWDOWN = 0.05
"""Largest loss of speed from the first tenth to the last that counts as flat."""


@dataclass(frozen=True)
class Measurement:
    """Duration of some batches in seconds, and the megabytes in use after them."""

    seconds: float
    host_mb: float
    device_mb: float | None
    outside_mb: float | None = None
    """Megabytes in use on the GPU that torch's allocator does not count: plans of cuFFT, kernels, other programs."""


def row(number: int, tenth: Sequence[Measurement], crops: int) -> dict[str, Any]:
    """Return the row of a tenth of the run; each measurement is over `crops` crops."""
    device = [found.device_mb for found in tenth if found.device_mb is not None]
    outside = [found.outside_mb for found in tenth if found.outside_mb is not None]
    return {
        "tenth": number,
        "crops_per_s": spread([crops / found.seconds for found in tenth]),
        "host_mb": spread([found.host_mb for found in tenth]),
        "device_mb": spread(device) if device else None,
        "outside_mb": spread(outside) if outside else None,
    }


def flatness(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the last tenth with the first: growth of memory, ratio of speeds, and whether both are flat."""
    first, last = rows[0], rows[-1]
    host = last["host_mb"]["median"] / first["host_mb"]["median"] - 1
    device, outside = (
        last[name]["median"] / first[name]["median"] - 1 if first[name] else 0.0 for name in ("device_mb", "outside_mb")
    )
    rate = last["crops_per_s"]["median"] / first["crops_per_s"]["median"]
    rates = [row["crops_per_s"]["median"] for row in rows]
    return {
        "host_growth": host,
        "device_growth": device,
        "outside_growth": outside,
        "last_rate_over_first": rate,
        "median_crops_per_s": statistics.median(rates),
        "memory_is_flat": max(host, device, outside) <= GROWTH,
        "speed_is_flat": rate >= 1 - SLOWDOWN,
    }
