"""Code for every benchmark: timings with their spread, a description of the machine, JSON files and tables."""

import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from gtzan_stream.errors import UserError
from gtzan_stream.threads import cores

ROOT = Path(__file__).parents[2]  # the checkout
RESULTS = ROOT / "benchmarks" / "results"
Shards = Annotated[Path, typer.Option(help="Folder of packed shards.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda; auto is the GPU if there is one.")]
_PACKAGES = [
    "gtzan-stream",
    "torch",
    "torchaudio",
    "triton",
    "nnAudio",
    "librosa",
    "audiomentations",
    "torch-audiomentations",
    "python-stretch",
    "pyrubberband",
    "webdataset",
    "numpy",
    "scipy",
    "numba",
    "soundfile",
    "soxr",
    "pyarrow",
]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum, in the form in which JSON files store them."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compete(
    functions: Mapping[str, Callable[[], object]], device: torch.device, *, min_s: float = 0.05, rounds: int = 5
) -> dict[str, list[float]]:
    """Time functions in turn, so that other load on the machine affects all of them equally.

    Parameters
    ----------
    functions : dict of callables
    device : torch.device
        Synchronised before and after each timing.
    min_s : float
        In a round, each function is called repeatedly for at least this many seconds.
    rounds : int
        Number of timings of each function. Every second round is in reverse order.

    Returns
    -------
    dict of list of float
        Seconds per call, by function and round.
    """
    calls = {name: _calls_in(min_s, function, device) for name, function in functions.items()}
    gc.collect()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds):
        order = list(functions.items())
        for name, function in order if number % 2 == 0 else reversed(order):
            seconds[name].append(_call(function, calls[name], device) / calls[name])
    return seconds


def _calls_in(seconds: float, function: Callable[[], object], device: torch.device) -> int:
    _call(function, 1, device)  # compiles
    return max(1, math.ceil(seconds / max(_call(function, 1, device), 1e-9)))


def _call(function: Callable[[], object], calls: int, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Wait until `device` has done all work queued on it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, Any]:
    """Describe this machine: processor, cores, memory, GPU, load, versions, commit and date."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": _memory_gb(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the checkout's commit, with "-dirty" if files differ other than those that benchmarks write."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)

    head = git("rev-parse", "--short", "HEAD").stdout.strip()
    written = (f":!{path}" for path in ("README.md", "docs", "benchmarks/report.md", "benchmarks/results"))
    changed = git("diff", "--quiet", "HEAD", "--", ".", *written).returncode
    return f"{head}-dirty" if head and changed else head or None


def save(
    name: str,
    device: torch.device,
    settings: dict[str, Any],
    rows: Sequence[Any],
    measured_on: dict[str, Any] | None = None,
) -> Path:
    """Write ``results/<name>-<cpu|gpu>.json``: the machine (by default this one), the settings and the rows."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{device_kind(device)}.json"
    content = {
        "benchmark": name,
        "machine": measured_on or machine(device),
        "settings": settings,
        "rows": [row if isinstance(row, dict) else asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def device_kind(device: torch.device) -> str:
    """Return ``cpu`` or ``gpu``, as in the names of the result files."""
    return "gpu" if device.type == "cuda" else "cpu"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with text in the first column and figures in the others."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Render a table as Markdown with text in the first `words` columns and figures in the others."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * words + "---:|" * (len(columns) - words)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def run(main: Callable[..., None]) -> None:
    """Run a benchmark's command line; a UserError is printed as one line, with exit status 2."""
    try:
        typer.run(main)
    except UserError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
