"""Measure how the cost of a pitch shift depends on its size: ``python benchmarks/pitch_cost.py --shards shards/``.

torchaudio resamples by a ratio of whole numbers, and its filters grow with these numbers. A shift is not
timed if its filters have over 20 million coefficients (80 MB), as most do at 22,050 Hz; the table says how many.
"""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torchaudio.functional import pitch_shift

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import clips, tables
from benchmarks.lib.common import Device, Shards, compete, run, save, show, spread
from benchmarks.lib.contest import OURS, TORCHAUDIO, need, threads
from benchmarks.lib.peers import RATE
from gtzan_stream.augment import PitchShift
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.training.device import find

STEPS = range(-12, 13)
LARGEST_FILTERS = 20_000_000
"""Largest number of coefficients in torchaudio's filters for which a shift is timed."""


def filter_size(n_steps: int) -> int:
    """Count the coefficients of torchaudio's filters, as in `torchaudio.functional._get_sinc_resample_kernel`."""
    wanted = int(RATE / 2.0 ** (-n_steps / 12))
    common = math.gcd(wanted, RATE)
    orig, new = wanted // common, RATE // common
    width = math.ceil(6 * orig / (0.99 * min(orig, new)))
    return new * (2 * width + orig)


def our_shift(waveform: Tensor, n_steps: int) -> Callable[[], object]:
    """Return a function that applies our pitch shift."""
    transform = PitchShift(n_steps, n_steps)
    draw = transform.draw(hash_keys([f"clip_{i}" for i in range(len(waveform))]))
    return lambda: transform.apply(waveform, draw)


def measure_costs(waveform: Tensor, steps: Sequence[int], *, rounds: int, min_s: float) -> list[dict[str, Any]]:
    """Return a row for each library and shift: milliseconds per clip, absolute and relative to a shift of 0."""
    functions = {(OURS, n): our_shift(waveform, n) for n in steps}
    functions |= {
        (TORCHAUDIO, n): lambda n=n: pitch_shift(waveform, RATE, n)  # type: ignore[misc]
        for n in steps
        if filter_size(n) <= LARGEST_FILTERS
    }
    named = {str(key): function for key, function in functions.items()}
    seconds = compete(named, waveform.device, min_s=min_s, rounds=rounds)
    cost = {key: spread([1e3 * s / len(waveform) for s in seconds[str(key)]]) for key in functions}
    return [
        {
            "library": library,
            "n_steps": n,
            "ms_per_clip": cost.get((library, n)),
            "times_cost_at_0": cost[library, n]["median"] / cost[library, 0]["median"]
            if (library, n) in cost
            else None,
            "filter_size": filter_size(n) if library == TORCHAUDIO else None,
        }
        for library in (OURS, TORCHAUDIO)
        for n in steps
    ]


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of 30 s; 0 for 1, or 64 on a GPU.")] = 0,
    rounds: Annotated[int, typer.Option(help="Number of timings of each shift.")] = 5,
    min_s: Annotated[float, typer.Option(help="Minimum duration of each timing in seconds.")] = 0.1,
) -> None:
    """Time pitch shifts of -12 to 12 semitones and write benchmarks/results/pitch-cost-*.json."""
    need("threadpoolctl")
    device = find(device_name)
    n_clips = n_clips or (64 if device.type == "cuda" else 1)
    waveform = clips.load(shards, n_clips, 30.0).to(device)
    with threads(1), torch.no_grad():
        rows = measure_costs(waveform, STEPS, rounds=rounds, min_s=min_s)
    show(f"Pitch shift of clips of 30 s, {device}", *tables.pitch_cost(rows))
    settings = {"clips": n_clips, "clip_s": 30.0, "rounds": rounds, "cores": "GPU" if device.type == "cuda" else 1}
    print(f"written to {save('pitch-cost', device, settings, rows)}")


if __name__ == "__main__":
    run(main)
