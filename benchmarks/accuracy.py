"""The study's comparisons, made again: ``python benchmarks/accuracy.py --shards shards/ --compare models``.

Every cell of a table is a run of ``train.py`` of its own, in its own folder. Cells that have ended are not run again,
and a cell that was interrupted goes on from its checkpoint, so the benchmark may be stopped and started at will.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

import models
from benchmarks.common import save, show
from gtzan_stream.augment import recipes
from gtzan_stream.errors import UserError
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import device, optimizers

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of a comparison: where it stands in the table, and what it changes in `train.py`'s defaults."""

    row: str
    column: str
    options: dict[str, str] = field(default_factory=dict)


def of_models(names: list[str]) -> Iterator[Cell]:
    """Each network, without augmentation and with the study's."""
    for name in names:
        for augment in ("none", "study"):
            yield Cell(row=name, column=augment, options={"model": name, "augment": augment})


def of_normalization(names: list[str]) -> Iterator[Cell]:
    """Each normalisation of the features, on each network."""
    for name in names:
        for kind in NORMALIZATIONS:
            yield Cell(row=kind, column=name, options={"model": name, "normalization": kind})


def of_optimizer(names: list[str]) -> Iterator[Cell]:
    """Each optimiser at its own learning rate, on each network."""
    for name in names:
        for kind in optimizers.names():
            yield Cell(row=kind, column=name, options={"model": name, "optimizer": kind})


def of_augmentation(names: list[str]) -> Iterator[Cell]:
    """Each of the study's augmentations alone, and all but it."""
    for name in names:
        yield Cell(row="none", column="only", options={"model": name, "augment": "none"})
        yield Cell(row="all", column="only", options={"model": name, "augment": "study"})
        for transform in recipes.study_names():
            for column in ("only", "without"):
                options = {"model": name, "augment": f"{column}:{transform}"}
                yield Cell(row=transform, column=column, options=options)


COMPARISONS: dict[str, Callable[[list[str]], Iterator[Cell]]] = {
    "models": of_models,
    "normalization": of_normalization,
    "optimizer": of_optimizer,
    "augmentation": of_augmentation,
}


def run(cell: Cell, seed: int, common: dict[str, str], out: Path) -> dict[str, Any]:
    """Train one cell, unless it has ended before, and return its report.

    Raises
    ------
    UserError
        If the training fails.
    """
    options = {**common, **cell.options, "seed": str(seed), "out": str(out)}
    name = "-".join([cell.row, cell.column, str(seed)]).replace(":", "-")
    folder = out / name
    report = folder / "report.json"
    if not report.exists():
        started = (folder / "last.pt").exists()
        arguments = ["--resume", str(folder)] if started else ["--name", name]
        if not started:
            for option, value in options.items():
                arguments += [f"--{option.replace('_', '-')}", value]
        ended = subprocess.run([sys.executable, str(ROOT / "train.py"), *arguments], check=False)
        if ended.returncode:
            raise UserError(f"{name} ended with exit status {ended.returncode}; its command was train.py {arguments}")
    return json.loads(report.read_text())


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; 0 for one value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def summary(cell: Cell, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell of the table: means and spreads over its seeds."""
    first = reports[0]
    return {
        "row": cell.row,
        "column": cell.column,
        "options": cell.options,
        "seeds": [report["config"]["seed"] for report in reports],
        "parameters": first["model"]["parameters"],
        "track_accuracy": spread([report["test"]["track_accuracy"] for report in reports]),
        "chunk_accuracy": spread([report["test"]["chunk_accuracy"] for report in reports]),
        "train_accuracy": spread([report["training"]["last_train_accuracy"] for report in reports]),
        "valid_accuracy": spread([report["valid"]["valid_chunk_accuracy"] for report in reports]),
        "seconds": spread([report["training"]["seconds"] for report in reports]),
        "steps": first["training"]["steps"],
        "precision": first["config"]["precision"],
    }


def main(
    shards: Annotated[Path, typer.Option(help="Folder of packed shards.")] = Path("shards"),
    compare: Annotated[str, typer.Option(help=f"One of {', '.join(COMPARISONS)}.")] = "models",
    models_: Annotated[
        str, typer.Option("--models", help="Networks, with commas between; all for every one of the study's.")
    ] = "",
    seeds: Annotated[int, typer.Option(help="Runs of each cell.")] = 3,
    steps: Annotated[int, typer.Option(help="Training steps of each run; 0 for train.py's own end.")] = 0,
    split: Annotated[str, typer.Option(help="Split; train.py's default if empty.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/accuracy"),
    device_: Annotated[str, typer.Option("--device", help="As train.py's.")] = "auto",
) -> None:
    """Train every cell of a comparison, print the table and write benchmarks/results/accuracy-*.json."""
    try:
        if compare not in COMPARISONS:
            raise UserError(f"there is no comparison {compare!r}; there are {', '.join(COMPARISONS)}")
        default = "all" if compare == "models" else "cnn2d"
        names = models.names() if (models_ or default) == "all" else (models_ or default).split(",")
        for name in names:
            models.spec(name)
        manifest = Manifest.open(shards)
        common = {"shards": str(shards), "device": device_}
        common |= {"split": split} if split else {}
        common |= {"steps": str(steps)} if steps else {}
        folder = out / f"{manifest.dataset}-{compare}" / (f"{steps}-steps" if steps else "full")
        rows = []
        for cell in COMPARISONS[compare](names):
            reports = [run(cell, seed, common, folder) for seed in range(seeds)]
            rows.append(summary(cell, reports))
    except (UserError, ValueError) as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    settings = {"compare": compare, "seeds": seeds, "steps": steps or None, **reports[0]["data"]}
    show(
        f"{compare} on {settings['dataset']}, split {settings['split']}, {seeds} seeds",
        ["", "augmentation or variant", "per track", "per chunk", "minutes"],
        [
            [
                r["row"],
                r["column"],
                percent(r["track_accuracy"]),
                percent(r["chunk_accuracy"]),
                f"{r['seconds'][0] / 60:.1f}",
            ]
            for r in rows
        ],
    )
    print(f"written to {save(f'accuracy-{compare}', device.find(device_), settings, rows)}")


def percent(accuracy: tuple[float, float]) -> str:
    """Mean and spread: ``61.2 % +/- 1.4``."""
    return f"{accuracy[0]:.1%} +/- {100 * accuracy[1]:.1f}"


if __name__ == "__main__":
    typer.run(main)
