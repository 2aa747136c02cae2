"""Measure how start-up and resume depend on the number of clips: ``python benchmarks/scale.py --shards shards/``.

The benchmark writes manifests of a thousand to ten million clips, without audio. A new process opens each and does what
a loader does before its first read: it reads a part of a split, plans an epoch and looks up the keys of the first
batch. It opens a small manifest first, so that imports do not count. Resuming is timed with a real loader, on the given
shards.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import synthetic, tables
from benchmarks.lib.common import RESULTS, Device, Shards, compete, device_kind, run, save, show, spread
from benchmarks.lib.memory import memory_mb, peak_mb, reset_peak
from benchmarks.lib.tables import FAR_BATCH
from gtzan_stream.layout import Layout
from gtzan_stream.loader import Loader
from gtzan_stream.plan import EpochPlan
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training.device import find

SIZES = "1000,10000,100000,1000000,10000000"
BATCH_SIZE, CROPS_PER_CLIP = 16, 8


def start(root: Path) -> tuple[Manifest, EpochPlan]:
    """Open a manifest and plan an epoch, as a loader does before its first read."""
    manifest = Manifest.open(root)
    parts = manifest.parts_by_split()["stratified"]
    clips = manifest.part("stratified", parts[0])
    manifest.labels_of("stratified")
    plan = EpochPlan(Layout.of_clips(clips, manifest.shard[clips], crops=CROPS_PER_CLIP, batch_size=BATCH_SIZE))
    for clip in plan.rows(0, range(BATCH_SIZE)).clips:
        manifest.keys[int(clip)].as_py()
    return manifest, plan


def probe(root: Path, warm: Path) -> dict[str, Any]:
    """Measure `start` on `root` after a first run on `warm`: seconds, MB, and microseconds to plan some batches."""
    start(warm)
    before = memory_mb()
    reset_peak()
    began = time.perf_counter()
    manifest, plan = start(root)
    seconds = time.perf_counter() - began
    kept, peak = memory_mb() - before, peak_mb() - before
    batches = {"first": 0, "far": min(FAR_BATCH, len(plan) - 1), "last": len(plan) - 1}
    calls = {name: lambda k=k: plan.rows(k, range(BATCH_SIZE)) for name, k in batches.items()}  # type: ignore[misc]
    timed = compete(calls, torch.device("cpu"), min_s=0.02, rounds=5)
    plan_us = {name: 1e6 * statistics.median(runs) for name, runs in timed.items()}
    return {"clips": len(manifest), "seconds": seconds, "peak_mb": peak, "kept_mb": kept, "plan_us": plan_us}


def probe_apart(root: Path, warm: Path) -> dict[str, Any]:
    """Run `probe` in a new process."""
    command = [sys.executable, __file__, "--probe", str(root), "--warm", str(warm)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)


def measure(sizes: Sequence[int], runs: int) -> list[dict[str, Any]]:
    """Return a row for each number of clips."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        warm = synthetic.write(Path(folder, "warm"), 1000)
        for size in sizes:
            root = synthetic.write(Path(folder, str(size)), size)
            probes = [probe_apart(root, warm) for _ in range(runs)]
            figures = {name: spread([p[name] for p in probes]) for name in ("seconds", "peak_mb", "kept_mb")}
            plan_us = {k: statistics.median(p["plan_us"][k] for p in probes) for k in probes[0]["plan_us"]}
            rows.append({"clips": size, **figures, "plan_us": plan_us})
    return rows


def measure_resume(shards: Path, device: torch.device, rounds: int) -> dict[str, Any]:
    """Measure the milliseconds from loading a state to the first batch, at batch 0 and far into the epoch."""
    crops_per_clip = -(-(FAR_BATCH + 1) * BATCH_SIZE // len(Manifest.open(shards)))
    with Loader(shards, batch_size=BATCH_SIZE, augment="none", device=device, crops_per_clip=crops_per_clip) as loader:

        def resume(k: int) -> None:
            loader.load_state_dict(loader.state_dict() | {"epoch": 0, "examples_consumed": k * BATCH_SIZE})
            next(iter(loader))

        calls = {f"batch {k}": lambda k=k: resume(k) for k in (0, FAR_BATCH)}  # type: ignore[misc]
        timed = compete(calls, device, rounds=rounds)
    return {name: spread([1e3 * s for s in seconds]) for name, seconds in timed.items()}


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot time and memory by the number of clips, with the aims for a million clips."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(9, 3.4), layout="constrained")
    aims = {"seconds": 2.0, "peak_mb": 200.0}
    titles = {"seconds": "seconds to the first batch's plan", "peak_mb": "peak memory without the imports, MB"}
    for axis, (name, aim) in zip(figure.subplots(1, 2), aims.items(), strict=True):
        axis.loglog([r["clips"] for r in rows], [r[name]["median"] for r in rows], "o-")
        axis.plot([1e6], [aim], "v", color="tab:red", label=f"aim for a million: {aim:g}")
        axis.set(xlabel="clips", title=titles[name])
        axis.grid(True, which="both", alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=120)


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    sizes: Annotated[str, typer.Option(help="Numbers of clips, separated by commas.")] = SIZES,
    runs: Annotated[int, typer.Option(help="Number of new processes for each number of clips.")] = 3,
    probe_root: Annotated[Path | None, typer.Option("--probe", hidden=True)] = None,
    warm: Annotated[Path | None, typer.Option("--warm", hidden=True)] = None,
) -> None:
    """Measure start-up and resume, and write benchmarks/results/scale-*.json and a plot beside it."""
    if probe_root is not None and warm is not None:
        print(json.dumps(probe(probe_root, warm)))
        return
    device = find(device_name)
    resume = measure_resume(shards, device, rounds=15)
    rows = measure([int(size) for size in sizes.split(",")], runs)
    show("Start-up", *tables.scale(rows))
    show("Resume of a loader", ["at", "ms to the first batch"], [[k, f"{v['median']:.1f}"] for k, v in resume.items()])
    path = save("scale", device, {"batch_size": BATCH_SIZE, "runs": runs, "resume_ms": resume}, rows)
    plot(rows, RESULTS / f"scale-{device_kind(device)}.png")
    print(f"written to {path}")


if __name__ == "__main__":
    run(main)
