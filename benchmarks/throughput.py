"""How fast each stage of the loader is, and the whole: ``python benchmarks/throughput.py --shards shards/``.

A waterfall of crops: reading, decoding, copying, each augmentation and the log-mel, each alone; then the loader as a
trainer gets it, and a training step without and with it. ``--sweep`` varies workers, batch, codec and crop instead.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

import models
from benchmarks import sweep as sweeps
from benchmarks.common import Device, Shards, compete, run, save, show, spread
from benchmarks.stages import Bench
from benchmarks.streams import Trainer, endless, make_loader, rates
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.device import find

RECIPES = ("none", "study", "strong", "audiomentations")
CROP_S = 128 * 512 / 22050
RUNS = 5


def row(stage: str, crops_per_s: dict[str, float], **more: Any) -> dict[str, Any]:
    """A row of the table: crops a second and times real time, with the spread of the runs."""
    return {"stage": stage, "crops_per_s": crops_per_s, "times_real_time": crops_per_s["median"] * CROP_S, **more}


def measure_stages(shards: Path, batch_size: int, device: torch.device, min_s: float) -> Iterator[dict[str, Any]]:
    """Every stage alone."""
    for name, stage in Bench(shards, batch_size, device).stages():
        seconds = compete({name: stage}, device, min_s=min_s / RUNS, rounds=RUNS)[name]
        yield row(name, spread([batch_size / s for s in seconds]))


def measure_loaders(
    shards: Path, batch_size: int, device: torch.device, workers: int, min_s: float
) -> Iterator[dict[str, Any]]:
    """The loader with each recipe, and nobody who trains."""
    for recipe in RECIPES:
        loader = make_loader(shards, augment=recipe, batch_size=batch_size, device=device, workers=workers)
        yield row(f"loader, {recipe}", rates(endless(loader), batch_size, device, min_s=min_s, runs=RUNS))


def measure_training(shards: Path, device: torch.device, workers: int, min_s: float) -> Iterator[dict[str, Any]]:
    """Steps of the study's network: with one batch again and again, then with the loader's."""
    size = models.spec("cnn2d").batch_size
    for recipe in (None, "none", "study"):
        loader = make_loader(shards, augment=recipe or "none", batch_size=size, device=device, workers=workers)
        trainer, clock = Trainer.of("cnn2d", len(loader.labels), device), DataClock(device)
        batches = endless(loader)
        if recipe is None:
            batches = itertools.repeat(next(batches))
        speed = rates(trainer.over(batches, clock), size, device, min_s=min_s, runs=RUNS)
        name = f"training cnn2d, batch {size}, " + (f"loader, {recipe}" if recipe else "one batch, no loader")
        yield row(name, speed, data_wait=clock.waiting if recipe else None)


def main(
    shards: Shards = Path("shards"),
    batch_size: Annotated[int, typer.Option(help="Crops in a batch; 0 for 64, or 1,024 on a GPU.")] = 0,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(help="Reading threads of the loader; 0 for 1, or 8 on a GPU.")] = 0,
    min_s: Annotated[float, typer.Option(help="Least seconds to measure each stage for.")] = 5.0,
    sweep: Annotated[bool, typer.Option("--sweep", help="Vary workers, batch, codec and crop of the loader.")] = False,
) -> None:
    """Measure the loader, print a table and write benchmarks/results/throughput-*.json, or sweep-*.json."""
    place = find(device)
    on_gpu = place.type == "cuda"
    batch_size, workers = batch_size or (1024 if on_gpu else 64), workers or (8 if on_gpu else 1)
    settings = {"batch_size": batch_size, "workers": workers, "crop_s": CROP_S, "seconds_per_row": min_s}
    if sweep:
        rows = list(sweeps.measure(shards, place, min_s=min_s, batch_size=batch_size, workers=workers))
        show(f"The loader, recipe study, {place}", *sweeps.table(rows))
        print(f"written to {save('sweep', place, settings, rows)}")
        return
    rows = [
        *measure_stages(shards, batch_size, place, min_s),
        *measure_loaders(shards, batch_size, place, workers, min_s),
        *measure_training(shards, place, workers, min_s),
    ]
    show(f"Crops of 128 frames (3.0 s), batch {batch_size}, {place}", *table(rows))
    print(f"written to {save('throughput', place, settings, rows)}")


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells, for a terminal or for Markdown."""
    columns = ["stage, alone", "3 s crops a second", "least to greatest", "times real time", "waiting for data"]
    return columns, [
        [
            r["stage"],
            f"{r['crops_per_s']['median']:,.0f}",
            f"{r['crops_per_s']['min']:,.0f} to {r['crops_per_s']['max']:,.0f}",
            f"{r['times_real_time']:,.0f}",
            "" if r.get("data_wait") is None else f"{r['data_wait']:.1%}",
        ]
        for r in rows
    ]


if __name__ == "__main__":
    run(main)
