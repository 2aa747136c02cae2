"""Measure the speed of the loader and of each of its stages: ``python benchmarks/throughput.py --shards shards/``.

Reading, decoding, copying, each augmentation and the log-mel are measured alone, then the loader, then training steps
without and with the loader. ``--sweep`` varies the loader's number of workers, batch size, codec and crop length
instead.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

import models
from benchmarks.lib import sweep as sweeps
from benchmarks.lib import tables
from benchmarks.lib.common import Device, Shards, compete, run, save, show, spread
from benchmarks.lib.rates import Trainer, endless, make_loader, rates
from benchmarks.lib.stages import Bench
from gtzan_stream.features import LogMel
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.device import find

RECIPES = ("none", "study", "strong", "audiomentations")
CROP_S = LogMel().geometry.stride / LogMel().geometry.sample_rate
RUNS = 5


def row(stage: str, crops_per_s: dict[str, float], **more: Any) -> dict[str, Any]:
    """Return a row of the table: crops per second, also relative to real time."""
    return {"stage": stage, "crops_per_s": crops_per_s, "times_real_time": crops_per_s["median"] * CROP_S, **more}


def measure_stages(shards: Path, batch_size: int, device: torch.device, min_s: float) -> Iterator[dict[str, Any]]:
    """Yield a row for every stage alone."""
    for name, stage in Bench(shards, batch_size, device).stages():
        seconds = compete({name: stage}, device, min_s=min_s / RUNS, rounds=RUNS)[name]
        yield row(name, spread([batch_size / s for s in seconds]))


def measure_loaders(
    shards: Path, batch_size: int, device: torch.device, num_workers: int, min_s: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for the loader with each recipe, without training."""
    for recipe in RECIPES:
        settings: dict[str, Any] = {"batch_size": batch_size, "device": device, "num_workers": num_workers}
        with make_loader(shards, augment=recipe, **settings) as loader:
            speed = rates(endless(loader), batch_size, device, min_s=min_s, runs=RUNS)
        yield row(f"loader, {recipe}", speed)


def measure_training(shards: Path, device: torch.device, num_workers: int, min_s: float) -> Iterator[dict[str, Any]]:
    """Yield rows for training the study's network, first on one repeated batch, then on the loader's batches."""
    size = models.spec("cnn2d").batch_size
    for recipe in (None, "none", "study"):
        settings: dict[str, Any] = {"batch_size": size, "device": device, "num_workers": num_workers}
        with make_loader(shards, augment=recipe or "none", **settings) as loader:
            trainer, clock = Trainer.of("cnn2d", len(loader.labels), device), DataClock(device)
            batches = endless(loader)
            if recipe is None:
                batches = itertools.repeat(next(batches))
            speed = rates(trainer.over(batches, clock), size, device, min_s=min_s, runs=RUNS)
        name = f"training cnn2d, batch {size}, " + (f"loader, {recipe}" if recipe else "one batch, no loader")
        yield row(name, speed, data_wait=clock.waiting if recipe else None)


def main(
    shards: Shards = Path("shards"),
    batch_size: Annotated[int, typer.Option(help="Number of crops in a batch; 0 for 64, or 1,024 on a GPU.")] = 0,
    device_name: Device = "auto",
    num_workers: Annotated[int, typer.Option(help="num_workers of the loader; 0 for 1, or 8 on a GPU.")] = 0,
    min_s: Annotated[float, typer.Option(help="Duration of the measurements of a row, in all, in seconds.")] = 5.0,
    sweep: Annotated[bool, typer.Option("--sweep", help="Vary workers, batch size, codec and crops instead.")] = False,
) -> None:
    """Measure the loader, print a table and write benchmarks/results/throughput-*.json, or sweep-*.json."""
    device = find(device_name)
    on_gpu = device.type == "cuda"
    batch_size, num_workers = batch_size or (1024 if on_gpu else 64), num_workers or (8 if on_gpu else 1)
    settings = {"batch_size": batch_size, "num_workers": num_workers, "crop_s": CROP_S, "seconds_per_row": min_s}
    if sweep:
        rows = list(sweeps.measure(shards, device, min_s=min_s, batch_size=batch_size, num_workers=num_workers))
        show(f"The loader, recipe study, {device}", *tables.sweep(rows))
        print(f"written to {save('sweep', device, settings, rows)}")
        return
    rows = [
        *measure_stages(shards, batch_size, device, min_s),
        *measure_loaders(shards, batch_size, device, num_workers, min_s),
        *measure_training(shards, device, num_workers, min_s),
    ]
    show(f"Crops of 128 frames (3.0 s), batch {batch_size}, {device}", *tables.throughput(rows))
    print(f"written to {save('throughput', device, settings, rows)}")


if __name__ == "__main__":
    run(main)
