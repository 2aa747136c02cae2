"""What every benchmark shares: timing with its spread, the machine it ran on, JSON, and a table."""

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

from gtzan_stream.dsp.backend import cores
from gtzan_stream.errors import UserError

RESULTS = Path(__file__).parent / "results"
Shards = Annotated[Path, typer.Option(help="Folder of packed shards.")]
Device = Annotated[str, typer.Option(help="cpu or cuda; auto is the GPU where there is one.")]
_PACKAGES = [
    "gtzan-stream",
    "torch",
    "torchaudio",
    "triton",
    "nnAudio",
    "librosa",
    "audiomentations",
    "torch-audiomentations",
    "webdataset",
    "numpy",
    "scipy",
    "numba",
    "soundfile",
    "soxr",
    "pyarrow",
]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest: what a figure's JSON holds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compete(
    functions: Mapping[str, Callable[[], object]], device: torch.device, *, min_s: float = 0.05, rounds: int = 5
) -> dict[str, list[float]]:
    """Time functions in turn, so that whatever else the machine does meets them all alike.

    Parameters
    ----------
    functions : dict of callables
    device : torch.device
        It is waited for before and after each timing.
    min_s : float
        Seconds that each function's calls should fill in a round, at least.
    rounds : int
        How often each has its turn; every other round goes backwards.

    Returns
    -------
    dict of list of float
        Seconds per call, by function and round.
    """
    calls = {name: _calls_in(min_s, function, device) for name, function in functions.items()}
    gc.collect()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds):
        order = list(functions.items())
        for name, function in order if turn % 2 == 0 else reversed(order):
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
    """Until `device` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, Any]:
    """The processor, cores, memory, GPU, load and versions that a figure belongs to."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": round(os.getloadavg()[0], 1),
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
    """The checkout's commit, and "-dirty" where something differs from it that benchmarks do not write themselves."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)

    head = git("rev-parse", "--short", "HEAD").stdout.strip()
    written = (f":!{path}" for path in ("README.md", "benchmarks/report.md", "benchmarks/results"))
    changed = git("diff", "--quiet", "HEAD", "--", ".", *written).returncode
    return f"{head}-dirty" if head and changed else head or None


def save(
    name: str,
    device: torch.device,
    settings: dict[str, Any],
    rows: Sequence[Any],
    measured_on: dict[str, Any] | None = None,
) -> Path:
    """Write ``results/<name>-<cpu|gpu>.json``: machine (this one, as it is, by default), settings, an object a row."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{place(device)}.json"
    content = {
        "benchmark": name,
        "machine": measured_on or machine(device),
        "settings": settings,
        "rows": [row if isinstance(row, dict) else asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def place(device: torch.device) -> str:
    """``cpu`` or ``gpu``, as in the names of the results."""
    return "gpu" if device.type == "cuda" else "cpu"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column words and the others figures."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """The same table as Markdown, so many columns of `words` before the figures."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * words + "---:|" * (len(columns) - words)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def run(main: Callable[..., None]) -> None:
    """Run a benchmark's command line; a user's mistake is a sentence and exit status 2."""
    try:
        typer.run(main)
    except UserError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
