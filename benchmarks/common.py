"""What every benchmark shares: timing with its spread, the machine it ran on, JSON, and a table."""

import gc
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_PACKAGES = [
    "gtzan-stream",
    "torch",
    "torchaudio",
    "nnAudio",
    "audiomentations",
    "webdataset",
    "numpy",
    "scipy",
    "numba",
]


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median of the runs, the fastest and the slowest."""

    median_s: float
    min_s: float
    max_s: float
    runs: int


def measure(function: Callable[[], object], device: torch.device, *, min_s: float = 0.5, runs: int = 5) -> Timing:
    """Time `function` after one warm-up: `runs` runs of as many calls as fill ``min_s / runs`` seconds each."""
    _call(function, 1, device)  # compiles
    once = _call(function, 1, device)
    calls = max(1, round(min_s / runs / max(once, 1e-9)))
    gc.collect()
    seconds = [_call(function, calls, device) / calls for _ in range(runs)]
    return Timing(statistics.median(seconds), min(seconds), max(seconds), runs)


def _call(function: Callable[[], object], calls: int, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, Any]:
    """The processor, cores, memory, GPU and versions that a figure belongs to."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() or None


def save(name: str, device: torch.device, settings: dict[str, Any], rows: Sequence[Any]) -> Path:
    """Write ``results/<name>-<cpu|gpu>.json``: machine, settings and one object a row."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{'gpu' if device.type == 'cuda' else 'cpu'}.json"
    content = {
        "benchmark": name,
        "machine": machine(device),
        "settings": settings,
        "rows": [row if isinstance(row, dict) else asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column words and the others figures."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table as Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
