"""Compare what time stretches and pitch shifts do to a sound, and their cost: ``python benchmarks/sound.py``.

Every library stretches and shifts the same synthetic sounds and clips. The clips are GTZAN's if GTZAN_ROOT is its
folder of genres, else those of --shards. The measures are those of `benchmarks.lib.sound_measures`; the cost is
measured in the same run, on one core.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import clips as packed
from benchmarks.lib import sound_measures as measures
from benchmarks.lib import sound_signals as signals
from benchmarks.lib import sound_table as tables
from benchmarks.lib.common import RESULTS, Shards, compete, run, save, show, spread
from benchmarks.lib.contest import need, threads
from benchmarks.lib.sound_measures import SAMPLE_RATE
from benchmarks.lib.sound_methods import VOCODER, Function, Method, methods
from benchmarks.lib.sound_plot import plot

RATES, FAR_RATES = (0.8, 0.9, 1.1, 1.25), (0.5, 0.7, 1.5, 2.0)
N_STEPS = (-12, -4, -2, 2, 4, 12)
COST_RATE, COST_STEPS = 1.1, 2.0
"""What the cost is measured at."""
CROP_S, CROP_STARTS_S = 3.0, (0.6, 1.4)
"""Length of a crop and where crops begin, in seconds of the stretched clip, which has 4.8 s or more."""
CPU = torch.device("cpu")
Clips = Mapping[str, np.ndarray]
Found = dict[str, float]
"""Figures by the name of their measure, as in `sound_table`."""


def load(shards: Path, most: int) -> tuple[str, dict[str, np.ndarray]]:
    """Return the name of the set and at most `most` clips of 6 s by name, float64, genres in turn."""
    if found := signals.genre_clips():
        names = sorted(found, key=lambda name: (name.rpartition(".")[2], name))[:most]
        return "GTZAN", {name: found[name] for name in names}
    start_s, length_s = signals.CLIP_START_S, signals.LENGTH / SAMPLE_RATE
    rows = packed.load(shards, most, start_s + length_s)[:, start_s * SAMPLE_RATE :].double().numpy()
    return str(shards), {str(number): row for number, row in enumerate(rows)}


def stretched_clips(method: Method, rate: float, clips: Clips) -> Iterator[Found]:
    """Yield the figures of each clip stretched at `rate`."""
    for clip in clips.values():
        before = clip.astype(np.float32)
        after = method.stretch(before, rate)
        figures = {
            "level": measures.level(clip, after),
            "contrast": measures.onset_contrast(clip, after),
            "correlation": measures.onset_correlation(clip, after, rate),
            "log_mel": measures.log_mel_distance(clip, after, rate),
            **crops(method, rate, clip, after),
        }
        if method.exact:
            figures["float64"] = measures.error_db(after, method.exact(before, rate))
        yield figures


def crops(method: Method, rate: float, clip: np.ndarray, whole: np.ndarray) -> Found:
    """Return the drift of crops, and their distance from the whole stretched clip, means over `CROP_STARTS_S`.

    Crops begin where the whole clip has an output frame, and once more half-way to the next ("crop anywhere"). If a
    method only stretches whole clips, the segment itself is stretched as a clip and only its drift counts.
    """
    length, found = round(CROP_S * SAMPLE_RATE), []
    for start_s in CROP_STARTS_S:
        first = round(start_s * SAMPLE_RATE / method.hop) * method.hop  # in output samples
        start = round(first * rate)
        segment = clip[start : start + round(length * rate)]
        if not method.crop:
            found.append({"drift": measures.drift(segment, method.stretch(segment.astype(np.float32), rate))})
            continue
        figures: Found = {}
        for name, at in (("crop", first), ("crop_anywhere", first + method.hop // 2)):
            crop = method.crop(clip.astype(np.float32), round(at * rate), rate, length)
            figures[name] = measures.crop_distance(whole[at : at + length], crop)
            if name == "crop":
                figures["drift"] = measures.drift(segment, crop)
        found.append(figures)
    return {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}


def stretched_clicks(method: Method, rate: float) -> Found:
    """Return the share of clicks' energy that is in time, alone and over a chord."""
    alone, chord = signals.clicks(), signals.clicks() + signals.chord()
    places = signals.CLICKS / rate
    return {
        "clicks_alone": measures.click_energy(method.stretch(alone.astype(np.float32), rate), places),
        "clicks_chord": measures.click_energy(
            method.stretch(chord.astype(np.float32), rate), places, signals.CLICKS_ABOVE_HZ
        ),
    }


