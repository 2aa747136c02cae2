"""Repeat the study's comparisons: ``python benchmarks/accuracy.py --shards shards/ --compare models``.

Every cell of a table has a run like those of ``train.py`` for each seed, in a folder of its own. The benchmark can be
stopped and started again: finished runs are not repeated, and an interrupted run continues from its checkpoint.
"""

import contextlib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

import models
from benchmarks.lib import accuracy_table, common
from benchmarks.lib.common import Shards
from benchmarks.lib.comparisons import COMPARISONS, Cell, networks, parse_steps, spec
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.inference import export
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import checkpoints, defaults, device, launch
from gtzan_stream.training.config import Config, option_name
from gtzan_stream.training.interrupt import Interrupted
from gtzan_stream.training.run import Diverged

MAY_DIFFER = {"shards", "out", "name", "num_workers", "on_error", "check"}
"""Settings in which a stored run may differ from the requested one."""
MACHINE = "machine.json"
"""File with the machine and commit of a run. It is written last, so it marks a finished run."""


def complete(config: Config) -> Config:
    """Fill in all settings of a run, and give it the same name in every comparison it belongs to."""
    config = defaults.complete(config, spec(config.model))
    words = (config.model, config.augment, config.normalization, config.optimizer, f"seed-{config.seed}")
    return replace(config, name="-".join(map(str, words)).replace(":", "-"))


def run(config: Config) -> dict[str, Any]:
    """Train a run, or continue it, and return its report. Checkpoints of a finished run are removed.

    Parameters
    ----------
    config : Config
        From `complete`.

    Raises
    ------
    UserError
        If the folder holds a run with other settings or data.
    Diverged
        If the loss is not finite.
    """
    folder = Path(config.out, str(config.name))  # `complete` has filled in the name: str() is for the type checker
    if (folder / "config.json").exists():
        _refuse_other(folder, config)
    if not (folder / MACHINE).exists():
        if (folder / checkpoints.LAST).exists():
            changes = {"shards": config.shards, "num_workers": config.num_workers}
            training = launch.resume(folder, changes, build=models.build)
        else:
            training = launch.start(config, build=models.build)
        with contextlib.closing(training):
            training.train()
            training.finish()
        (folder / MACHINE).write_text(json.dumps(common.machine(training.device)), encoding="utf-8")
    for name in (checkpoints.LAST, checkpoints.BEST, export.MODEL):
        (folder / name).unlink(missing_ok=True)
    return json.loads((folder / "report.json").read_text(encoding="utf-8")) | {
        "machine": json.loads((folder / MACHINE).read_text(encoding="utf-8"))
    }


def _refuse_other(folder: Path, config: Config) -> None:
    stored, wanted = json.loads((folder / "config.json").read_text(encoding="utf-8")), config.to_dict()
    remedy = f"remove {folder}, or choose another --out"
    for name in sorted((stored.keys() | wanted.keys()) - MAY_DIFFER):
        if stored.get(name) != wanted.get(name):
            raise UserError(
                f"{folder} was trained with {option_name(name)} {stored.get(name)}, not {wanted.get(name)}: {remedy}"
            )
    report = folder / "report.json"
    digest = Manifest.open(config.source).digest
    if report.exists() and json.loads(report.read_text(encoding="utf-8"))["data"]["digest"] != digest:
        raise UserError(f"{folder} was trained on other clips than those of {config.shards}: {remedy}")


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation, which is 0 for one value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def merge_machines(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the machine of the last run without its load, and the commits and dates of all runs."""
    machines = [report["machine"] for report in reports]
    every = {name: ", ".join(dict.fromkeys(str(machine[name]) for machine in machines)) for name in ("commit", "date")}
    return {**machines[-1], **every, "load": None}


def summary(cell: Cell, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a cell's row of the result: means and standard deviations over its seeds."""
    first = reports[0]
    return {
        "row": cell.row,
        "column": cell.column,
        "options": cell.options,
        "seeds": [report["config"]["seed"] for report in reports],
        "parameters": first["model"]["parameters"],
        "train_accuracy": mean_and_deviation([report["training"]["last_train_accuracy"] for report in reports]),
        "valid_accuracy": mean_and_deviation([report["valid"]["valid_chunk_accuracy"] for report in reports]),
        "chunk_accuracy": mean_and_deviation([report["test"]["chunk_accuracy"] for report in reports]),
        "track_accuracy": mean_and_deviation([report["test"]["track_accuracy"] for report in reports]),
        "seconds": mean_and_deviation([report["training"]["seconds"] for report in reports]),
        "epochs": mean_and_deviation([report["training"]["epochs"] for report in reports]),
        "steps": mean_and_deviation([report["training"]["steps"] for report in reports]),
    }


def main(
    shards: Shards = Path("shards"),
    compare: Annotated[str, typer.Option(help=f"One of {', '.join(COMPARISONS)}.")] = "models",
    names: Annotated[str, typer.Option("--models", help="Networks, separated by commas, or all.")] = "",
    seeds: Annotated[int, typer.Option(help="Number of runs of each cell.", min=1)] = 3,
    steps: Annotated[
        str, typer.Option(help="Training steps of each run: 180, or 180,vgg19=360; by default those of train.py.")
    ] = "",
    split: Annotated[str, typer.Option(help="Split; train.py's default if empty.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/accuracy"),
    device_name: Annotated[str, typer.Option("--device", help="As in train.py.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32, as in train.py.")] = "auto",
) -> None:
    """Train every cell of a comparison, print the table, and write it and a plot to benchmarks/results."""
    if compare not in COMPARISONS:
        raise UserError(f"there is no comparison {compare!r}; there are {', '.join(COMPARISONS)}")
    cells = list(COMPARISONS[compare](networks(names, compare)))
    default_steps, own_steps = parse_steps(steps)
    shared = Config(shards=str(shards), split=split or None, device=device_name, precision=precision)
    default_config = complete(shared)
    folder = out / f"{Manifest.open(shards).dataset}-{default_config.split}"
    rows, all_reports, diverged = [], [], []
    for number, cell in enumerate(cells, 1):
        reports = []
        n_steps = own_steps.get(cell.options["model"], default_steps)
        runs = folder / (f"{n_steps}-steps" if n_steps else "full")
        for seed in range(seeds):
            options: dict[str, Any] = {**cell.options, "steps": n_steps, "seed": seed, "out": str(runs)}
            config = complete(replace(shared, **options))
            print(f"cell {number} of {len(cells)}: {config.name}")
            try:
                reports.append(run(config))
            except Diverged as error:
                diverged.append(f"{config.name}: {error}")
        if len(reports) == seeds:
            rows.append(summary(cell, reports))
            all_reports += reports
    if not rows:
        raise UserError(f"in every cell, a run diverged; the first was {diverged[0]}")
    settings = {"compare": compare, "seeds": seeds, "steps": steps, "precision": default_config.precision}
    settings |= all_reports[0]["data"]
    path = common.save(f"accuracy-{compare}", device.find(device_name), settings, rows, merge_machines(all_reports))
    result = json.loads(path.read_text(encoding="utf-8"))
    accuracy_table.plot(path.with_suffix(".png"), result)
    print(f"{accuracy_table.text(result)}\n\nwritten to {path}")
    if diverged:
        raise UserError(f"{len(diverged)} runs diverged, and their cells are not in the table: {'; '.join(diverged)}")


if __name__ == "__main__":
    try:
        common.run(main)
    except BadSample as error:
        sys.exit(f"accuracy.py: {error}")
    except Interrupted:
        print("Interrupted; the same command continues", file=sys.stderr)
        sys.exit(130)
