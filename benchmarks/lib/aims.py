"""Compare the measured figures with the project's aims, and list the operations for which another library is faster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.lib import service_verdicts as service
from benchmarks.lib.contest import OURS
from benchmarks.lib.figures import ratio
from benchmarks.lib.verdicts import (
    NotMeasured,
    Verdict,
    ahead,
    cheap,
    data_wait,
    flat,
    found,
    little_lock,
    loader_ahead,
    million,
    near_floor,
    pitch_cost,
    reading,
    real_time,
    resume,
    sounds_right,
    stretch_ahead,
    unheard,
)

Results = Mapping[str, dict[str, Any]]
"""Results by name, such as ``"augment-cpu"``."""


@dataclass(frozen=True)
class Aim:
    """An aim: what is measured, the aim as text, the result it needs, and the function that judges the result."""

    measure: str
    aim: str
    needs: str
    verdict: Callable[[dict[str, Any]], Verdict]


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
    Aim(
        "CPU: time stretch, one core",
        "at least 4 times librosa, 7 times audiomentations",
        "sound-cpu",
        stretch_ahead({"librosa": 4, "audiomentations": 7}),
    ),
    Aim("sound of time stretches", "every target in the report", "sound-cpu", sounds_right),
    Aim("a network that looks for stretches", "at most 60 % of crops right", "detect-cpu", unheard),
    Aim(
        "CPU: speed, one core",
        "at most 1.3 times soxr's time",
        "augment-cpu",
        ahead("speed", 1 / 1.3, "librosa", on=[1]),
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
    Aim("service: CPU time, `study`", "at most 1.1 times the local loader's", "service-cpu", service.cpu_ratio(1.1)),
    Aim("service: CPU time, `none`", "at most 0.5 ms a MB more", "service-cpu", service.cpu_per_mb(0.5)),
    Aim("service: two servers on two cores", "at most 0.8 times the time", "service-cpu", service.duration(0.8)),
    Aim(
        "service: trainers that share a stream",
        "at most 1.05 times one epoch's batches, 1.15 times one trainer's CPU time",
        "service-cpu",
        service.shared(1.05, 1.15),
    ),
    Aim(
        "service: a trainer that is ten times slower",
        "at most 2 times one epoch's batches, the others lose 5 % at most",
        "service-cpu",
        service.slow_trainer(2.0, 0.05),
    ),
    Aim(
        "service: longest wait after a fault",
        "0.5 s (one of two servers killed), 2.7 s (stopped), 5 s (the only one restarted), 1 s (all killed)",
        "service-cpu",
        service.faults,
    ),
    Aim("service: memory of a server", "at most 2 % more over 10,000 batches", "service-cpu", service.memory(0.02)),
    Aim("service: start to first batch", "at most 3 s", "service-cpu", service.start(3.0)),
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
