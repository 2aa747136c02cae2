"""Check that memory and speed stay flat over 10,000 batches: ``python benchmarks/soak.py --shards shards/``.

Epochs are as long as in training, so a leak in each epoch adds up. Time and memory are measured a hundred times during
the run and summarised for each tenth of it.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import tables
from benchmarks.lib.common import Device, Shards, run, save, show, wait
from benchmarks.lib.figures import flatness as describe_flatness
from benchmarks.lib.memory import memory_mb
from benchmarks.lib.rates import endless
from benchmarks.lib.tenths import TENTHS, Measurement, flatness, row
from gtzan_stream.loader import Loader
from gtzan_stream.training.device import find

MEASUREMENTS_PER_TENTH = 10
WARM_UP = 100
"""Batches before the first measurement, in which kernels are compiled, threads started and caches filled."""


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