def steady_sounds(change: Function, value: float, ratio: float) -> Found:
    """Return the worst figures of tones and close partials that ``change(samples, value)`` moves by `ratio`."""

    def changed(amplitudes: dict[float, float]) -> np.ndarray:
        return change(signals.partials(amplitudes).astype(np.float32), value)

    cents, snr, image = np.array([measures.tone(changed({hz: 1.0}), hz * ratio) for hz in signals.TONES_HZ]).T
    pure = [
        measures.purity(changed(chosen), tuple(hz * ratio for hz in chosen))
        for chosen in signals.CLOSE_PARTIALS.values()
    ]
    worst = {"cents": np.abs(cents).max(), "snr": snr.min(), "image": image.max(), "purity": min(pure)}
    return {name: float(figure) for name, figure in worst.items()}


def shifted_clips(method: Method, n_steps: float, clips: Clips) -> Iterator[Found]:
    """Yield the figures of each clip shifted by `n_steps` semitones."""
    ratio = 2 ** (n_steps / 12)
    for clip in clips.values():
        after = method.shift(clip.astype(np.float32), n_steps)
        yield {
            "level": measures.level(clip, after, ratio),
            "contrast": measures.onset_contrast(clip, after, ratio),
            "correlation": measures.onset_correlation(clip, after, ratio=ratio),
            "log_mel": measures.log_mel_distance(clip, after, ratio=ratio),
        }


def over_clips(found: Sequence[Found]) -> Found:
    """Return the mean of each figure over the clips, and the worst level as "level_worst" and error as "float64"."""
    merged = {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}
    merged["level_worst"] = min(figures["level"] for figures in found)
    if "float64" in merged:
        merged["float64"] = max(figures["float64"] for figures in found)
    return merged


def measure(method: Method, clips: Clips, some: Clips) -> Iterator[dict[str, Any]]:
    """Yield a row for each rate and shift: the figures of `method` on `clips`, or on `some` of them."""

    def row(operation: str, value: float, figures: Found) -> dict[str, Any]:
        return {"operation": operation, "method": method.name, "value": value, "figures": figures}

    for rate in RATES:
        figures = over_clips(list(stretched_clips(method, rate, clips)))
        if not method.brief:
            figures |= stretched_clicks(method, rate) | steady_sounds(method.stretch, rate, 1.0)
        yield row(tables.STRETCH, rate, figures)
    if method.brief:
        return
    for rate in FAR_RATES:
        level = [measures.level(clip, method.stretch(clip.astype(np.float32), rate)) for clip in some.values()]
        yield row(tables.STRETCH, rate, {"level": float(np.mean(level)), **stretched_clicks(method, rate)})
    for n_steps in N_STEPS:
        figures = over_clips(list(shifted_clips(method, n_steps, some)))
        steady = steady_sounds(method.shift, n_steps, 2 ** (n_steps / 12))
        yield row(tables.SHIFT, n_steps, figures | steady)


def costs(chosen: Sequence[Method], clips: Clips, *, min_s: float, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the time of each method for a clip of 30 s on one core, in turn, and relative to the phase vocoder's."""
    clip = np.resize(np.concatenate(list(clips.values())), 30 * SAMPLE_RATE).astype(np.float32)
    for operation in (tables.STRETCH, tables.SHIFT):
        calls: dict[str, Callable[[], object]] = {
            method.name: partial(method.stretch, clip, COST_RATE)
            if operation == tables.STRETCH
            else partial(method.shift, clip, COST_STEPS)
            for method in chosen
        }
        with threads(1):
            seconds = compete(calls, CPU, min_s=min_s, rounds=rounds)
        base = seconds.get(VOCODER, next(iter(seconds.values())))
        for name, times in seconds.items():
            relative = [mine / other for mine, other in zip(times, base, strict=True)]
            ms = spread([1e3 * time for time in times])
            yield {"operation": operation, "method": name, "ms_per_clip": ms, "times_vocoder": spread(relative)}


def main(
    shards: Shards = Path("shards"),
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of 6 s, at most.", min=1)] = 20,
    rounds: Annotated[int, typer.Option(help="Number of timings of each library.", min=1)] = 3,
    min_s: Annotated[float, typer.Option(help="Minimum duration of each timing in seconds.")] = 0.2,
    device_name: Annotated[str, typer.Option("--device", hidden=True)] = "cpu",  # as all.py passes it
) -> None:
    """Measure sound and cost, and write benchmarks/results/sound-cpu.json and a plot."""
    need("librosa", "audiomentations", "threadpoolctl")
    name, clips = load(shards, n_clips)
    some = dict(list(clips.items())[: max(1, n_clips // 2)])
    chosen = list(methods())
    rows = list(costs(chosen, clips, min_s=min_s, rounds=rounds))
    with threads(1):
        for method in chosen:
            print(f"measuring {method.name}", flush=True)
            rows += measure(method, some if method.brief else clips, some)
    for title, table in tables.every(rows).items():
        show(title, *table)
    settings = {"clips": list(clips), "dataset": name, "some": len(some), "rounds": rounds}
    path = save("sound", CPU, settings, rows)
    plot(rows, RESULTS / "sound-cpu.png")
    print(f"written to {path}")


if __name__ == "__main__":
    run(main)
