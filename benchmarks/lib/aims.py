"""Compare the measured figures with the project's aims, and list the operations for which another library is faster."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.lib.contest import OURS, fastest_peer
from benchmarks.lib.figures import milliseconds, ratio

Results = Mapping[str, dict[str, Any]]
"""Results by name, such as ``"augment-cpu"``."""
Verdict = tuple[str, bool]
"""The measured figure as text, and whether the aim is met."""


class NotMeasured(Exception):
    """Raised if no result has the figure that an aim needs."""


@dataclass(frozen=True)
class Aim:
    """An aim: what is measured, the aim as text, the result it needs, and the function that judges the result."""

    measure: str
    aim: str
    needs: str
    verdict: Callable[[dict[str, Any]], Verdict]


def rows_of(result: dict[str, Any], operation: str, library: str = OURS) -> list[dict[str, Any]]:
    """Return a library's rows for an operation, one for each number of cores."""
    return found(row for row in result["rows"] if (row["operation"], row["library"]) == (operation, library))


def found(rows: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Return the rows that are not None. Raises NotMeasured if there are none."""
    listed = [row for row in rows if row is not None]
    if not listed:
        raise NotMeasured
    return listed


def ahead(
    operation: str, least: float, *peers: str, on: Collection[Any] | None = None
) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "at least `least` times as fast as the fastest of `peers`".

    `on` has the numbers of cores for which the aim holds; by default one and all.
    """

    def verdict(result: dict[str, Any]) -> Verdict:
        ratios = []
        for ours in found(row for row in rows_of(result, operation) if on is None or row["cores"] in on):
            (peer,) = found([fastest_peer(result["rows"], operation, ours["cores"], peers)])
            where = "the GPU" if ours["cores"] == "GPU" else f"{ours['cores']} core{'s' * (ours['cores'] > 1)}"
            times = peer["times_ours"]
            spread = f"{ratio(times['min'])} to {ratio(times['max'])}"
            ratios.append((times["median"], f"{ratio(times['median'])} ({spread}) times {peer['library']} on {where}"))
        return "; ".join(words for _, words in ratios), min(times for times, _ in ratios) >= least

    return verdict


def cheap(operations: Sequence[str], most_ms: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "less than `most_ms` per clip, on one core"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        ms = {op: rows_of(result, op)[0]["ms_per_clip"]["median"] for op in operations}
        return ", ".join(f"{op} {milliseconds(m)} ms" for op, m in ms.items()), max(ms.values()) < most_ms

    return verdict


def pitch_cost(result: dict[str, Any]) -> Verdict:
    """Judge the cost of the most expensive pitch shift, relative to a shift of 0."""
    costs = {row["n_steps"]: row["times_cost_at_0"] for row in result["rows"] if row["library"] == OURS}
    worst = max(costs, key=lambda n: costs[n])
    return f"{costs[worst]:.2f} times at most, at {worst} semitones", costs[worst] <= 1.3


def stage(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the row of the stage called `name`."""
    return found(row for row in result["rows"] if row["stage"] == name)[0]


def reading(result: dict[str, Any]) -> Verdict:
    """Judge the speed of reading crops from the shards."""
    crops = stage(result, "read")["crops_per_s"]
    words = f"{crops['median']:,.0f} ({crops['min']:,.0f} to {crops['max']:,.0f}) crops a second"
    return words, crops["median"] >= 30_000


def real_time(result: dict[str, Any]) -> Verdict:
    """Judge the speed of the loader, relative to real time."""
    times = stage(result, "loader, study")["times_real_time"]
    return f"{times:,.0f} times real time", times >= 100_000


def near_floor(result: dict[str, Any]) -> Verdict:
    """Judge how close augmentation and features come to the GPU's memory bandwidth."""
    share = stage(result, "the recipe study and the log-mel")["share"]
    return f"{share:.0%} of what memory bandwidth allows", share >= 0.5


def data_wait(most: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "waits for less than the share `most` of the training time, with the recipe study"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        rows = [row for row in result["rows"] if "training" in row["stage"] and row["stage"].endswith("study")]
        share = found(rows)[0]["data_wait"]
        return f"{share:.1%}", share < most

    return verdict


def flat(result: dict[str, Any]) -> Verdict:
    """Judge whether memory stays flat over a long run."""
    run = result["settings"]
    words = f"{run['host_growth']:+.1%} on the host, {run['device_growth']:+.1%} on the device"
    return f"{words}, over {run['batches']:,} batches", run["memory_is_flat"] and run["batches"] >= 10_000


def resume(result: dict[str, Any]) -> Verdict:
    """Judge the time to resume late in an epoch, relative to the time at its beginning."""
    (near, first), (far, later) = result["settings"]["resume_ms"].items()
    words = f"{first['median']:.1f} ms at {near}, {later['median']:.1f} ms at {far}"
    return words, later["median"] <= 1.1 * first["median"]


def million(result: dict[str, Any]) -> Verdict:
    """Judge time and memory to start on a million clips."""
    (row,) = found(row for row in result["rows"] if row["clips"] == 1_000_000)
    seconds, megabytes = row["seconds"]["median"], row["peak_mb"]["median"]
    return f"{seconds:.2f} s, {megabytes:.0f} MB", seconds < 2 and megabytes < 200


def loader_ahead(recipe: str, least: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "at least `least` times as fast as the loader made of other libraries"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        (row,) = found(row for row in result["rows"] if row["recipe"] == recipe and row["library"] != OURS)
        times = row["times_ours"]
        words = f"{ratio(times['median'])} ({ratio(times['min'])} to {ratio(times['max'])}) times"
        return words, times["median"] >= least

    return verdict


def little_lock(most_us: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "at most `most_us` with the GIL for a row, without augmentation"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        lock_us = found(row for row in result["rows"] if row["recipe"] == "none")[0]["lock_us"]
        return f"{lock_us:.1f} us a row", lock_us <= most_us

    return verdict


ON_CPU = ("librosa", "audiomentations")
ON_GPU = ("torchaudio", "torch-audiomentations")
AIMS = [
    Aim("CPU: percussive", "at least 10 times librosa", "augment-cpu", ahead("percussive", 10, "librosa")),
    Aim(
        "CPU: time stretch",
        "at least 3 times librosa, audiomentations",
        "augment-cpu",
        ahead("time stretch", 3, *ON_CPU),
    ),
    Aim(
        "CPU: pitch shift",
        "at least 3 times librosa, audiomentations",
        "augment-cpu",
        ahead("pitch shift", 3, *ON_CPU),
    ),
    Aim("CPU: noise", "no slower than audiomentations", "augment-cpu", ahead("noise", 1, "audiomentations")),
    Aim("CPU: shift and gain", "under 1 ms a clip of 30 s", "augment-cpu", cheap(["shift", "gain"], 1.0)),
    Aim("CPU: log-mel", "torchaudio's speed or better", "features-cpu", ahead("log-mel", 1, "torchaudio")),
    Aim(
        "CPU: log-mel, frames of Whisper, one core",
        "at least 1.8 times asrfront",
        "features-cpu",
        ahead("log-mel, frames of Whisper", 1.8, "asrfront", on=[1]),
    ),
    Aim("CPU: loader, `none`", "at least 12 times one of other libraries", "baseline-cpu", loader_ahead("none", 12)),
    Aim(
        "CPU: loader, six of the study's",
        "at least 5 times one of other libraries",
        "baseline-cpu",
        loader_ahead("six of the study's", 5),
    ),
    Aim("CPU: time with Python's lock", "at most 16 us a row, `none`", "scaling-cpu", little_lock(16)),
    Aim("CPU: largest pitch shift", "at most 1.3 times the cost of 0 semitones", "pitch-cost-cpu", pitch_cost),
    Aim("reading, one core", "at least 30,000 crops of 3 s a second", "throughput-cpu", reading),
    Aim("GPU: shards to features, `study`", "at least 100,000 times real time", "throughput-gpu", real_time),
    Aim("GPU: augmentation and features", "at least 50 % of what memory bandwidth allows", "floor-gpu", near_floor),
    Aim("GPU: time stretch", "at least 20 times torchaudio", "augment-gpu", ahead("time stretch", 20, *ON_GPU)),
    Aim("GPU: pitch shift", "at least 20 times the others", "augment-gpu", ahead("pitch shift", 20, *ON_GPU)),
    Aim("GPU: percussive", "at least 20 times plain torch", "augment-gpu", ahead("percussive", 20, "plain torch")),
    Aim("GPU: largest pitch shift", "at most 1.3 times the cost of 0 semitones", "pitch-cost-gpu", pitch_cost),
    Aim("CPU: training waits for data", "under 5 % of the time", "throughput-cpu", data_wait(0.05)),
    Aim("GPU: training waits for data", "under 2 % of the time", "throughput-gpu", data_wait(0.02)),
    Aim("CPU: memory", "flat over 10,000 batches", "soak-cpu", flat),
    Aim("GPU: memory", "flat over 10,000 batches", "soak-gpu", flat),
    Aim("resume at batch 10,000", "at most 1.1 times the time at batch 0", "scale-cpu", resume),
    Aim("start on a million clips", "under 2 s and 200 MB", "scale-cpu", million),
]


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return a row for every aim: the measured figure if there is one, and whether the aim is met."""
    rows = []
    for aim in AIMS:
        try:
            words, met = aim.verdict(*found([results.get(aim.needs)]))
            rows.append([aim.measure, aim.aim, words, "yes" if met else "**no**"])
        except NotMeasured:
            rows.append([aim.measure, aim.aim, "not measured", ""])
    return ["measure", "aim", "measured", "met"], rows


def losses(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the operations for which another library is faster."""
    rows = [
        [
            row.get("operation") or f"loader, {row['recipe']}",
            {"GPU": "GPU", 1: "1 core"}.get(row.get("cores", ""), "all cores"),
            row["library"],
            ratio(1 / row["times_ours"]["median"]),
            row.get("note", ""),
        ]
        for name in ("augment-cpu", "augment-gpu", "features-cpu", "features-gpu", "baseline-cpu", "baseline-gpu")
        for row in results.get(name, {"rows": []})["rows"]
        if row["library"] != OURS and row["times_ours"]["median"] < 1
    ]
    return ["operation", "on", "faster", "times as fast as ours", "what it does differently"], rows
