"""Compare our loader with one made of other libraries: ``python benchmarks/baseline.py --shards shards/``.

The other loader is what many people would write: webdataset reads the clips, soundfile decodes them, several random
crops of each are shuffled, audiomentations augments them, torchaudio computes log-mels, and the workers of a DataLoader
use every core. Our loader does the same work on the same shards, without augmentation and with the six of the study's
augmentations that audiomentations has. The two are measured in turn, in one run. While one is measured, the other is
idle, because its prefetch queue is full.
"""

import random
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import tables
from benchmarks.lib.common import Device, Shards, run, save, show, spread
from benchmarks.lib.contest import OURS
from benchmarks.lib.mels import torchaudio as torchaudio_mel
from benchmarks.lib.rates import endless, make_loader, rates
from gtzan_stream.augment import Audiomentations, OneOf, Transform, recipe
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.threads import cores
from gtzan_stream.training.device import find

BASELINE = "webdataset + audiomentations + torchaudio"
GEOMETRY = LogMel().geometry
SAMPLES, FRAMES = GEOMETRY.stride, GEOMETRY.frames
CROPS_PER_CLIP = 8


class Crops:
    """A webdataset stage that turns clips into random crops, float32 [time], each with its clip's key."""

    def __call__(self, clips: Iterable[dict[str, Any]]) -> Iterator[tuple[np.ndarray, str]]:
        import io

        import soundfile

        for clip in clips:
            waveform, _ = soundfile.read(io.BytesIO(clip["wav"]), dtype="float32")
            waveform = np.pad(waveform, (0, max(0, SAMPLES - len(waveform))))
            for _ in range(CROPS_PER_CLIP):
                start = random.randrange(len(waveform) - SAMPLES + 1)
                yield waveform[start : start + SAMPLES].copy(), clip["__key__"]


class AugmentAndMel:
    """A webdataset stage that augments each crop and, if `mel` is set, computes its log-mel."""

    def __init__(self, augment: bool, mel: bool) -> None:
        transform = recipe("audiomentations")
        assert isinstance(transform, Audiomentations)
        self.transform, self.p = transform.transform, transform.p if augment else 0.0
        self.mel = torchaudio_mel() if mel else None

    def __call__(self, sample: tuple[np.ndarray, str]) -> tuple[Tensor, str]:
        samples, key = sample
        if random.random() < self.p:
            samples = np.resize(self.transform(samples, 22050), SAMPLES)
        waveform = torch.from_numpy(samples)
        return (waveform if self.mel is None else log_mel(self.mel, waveform)), key


def log_mel(mel: torch.nn.Module, waveform: Tensor) -> Tensor:
    """Compute log10(1 + 10 m) for as many frames as our crops have."""
    return torch.log10(1 + 10 * mel(waveform)[..., :FRAMES])


def theirs(
    shards: Path, *, augment: bool, batch_size: int, device: torch.device, num_workers: int
) -> Generator[tuple[Tensor, list[str]], None, None]:
    """Yield batches of the other loader, endlessly."""
    import webdataset

    names = [str(path) for path in sorted(shards.glob("*.tar"))]
    pipeline = webdataset.WebDataset(names, shardshuffle=len(names), empty_check=False).repeat().compose(Crops())
    pipeline = pipeline.shuffle(1000).map(AugmentAndMel(augment, mel=device.type == "cpu")).batched(batch_size)
    loader = torch.utils.data.DataLoader(
        pipeline,
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context="spawn" if num_workers else None,
        pin_memory=device.type == "cuda",
    )
    mel = torchaudio_mel().to(device)
    for data, keys in loader:
        yield (data if device.type == "cpu" else log_mel(mel, data.to(device, non_blocking=True))), keys


def our_transform(augment: bool) -> str | Transform:
    """Return the study's recipe without `Percussive`, which audiomentations does not have, or "none"."""
    study = recipe("study")
    assert isinstance(study, OneOf)
    return OneOf(study.members[:-1]) if augment else "none"


def measure(
    shards: Path, device: torch.device, *, batch_size: int, num_workers: int, rounds: int, min_s: float, rest_s: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each recipe and loader: crops per second, and the time per crop divided by ours."""
    for name, augment in {"none": False, "six of the study's": True}.items():
        speeds: dict[str, list[float]] = {OURS: [], BASELINE: []}
        with make_loader(shards, augment=our_transform(augment), batch_size=batch_size, device=device) as loader:
            loaders: dict[str, Iterator[Any]] = {
                OURS: endless(loader),
                BASELINE: theirs(
                    shards, augment=augment, batch_size=batch_size, device=device, num_workers=num_workers
                ),
            }
            for _ in range(rounds):
                for library, batches in loaders.items():
                    time.sleep(rest_s)
                    ahead = 2 * num_workers + 2 if library == BASELINE else None  # a DataLoader's prefetch_factor is 2
                    rate = rates(batches, batch_size, device, min_s=min_s, runs=1, settle=ahead)
                    speeds[library].append(rate["median"])
        for library in speeds:
            paired = [ours / other for ours, other in zip(speeds[OURS], speeds[library], strict=True)]
            yield {
                "recipe": name,
                "library": library,
                "crops_per_s": spread(speeds[library]),
                "times_ours": spread(paired),
                "runs": rounds,
            }


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    batch_size: Annotated[int, typer.Option(help="Number of crops in a batch.")] = 64,
    rounds: Annotated[int, typer.Option(help="Number of measurements of each loader.")] = 5,
    min_s: Annotated[float, typer.Option(help="Minimum duration of each measurement in seconds.")] = 3.0,
) -> None:
    """Measure both loaders and write benchmarks/results/baseline-*.json."""
    device = find(device_name)
    n_shards = len(list(shards.glob("*.tar")))
    if not n_shards:
        raise UserError(f"{shards} holds no packed shards: fill it with `gtzan-stream demo {shards}`")
    num_workers = min(cores(), n_shards)  # webdataset gives whole shards to the workers
    options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers}
    rows = list(measure(shards, device, **options, rounds=rounds, min_s=min_s, rest_s=2.0))
    show(f"Loaders, batch {batch_size}, {device}", *tables.baseline(rows))
    settings = {"batch_size": batch_size, "their_workers": num_workers, "shards": n_shards, "seconds_per_turn": min_s}
    print(f"written to {save('baseline', device, settings, rows)}")


if __name__ == "__main__":
    run(main)
