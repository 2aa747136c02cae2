"""The study's comparisons, made again: ``python benchmarks/accuracy.py --shards shards/ --compare models``.

Every cell of a table is a run of ``train.py`` in its own folder. Cells that have ended are not run again, and a cell
that was interrupted goes on from its checkpoint, so the benchmark may be stopped and started at will.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

import models
import train
from benchmarks import accuracy_table, common
from benchmarks.common import Shards
from gtzan_stream.augment import recipes
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import checkpoints, device, export, optimizers
from gtzan_stream.training.config import Config, flag

OF_A_MACHINE = {"shards", "out", "name", "workers", "on_error", "check"}  # settings that a cell may change in
MACHINE = "machine.json"
"""Where a cell was trained, and at which commit; written last, so it says that the cell has ended."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of a comparison: where it stands in the table, and what it changes in `train.py`'s defaults."""

    row: str
    column: str
    options: dict[str, str]


def of_models(names: Sequence[str]) -> Iterator[Cell]:
    """Each network, without augmentation and with the study's."""
    for name in names:
        for augment in ("none", "study"):
            yield Cell(row=name, column=augment, options={"model": name, "augment": augment})


def of_normalization(names: Sequence[str]) -> Iterator[Cell]:
    """Each normalisation of the features, on each network."""
    for name in names:
        for kind in NORMALIZATIONS:
            yield Cell(row=kind, column=name, options={"model": name, "normalization": kind})


def of_optimizer(names: Sequence[str]) -> Iterator[Cell]:
    """Each optimiser at its own learning rate, on each network."""
    for name in names:
        for kind in optimizers.names():
            yield Cell(row=kind, column=name, options={"model": name, "optimizer": kind})


def of_augmentation(names: Sequence[str]) -> Iterator[Cell]:
    """No augmentation, the study's, the strong recipe; then each of the study's alone, and all but it."""
    for name in names:
        for recipe in ("none", "study", "strong"):
            yield Cell(row=recipe, column=f"whole, {name}", options={"model": name, "augment": recipe})
        for transform in recipes.study_names():
            for part in ("only", "without"):
                options = {"model": name, "augment": f"{part}:{transform}"}
                yield Cell(row=transform, column=f"{part}, {name}", options=options)


COMPARISONS: dict[str, Callable[[Sequence[str]], Iterator[Cell]]] = {
    "models": of_models,
    "normalization": of_normalization,
    "optimizer": of_optimizer,
    "augmentation": of_augmentation,
}


def complete(config: Config) -> Config:
    """A cell's settings, all of them, and a name that is the same in every comparison that the cell belongs to."""
    config = train.complete(config)
    words = (config.model, config.augment, config.normalization, config.optimizer, f"seed-{config.seed}")
    return replace(config, name="-".join(map(str, words)).replace(":", "-"))


def run(config: Config) -> dict[str, Any]:
    """Train one cell, or what is left of it, and return its report. Of a cell that has ended, only that is kept.

    Parameters
    ----------
    config : Config
        Of `complete`.

    Raises
    ------
    UserError
        If the folder holds a run of other settings or data.
    Diverged
        If the loss became no number.
    """
    folder = Path(config.out, str(config.name))
    if (folder / "config.json").exists():
        _refuse_other(folder, config)
    if not (folder / MACHINE).exists():
        begun, here = (folder / checkpoints.LAST).exists(), {"shards": config.shards, "workers": config.workers}
        training = train.resume(folder, here) if begun else train.start(config)
        training.train()
        training.finish()
        (folder / MACHINE).write_text(json.dumps(common.machine(training.device)))
    for name in (checkpoints.LAST, checkpoints.BEST, export.MODEL):
        (folder / name).unlink(missing_ok=True)
    return json.loads((folder / "report.json").read_text()) | {"machine": json.loads((folder / MACHINE).read_text())}


