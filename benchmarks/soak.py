"""Whether memory and speed stay flat: ``python benchmarks/soak.py --shards shards/`` takes 10,000 batches.

Epochs are as long as a trainer's, since what is kept of each of them adds up. Sampled a hundred times on the way, and
summed up by tenths.
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

from benchmarks.common import Device, Shards, run, save, show, spread, wait
from benchmarks.memory import memory_mb
from benchmarks.streams import endless
from gtzan_stream.loader import Loader
from gtzan_stream.training.device import find

TENTHS = 10
SAMPLES_PER_TENTH = 10
WARM_UP = 100
"""Batches before the first sample: compilation, thread pools, and the allocator's own stores."""
GROWTH = 0.02
"""Of memory, from the first tenth to the last, that still counts as flat."""
SLOWDOWN = 0.05
"""Of the rate, likewise."""


@dataclass(frozen=True)
class Sample:
    """A moment: after so many batches, seconds since the sample before, and megabytes in use."""

    seconds: float
    host_mb: float
    device_mb: float | None


def samples(batches: Iterator[Any], n_batches: int, device: torch.device) -> Iterator[list[Sample]]:
    """Consume the batches; a list of samples for each tenth of them."""
    step = max(1, n_batches // (TENTHS * SAMPLES_PER_TENTH))
    for _ in range(TENTHS):
        tenth = []
        for _ in range(SAMPLES_PER_TENTH):
            start = time.perf_counter()
            for _ in range(step):
                next(batches)
            wait(device)
            cuda = torch.cuda.memory_reserved(device) / 1e6 if device.type == "cuda" else None
            tenth.append(Sample(time.perf_counter() - start, memory_mb(), cuda))
        yield tenth


def row(number: int, tenth: Sequence[Sample], crops: int) -> dict[str, Any]:
    """A tenth of the run, `crops` of them in each of its samples."""
    device = [sample.device_mb for sample in tenth if sample.device_mb is not None]
    return {
        "tenth": number,
        "crops_per_s": spread([crops / sample.seconds for sample in tenth]),
        "host_mb": spread([sample.host_mb for sample in tenth]),
        "device_mb": spread(device) if device else None,
    }


def flatness(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last tenth against the first: growth of memory, the rate's ratio, and whether that is flat."""
    first, last = rows[0], rows[-1]
    host = last["host_mb"]["median"] / first["host_mb"]["median"] - 1
    device = last["device_mb"]["median"] / first["device_mb"]["median"] - 1 if first["device_mb"] else 0.0
    rate = last["crops_per_s"]["median"] / first["crops_per_s"]["median"]
    rates = [row["crops_per_s"]["median"] for row in rows]
    return {
        "host_growth": host,
        "device_growth": device,
        "last_rate_over_first": rate,
        "median_crops_per_s": statistics.median(rates),
        "memory_is_flat": host <= GROWTH and device <= GROWTH,
        "speed_is_flat": rate >= 1 - SLOWDOWN,
    }


def main(
    shards: Shards = Path("shards"),
    device: Device = "auto",
    batches: Annotated[int, typer.Option(help="Batches to take.")] = 10_000,
    batch_size: Annotated[int, typer.Option(help="Crops in each.")] = 16,
    augment: Annotated[str, typer.Option(help="Recipe.")] = "study",
) -> None:
    """Take many batches and write benchmarks/results/soak-*.json."""
    place = find(device)
    loader = Loader(shards, augment=augment, batch_size=batch_size, device=place)
    stream = endless(loader)
    for _ in range(WARM_UP):
        next(stream)
    crops = max(1, batches // (TENTHS * SAMPLES_PER_TENTH)) * batch_size
    rows = [row(i, tenth, crops) for i, tenth in enumerate(samples(stream, batches, place), start=1)]
    show(f"{batches:,} batches of {batch_size}, recipe {augment}, {place}", *table(rows))
    verdict = flatness(rows)
    print(sentence(verdict))
    settings = {
        "batches": batches,
        "batches_an_epoch": len(loader),
        "batch_size": batch_size,
        "augment": augment,
        **verdict,
    }
    print(f"written to {save('soak', place, settings, rows)}")


def sentence(verdict: dict[str, Any]) -> str:
    """What `flatness` found."""
    memory = "flat" if verdict["memory_is_flat"] else "NOT flat"
    speed = "flat" if verdict["speed_is_flat"] else "NOT flat"
    return (
        f"From the first tenth to the last, memory is {memory} (host {verdict['host_growth']:+.1%}, device "
        f"{verdict['device_growth']:+.1%}), speed is {speed} ({verdict['last_rate_over_first']:.2f} times the first)."
    )


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells, for a terminal or for Markdown."""
    columns = ["tenth", "crops a second", "least to greatest", "host MB", "device MB"]
    return columns, [
        [
            str(r["tenth"]),
            f"{r['crops_per_s']['median']:,.0f}",
            f"{r['crops_per_s']['min']:,.0f} to {r['crops_per_s']['max']:,.0f}",
            f"{r['host_mb']['median']:,.0f}",
            f"{r['device_mb']['median']:,.0f}" if r["device_mb"] else "",
        ]
        for r in rows
    ]


if __name__ == "__main__":
    run(main)
