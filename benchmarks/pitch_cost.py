"""What a pitch shift costs against how far it shifts: ``python benchmarks/pitch_cost.py --shards shards/``.

torchaudio's cost follows the ratio's whole numbers: a shift whose resampling filters would hold over 20 million numbers
(80 MB; at 22,050 Hz most do) is not timed, only counted.
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

from benchmarks import clips
from benchmarks.common import Device, Shards, compete, run, save, show, spread
from benchmarks.contest import OURS, need, threads
from benchmarks.figures import milliseconds, ratio
from benchmarks.peers import RATE
from gtzan_stream.augment import PitchShift
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.training.device import find

STEPS = range(-12, 13)
TORCHAUDIO = "torchaudio"
AFFORDABLE = 20_000_000
"""Numbers in torchaudio's resampling filters."""


def filter_size(n_steps: int) -> int:
    """How many numbers torchaudio's filters hold, from `torchaudio.functional._get_sinc_resample_kernel`."""
    wanted = int(RATE / 2.0 ** (-n_steps / 12))
    common = math.gcd(wanted, RATE)
    orig, new = wanted // common, RATE // common
    width = math.ceil(6 * orig / (0.99 * min(orig, new)))
    return new * (2 * width + orig)


def shift_ours(waveform: Tensor, n_steps: int) -> Callable[[], object]:
    transform = PitchShift(n_steps, n_steps)
    draw = transform.draw(hash_keys([f"clip_{i}" for i in range(len(waveform))]))
    return lambda: transform.apply(waveform, draw)


def measure_costs(waveform: Tensor, steps: Sequence[int], *, rounds: int, min_s: float) -> list[dict[str, Any]]:
    """A row for each library and shift: milliseconds a clip, and how many times those at 0."""
    functions = {(OURS, n): shift_ours(waveform, n) for n in steps}
    functions |= {
        (TORCHAUDIO, n): lambda n=n: pitch_shift(waveform, RATE, n)  # type: ignore[misc]
        for n in steps
        if filter_size(n) <= AFFORDABLE
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
    device: Device = "auto",
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of 30 s; 0 for 1, or 64 on a GPU.")] = 0,
    rounds: Annotated[int, typer.Option(help="How often each shift has its turn.")] = 5,
    min_s: Annotated[float, typer.Option(help="Least seconds of a turn.")] = 0.1,
) -> None:
    """Time pitch shifts of -12 to 12 semitones and write benchmarks/results/pitch-cost-*.json."""
    need("threadpoolctl")
    place = find(device)
    n_clips = n_clips or (64 if place.type == "cuda" else 1)
    waveform = clips.load(shards, n_clips, 30.0).to(place)
    with threads(1), torch.no_grad():
        rows = measure_costs(waveform, STEPS, rounds=rounds, min_s=min_s)
    show(f"Pitch shift of clips of 30 s, {place}", *table(rows))
    settings = {"clips": n_clips, "clip_s": 30.0, "rounds": rounds, "cores": "GPU" if place.type == "cuda" else 1}
    print(f"written to {save('pitch-cost', place, settings, rows)}")


def table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells: a row a shift, and for each library its milliseconds and how many times those at 0."""
    columns = [
        "semitones",
        f"{OURS}, ms a clip",
        "least to greatest",
        "times its cost at 0",
        f"{TORCHAUDIO}, ms a clip",
        "least to greatest",
        "times its cost at 0",
    ]
    by_step = {(row["library"], row["n_steps"]): row for row in rows}
    steps = sorted({row["n_steps"] for row in rows})
    return columns, [[str(n), *_cells(by_step[OURS, n]), *_cells(by_step[TORCHAUDIO, n])] for n in steps]


def _cells(row: dict[str, Any]) -> list[str]:
    ms = row["ms_per_clip"]
    if ms is None:
        return ["not timed", f"{row['filter_size'] / 1e6:,.0f} million numbers", ""]
    extent = f"{milliseconds(ms['min'])} to {milliseconds(ms['max'])}"
    return [milliseconds(ms["median"]), extent, ratio(row["times_cost_at_0"])]


if __name__ == "__main__":
    run(main)
