"""Estimate the loader's speed on more cores than this machine has: ``python benchmarks/scaling.py --shards shards/``.

Measured, in new processes that may use one or two cores: the speed of the loader, and the time per row for which a
thread holds Python's lock (the GIL), by sampling with py-spy. From these, a model for n cores:

    seconds per row = max(seconds per row on one core / n,  seconds with the lock)

It leaves out memory bandwidth, disks and caches that cores share. The figures of the model are marked as such; for two
cores both are given, so that the model can be judged.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import tables
from benchmarks.lib.common import Shards, run, save, show
from benchmarks.lib.rates import endless, make_loader, rates
from gtzan_stream.dsp import backend
from gtzan_stream.dsp.backend import RowThreads
from gtzan_stream.errors import UserError
from gtzan_stream.threads import cores

CPU = torch.device("cpu")
RECIPES = ("none", "study")
MODELLED = (1, 2, 4, 8, 16, 32, 64)
BATCH_SIZE = 64
SAMPLES_PER_S = 500


def probe(shards: Path, recipe: str, seconds: float, *, in_one_thread: bool) -> None:
    """Print a line when the kernels are compiled, then the crops per second of a loader in this process as JSON."""
    if in_one_thread:
        backend._shared = RowThreads(1)
    settings: dict[str, Any] = {"batch_size": BATCH_SIZE, "device": CPU, "num_workers": 0 if in_one_thread else 1}
    with make_loader(shards, augment=recipe, **settings) as loader:
        batches = endless(loader)
        rates(batches, BATCH_SIZE, CPU, min_s=seconds / 4, runs=1)
        print("ready", flush=True)
        print(json.dumps(rates(batches, BATCH_SIZE, CPU, min_s=seconds, runs=5)))


def probe_apart(
    shards: Path, recipe: str, n_cores: int, seconds: float, *, sample: bool = False
) -> tuple[dict[str, float], float]:
    """Run `probe` in a new process that may use `n_cores` cores. Return its crops per second.

    With `sample`, the process works in one thread, and py-spy samples it. The second result is then the microseconds
    per row for which the thread holds the GIL. With more threads than cores, one might hold it while it waits for a
    core, which would count.
    """
    used = sorted(os.sched_getaffinity(0))[:n_cores]
    command = [sys.executable, __file__, "--probe", recipe, "--seconds", str(seconds), "--shards", str(shards)]
    command += ["--in-one-thread"] if sample else []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding="utf-8", preexec_fn=lambda: os.sched_setaffinity(0, used)
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        share = share_with_lock(process.pid, 0.8 * seconds) if sample else 0.0
        line = process.stdout.read()
    if process.returncode:
        raise UserError(f"the measurement of {recipe} on {n_cores} cores failed; see above")
    found = json.loads(line)
    return found, 1e6 * share / found["median"]


def share_with_lock(process: int, seconds: float) -> float:
    """Sample a process, and return the share of the time in which one of its threads holds the GIL."""
    with tempfile.TemporaryDirectory() as folder:
        path, duration = Path(folder, "stacks.txt"), max(1, round(seconds))
        options = ["--gil", "--format", "raw", "--rate", str(SAMPLES_PER_S), "--duration", str(duration)]
        command = [py_spy(), "record", "--pid", str(process), "--output", str(path), *options]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise UserError(f"py-spy failed: {done.stderr.strip().splitlines()[-1]}")
        counts = [int(line.rpartition(" ")[2]) for line in path.read_text(encoding="utf-8").splitlines()]
    return sum(counts) / (SAMPLES_PER_S * duration)


def py_spy() -> str:
    """Return the path of the program py-spy, also where only this Python's own folder has it."""
    found = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        raise UserError("py-spy is not installed: pip install '.[bench]'")
    return found


def modelled(row_us: float, lock_us: float, n_cores: int) -> float:
    """Return the crops per second on `n_cores`, by the model, from the microseconds per row on one core.

    >>> round(modelled(row_us=100.0, lock_us=10.0, n_cores=4))
    40000
    >>> round(modelled(row_us=100.0, lock_us=10.0, n_cores=64))
    100000
    """
    return 1e6 / max(row_us / n_cores, lock_us)


def measure(shards: Path, seconds: float) -> list[dict[str, Any]]:
    """Return a row for each recipe and number of cores."""
    rows = []
    for recipe in RECIPES:
        measured = {
            n_cores: probe_apart(shards, recipe, n_cores, seconds)[0] for n_cores in (1, 2) if n_cores <= cores()
        }
        _, lock_us = probe_apart(shards, recipe, cores(), seconds, sample=True)
        row_us = 1e6 / measured[1]["median"]
        for n_cores in MODELLED:
            rows.append(
                {
                    "recipe": recipe,
                    "cores": n_cores,
                    "measured": measured.get(n_cores),
                    "model": modelled(row_us, lock_us, n_cores),
                    "lock_us": lock_us,
                }
            )
    return rows


def main(
    shards: Shards = Path("shards"),
    seconds: Annotated[float, typer.Option(help="Duration of each measurement in seconds.")] = 6.0,
    probed: Annotated[str, typer.Option("--probe", hidden=True)] = "",
    in_one_thread: Annotated[bool, typer.Option("--in-one-thread", hidden=True)] = False,
    device_name: Annotated[str, typer.Option("--device", hidden=True)] = "cpu",  # as all.py passes it
) -> None:
    """Measure one and two cores, model more, and write benchmarks/results/scaling-cpu.json."""
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("this benchmark needs a system on which a process can be kept on some cores, such as Linux")
    if probed:
        probe(shards, probed, seconds, in_one_thread=in_one_thread)
        return
    rows = measure(shards, seconds)
    show("The loader on more cores", *tables.scaling(rows))
    print(f"written to {save('scaling', CPU, {'batch_size': BATCH_SIZE, 'seconds_per_row': seconds}, rows)}")


if __name__ == "__main__":
    run(main)
