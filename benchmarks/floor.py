"""Compare each stage with the GPU's memory bandwidth: ``python benchmarks/floor.py --shards shards/ --device cuda``.

The floor of a stage is the time that this GPU takes to copy as many bytes as the stage must read and write at least.
For the percussive part, the medians are not counted.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import clips, tables
from benchmarks.lib.common import Device, Shards, compete, run, save, show, spread
from gtzan_stream.augment import OneOf, recipe
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel, whole_clips
from gtzan_stream.training.device import find

WAVE = 22050 * 30 * 4 / 1e6
"""Size in MB of a clip of 30 s in float32."""
_FRAMES = 1 + 22050 * 30 // 512  # of a clip, at the hop of the vocoder, of the percussive part and of the log-mel
SPECTROGRAM = _FRAMES * 1025 * 8 / 1e6
"""Size in MB of a clip's STFT with 1,025 bins, complex numbers in float32."""
VOCODER = 2 * WAVE + 4 * SPECTROGRAM
"""Least MB of a vocoder: read and write the clip; write and read a spectrogram before the vocoder, and one after it."""
MEGABYTES = {
    "Identity": 0.0,
    "GaussianNoise": 2 * WAVE,
    "TimeShift": 2 * WAVE,
    "Gain": 2 * WAVE,
    "SpeedPerturb": 2 * WAVE,
    "TimeStretch": VOCODER,
    "PitchShift": VOCODER,
    "Percussive": VOCODER + SPECTROGRAM,
}
"""Least MB to move per clip: read and write it once; a vocoder also writes and reads spectrograms.

The percussive part moves what a vocoder does, and reads two medians, each half the size of a spectrogram.
"""
MEL_MEGABYTES = WAVE + _FRAMES * 128 * 4 / 1e6
"""Least MB to move per clip for its log-mel: read the clip and write 128 bands in float32."""
Stage = tuple[str, Callable[[], object], float]


def stages(waveform: Tensor) -> Iterator[Stage]:
    """Yield every stage on these clips [batch, time]: its name, a call, and its least MB per clip."""
    keys = hash_keys([f"clip_{i}" for i in range(len(waveform))])
    study, features = recipe("study"), LogMel().to(waveform.device)
    assert isinstance(study, OneOf)
    for transform in study.members[1:]:  # the first is Identity
        draw = transform.draw(keys)
        call = lambda transform=transform, draw=draw: transform.apply(waveform, draw)  # noqa: E731
        yield type(transform).__name__, call, MEGABYTES[type(transform).__name__]
    yield "log-mel", lambda: whole_clips(features, waveform), MEL_MEGABYTES
    draw = study.draw(keys)
    picked = [type(study.members[int(i)]).__name__ for i in draw.values["pick"]]
    total = sum(MEGABYTES[name] for name in picked) / len(picked) + MEL_MEGABYTES
    yield "the recipe study and the log-mel", lambda: whole_clips(features, study.apply(waveform, draw)), total


def copy_rate(device: torch.device, megabytes: int, *, rounds: int, min_s: float) -> float:
    """Return the MB per second that the device reads and writes when it copies its memory: the best of the rounds."""
    source = torch.zeros(megabytes * 250_000, device=device)
    target = torch.empty_like(source)
    seconds = compete({"copy": lambda: target.copy_(source)}, device, rounds=rounds, min_s=min_s)["copy"]
    return 2 * megabytes / min(seconds)


def measure(waveform: Tensor, rate: float, *, rounds: int, min_s: float) -> list[dict[str, Any]]:
    """Return a row for each stage: microseconds per clip, its floor, and the floor's share of the time."""
    named = {name: (call, megabytes) for name, call, megabytes in stages(waveform)}
    calls = {name: call for name, (call, _) in named.items()}
    timed = compete(calls, waveform.device, rounds=rounds, min_s=min_s)
    rows = []
    for name, seconds in timed.items():
        us, floor = spread([1e6 * s / len(waveform) for s in seconds]), 1e6 * named[name][1] / rate
        rows.append({"stage": name, "us_per_clip": us, "floor_us": floor, "share": floor / us["median"]})
    return rows


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    n_clips: Annotated[int, typer.Option("--clips", help="Number of clips of 30 s in a batch.")] = 256,
    rounds: Annotated[int, typer.Option(help="Number of timings of each stage.")] = 7,
) -> None:
    """Compare each stage with its floor and write benchmarks/results/floor-gpu.json."""
    device = find(device_name)
    if device.type != "cuda":
        raise UserError("the floor is that of a GPU's memory: run this with --device cuda on a machine with a GPU")
    rate = copy_rate(device, 2000, rounds=rounds, min_s=0.1)
    rows = measure(clips.load(shards, n_clips, 30.0).to(device), rate, rounds=rounds, min_s=0.2)
    show(f"Clips of 30 s, {n_clips} at once; a copy moves {rate / 1e6:.2f} TB/s", *tables.floor(rows))
    settings = {"clips": n_clips, "clip_s": 30.0, "rounds": rounds, "copy_tb_per_s": rate / 1e6}
    print(f"written to {save('floor', device, settings, rows)}")


if __name__ == "__main__":
    run(main)