def _refuse_other(folder: Path, config: Config) -> None:
    stored, wanted = json.loads((folder / "config.json").read_text()), config.to_dict()
    remedy = f"remove {folder}, or choose another --out"
    for name in sorted((stored.keys() | wanted.keys()) - OF_A_MACHINE):
        if stored.get(name) != wanted.get(name):
            raise UserError(
                f"{folder} was trained with {flag(name)} {stored.get(name)}, not {wanted.get(name)}: {remedy}"
            )
    report = folder / "report.json"
    digest = Manifest.open(config.shards).digest
    if report.exists() and json.loads(report.read_text())["data"]["digest"] != digest:
        raise UserError(f"{folder} was trained on other clips than those of {config.shards}: {remedy}")


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; 0 for one value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def whole_machine(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where cells were trained: the last one's machine without its load, and every commit and date there was."""
    machines = [report["machine"] for report in reports]
    every = {name: ", ".join(dict.fromkeys(str(machine[name]) for machine in machines)) for name in ("commit", "date")}
    return {**machines[-1], **every, "load": None}


def summary(cell: Cell, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A cell of the table: means and spreads over its seeds."""
    first = reports[0]
    return {
        "row": cell.row,
        "column": cell.column,
        "options": cell.options,
        "seeds": [report["config"]["seed"] for report in reports],
        "parameters": first["model"]["parameters"],
        "train_accuracy": spread([report["training"]["last_train_accuracy"] for report in reports]),
        "valid_accuracy": spread([report["valid"]["valid_chunk_accuracy"] for report in reports]),
        "chunk_accuracy": spread([report["test"]["chunk_accuracy"] for report in reports]),
        "track_accuracy": spread([report["test"]["track_accuracy"] for report in reports]),
        "seconds": spread([report["training"]["seconds"] for report in reports]),
        "epochs": spread([report["training"]["epochs"] for report in reports]),
        "steps": spread([report["training"]["steps"] for report in reports]),
    }


def chosen(names: str, compare: str) -> list[str]:
    """The networks of a list with commas; by default all for a comparison of networks, and cnn2d for the others."""
    names = names or ("all" if compare == "models" else "cnn2d")
    networks = models.names() if names == "all" else names.split(",")
    for name in networks:
        train.network_spec(name)
    return networks


def lengths(steps: str) -> tuple[int | None, dict[str, int]]:
    """Read ``"180,vgg19=360"``: training steps of every network, and of those with a number of their own.

    Raises
    ------
    UserError
        If it is something else.
    """
    common_length, own = None, {}
    for word in filter(None, steps.split(",")):
        name, given, number = word.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise UserError(f"--steps takes a number above 0, and numbers of networks: 180,vgg19=360, got {steps!r}")
        if given:
            train.network_spec(name)
            own[name] = int(number)
        elif common_length is None:
            common_length = int(number)
        else:
            raise UserError(f"--steps takes one number for the networks that have none of their own, got {steps!r}")
    return common_length, own


def main(
    shards: Shards = Path("shards"),
    compare: Annotated[str, typer.Option(help=f"One of {', '.join(COMPARISONS)}.")] = "models",
    networks: Annotated[str, typer.Option("--models", help="Networks, with commas between, or all.")] = "",
    seeds: Annotated[int, typer.Option(help="Runs of each cell.", min=1)] = 3,
    steps: Annotated[
        str, typer.Option(help="Training steps of each run: 180, or 180,vgg19=360; by default train.py's own end.")
    ] = "",
    split: Annotated[str, typer.Option(help="Split; train.py's default if empty.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/accuracy"),
    where: Annotated[str, typer.Option("--device", help="As of train.py.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32, as of train.py.")] = "auto",
) -> None:
    """Train every cell of a comparison, print the table, and write it and its picture into benchmarks/results."""
    if compare not in COMPARISONS:
        raise UserError(f"there is no comparison {compare!r}; there are {', '.join(COMPARISONS)}")
    names = chosen(networks, compare)
    length, own_lengths = lengths(steps)
    same = Config(shards=str(shards), split=split or None, device=where, precision=precision)
    usual = complete(same)
    folder = out / f"{Manifest.open(shards).dataset}-{usual.split}"
    rows, all_reports, diverged = [], [], []
    cells = list(COMPARISONS[compare](names))
    for number, cell in enumerate(cells, 1):
        reports = []
        n_steps = own_lengths.get(cell.options["model"], length)
        place = folder / (f"{n_steps}-steps" if n_steps else "full")
        for seed in range(seeds):
            options: dict[str, Any] = {**cell.options, "steps": n_steps, "seed": seed, "out": str(place)}
            config = complete(replace(same, **options))
            print(f"cell {number} of {len(cells)}: {config.name}")
            try:
                reports.append(run(config))
            except train.Diverged as error:
                diverged.append(f"{config.name}: {error}")
        if len(reports) == seeds:
            rows.append(summary(cell, reports))
            all_reports += reports
    if not rows:
        raise UserError(f"no cell has all its runs; the first that diverged: {diverged[0]}")
    settings = {"compare": compare, "seeds": seeds, "steps": steps, "precision": usual.precision}
    settings |= all_reports[0]["data"]
    path = common.save(f"accuracy-{compare}", device.find(where), settings, rows, whole_machine(all_reports))
    result = json.loads(path.read_text())
    accuracy_table.plot(path.with_suffix(".png"), result)
    print(f"{accuracy_table.text(result)}\n\nwritten to {path}")
    if diverged:
        raise UserError(f"{len(diverged)} runs diverged, and their cells are not in the table: {'; '.join(diverged)}")


if __name__ == "__main__":
    try:
        common.run(main)
    except BadSample as error:
        sys.exit(f"accuracy.py: {error}")
    except train.Interrupted:
        print("Interrupted; the same command continues", file=sys.stderr)
        sys.exit(130)
