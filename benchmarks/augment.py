"""Compare each augmentation with those of other libraries: ``python benchmarks/augment.py --shards shards/``.

All libraries process the same clips of 30 s with the same parameters, in turn, in one run: on one core, clip by clip,
then on all cores. On a GPU, the clips are in its memory beforehand.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import clips, peers, tables
from benchmarks.lib.common import Device, Shards, run, save, show
from benchmarks.lib.contest import OURS, Contender, Contest, hold, need
from gtzan_stream import augment
from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.training.device import find

OPERATIONS: dict[str, tuple[augment.Transform, str]] = {
    "time stretch": (augment.TimeStretch(1.0, 1.1), "rates of 1 to 1.1, one a clip"),
    "pitch shift": (augment.PitchShift(2.0, 2.0), "2 semitones"),
    "speed": (augment.SpeedPerturb(1 / 0.9, 1 / 0.9), "0.9 of the length"),
    "percussive": (augment.Percussive(), "medians of 31"),
    "noise": (augment.GaussianNoise(0.005, 0.005), "standard deviation 0.005"),
    "shift": (augment.TimeShift(1600, 1600), "1,600 samples, rolled"),
    "gain": (augment.Gain(2.0, 2.0), "a factor of 2"),
}

SAME_AS_LIBROSA = {"percussive"}
"""Operations with the same definition in librosa, so that results can be compared."""


def contests(waveform: Tensor) -> Iterator[Contest]:
    """Yield a contest for each augmentation, on these clips [batch, time]."""
    keys = hash_keys([f"clip_{i}" for i in range(len(waveform))])
    for operation, (transform, parameters) in OPERATIONS.items():
        ours = Contender(library=OURS, run=transform.apply, exact=transform.apply, batches=True)
        others = list(peers.of(operation, waveform.device))
        if waveform.device.type == "cuda" and operation == "percussive":
            others.append(unfolded(transform))
        reference = peers.librosa(operation) if operation in SAME_AS_LIBROSA else None
        yield Contest(
            operation=operation,
            parameters=parameters,
            waveform=waveform,
            draw=transform.draw(keys),
            contenders=[ours, *others],
            librosa=reference.run if reference else None,
        )


def unfolded(transform: augment.Transform) -> Contender:
    """Return our plain torch version, with medians by unfolding; one clip at a time, since each takes a gigabyte."""

    def one(waveform: Tensor, _: float) -> Tensor:
        with force("torch"):
            return transform.apply(waveform, transform.draw(np.zeros(1, np.uint64)))

    return Contender(library="plain torch", run=peers.on_torch(one), exact=peers.on_torch(one))


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of 30 s; 0 for 4, or 64 on a GPU.")] = 0,
    rounds: Annotated[int, typer.Option(help="Number of timings of each library.")] = 5,
    min_s: Annotated[float, typer.Option(help="Minimum duration of each timing in seconds.")] = 0.2,
    only: Annotated[str, typer.Option(help="One operation; all by default.")] = "",
) -> None:
    """Compare each augmentation with those of other libraries and write benchmarks/results/augment-*.json."""
    need("librosa", "torch_audiomentations", "threadpoolctl")
    device = find(device_name)
    n_clips = n_clips or (64 if device.type == "cuda" else 4)
    waveform = clips.load(shards, n_clips, 30.0).to(device)
    chosen = [contest for contest in contests(waveform) if only in ("", contest.operation)]
    rows = [row for contest in chosen for row in hold(contest, min_s=min_s, rounds=rounds)]
    show(f"Clips of 30 s, {n_clips} of them, {device}", *tables.contest(rows))
    if not only:
        print(f"written to {save('augment', device, {'clips': n_clips, 'clip_s': 30.0, 'rounds': rounds}, rows)}")


if __name__ == "__main__":
    run(main)
