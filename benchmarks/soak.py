"""Check that memory and speed stay flat over 10,000 batches: ``python benchmarks/soak.py --shards shards/``.

Epochs are as long as in training, so a leak in each epoch adds up. Time and memory are measured a hundred times during
the run and summarised for each tenth of it.
"""

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import tables
from benchmarks.lib.common import Device, Shards, run, save, show, spread, wait
from benchmarks.lib.figures import flatness as describe_flatness
from benchmarks.lib.memory import memory_mb
from benchmarks.lib.rates import endless
from gtzan_stream.loader import Loader
from gtzan_stream.training.device import find

TENTHS = 10
MEASUREMENTS_PER_TENTH = 10
WARM_UP = 100
"""Batches before the first measurement, in which kernels are compiled, threads started and caches filled."""
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


def device_memory_mb(device: torch.device) -> tuple[float | None, float | None]:
    """Return the megabytes that torch has reserved on a GPU, and those in use outside of torch; None on the CPU."""
    if device.type != "cuda":
        return None, None
    free, total = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device)
    return reserved / 1e6, (total - free - reserved) / 1e6


def measure(batches: Iterator[Any], n_batches: int, device: torch.device) -> Iterator[list[Measurement]]:
    """Consume the batches and yield the measurements of each tenth of them."""
    step = max(1, n_batches // (TENTHS * MEASUREMENTS_PER_TENTH))
    for _ in range(TENTHS):
        tenth = []
        for _ in range(MEASUREMENTS_PER_TENTH):
            start = time.perf_counter()
            for _ in range(step):
                next(batches)
            wait(device)
            tenth.append(Measurement(time.perf_counter() - start, memory_mb(), *device_memory_mb(device)))
        yield tenth


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


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    batches: Annotated[int, typer.Option(help="Number of batches to consume.")] = 10_000,
    batch_size: Annotated[int, typer.Option(help="Number of crops in a batch.")] = 16,
    augment: Annotated[str, typer.Option(help="Augmentation recipe.")] = "study",
) -> None:
    """Consume many batches and write benchmarks/results/soak-*.json."""
    device = find(device_name)
    crops = max(1, batches // (TENTHS * MEASUREMENTS_PER_TENTH)) * batch_size
    with Loader(shards, augment=augment, batch_size=batch_size, device=device) as loader:
        taken = endless(loader)
        for _ in range(WARM_UP):
            next(taken)
        rows = [row(i, tenth, crops) for i, tenth in enumerate(measure(taken, batches, device), start=1)]
    show(f"{batches:,} batches of {batch_size}, recipe {augment}, {device}", *tables.soak(rows))
    found = flatness(rows)
    print(describe_flatness(found))
    settings = {
        "batches": batches,
        "batches_an_epoch": len(loader),
        "batch_size": batch_size,
        "augment": augment,
        **found,
    }
    print(f"written to {save('soak', device, settings, rows)}")


if __name__ == "__main__":
    run(main)
