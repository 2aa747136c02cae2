"""Render the JSON in benchmarks/results as benchmarks/report.md, and its figures into README.md.

``python benchmarks/render.py`` writes both; ``--check`` fails where they differ from the JSON instead.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks import aims
from benchmarks.common import RESULTS, markdown
from benchmarks.sections import SECTIONS, Result, of_costs, of_demo, of_first_run, of_throughput, on_machine

ROOT = Path(__file__).parent.parent
PLACES = ("cpu", "gpu")
FIGURES = (
    ("train", "first-run", of_first_run),
    ("costs", "augment", of_costs),
    ("throughput", "throughput", of_throughput),
)
"""The README's marks, the results they show, and how."""


def load(folder: Path) -> dict[str, Result]:
    """Every result in `folder`, by name: ``"throughput-cpu"``."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def report(results: dict[str, Result]) -> str:
    """The text of report.md."""
    text = [
        "# Benchmarks",
        "Rendered from `benchmarks/results/*.json` by `python benchmarks/render.py`. Speed and scale are measured "
        "again by `python benchmarks/all.py --shards shards/`, with `--device cuda` on a GPU; the first training by "
        "`first_run.py`, the comparisons of the study by `accuracy.py`.",
        "## Aims",
        markdown(*aims.table(results), words=4),
        "## Where it loses",
        losses(results),
    ]
    for name, (title, section) in SECTIONS.items():
        for place in PLACES:
            if result := results.get(f"{name}-{place}"):
                text += [f"## {title}, {place.upper()}", section(result), f"*{on_machine(result)}*"]
    return "\n\n".join(text) + "\n"


def losses(results: dict[str, Result]) -> str:
    """Where another library is faster, or that none was."""
    columns, rows = aims.losses(results)
    return markdown(columns, rows, words=3) if rows else "No other library was faster at anything that was measured."


def figures(results: dict[str, Result]) -> dict[str, str]:
    """What goes between each of the README's marks; a mark whose results are missing is not there."""
    found: dict[str, list[str]] = {}
    for place in PLACES:
        for name, key, section in FIGURES:
            if result := results.get(f"{key}-{place}"):
                found.setdefault(name, []).extend([section(result), f"*{on_machine(result)}*"])
        models = results.get(f"accuracy-models-{place}")
        if models and models["settings"]["dataset"] == "demo":
            found.setdefault("demo", []).append(of_demo(models))
    if results:
        found["aims"] = [markdown(*aims.table(results), words=4)]
        found["losses"] = [losses(results)]
    return {name: "\n\n".join(parts) for name, parts in found.items()}


def insert(document: str, name: str, text: str) -> str:
    """Put `text` between the marks ``<!-- figures:name -->`` and ``<!-- /figures:name -->``, where there are such."""
    pattern = re.compile(rf"(<!-- figures:{name} -->\n).*?(<!-- /figures:{name} -->)", re.DOTALL)
    return pattern.sub(lambda mark: f"{mark[1]}{text}\n{mark[2]}", document)


def render(results: Path = RESULTS, root: Path = ROOT) -> dict[Path, str]:
    """The text that each document should have."""
    found = load(results)
    readme = (root / "README.md").read_text()
    for name, text in figures(found).items():
        readme = insert(readme, name, text)
    return {root / "README.md": readme, root / "benchmarks" / "report.md": report(found)}


def main(check: Annotated[bool, typer.Option(help="Only compare; exit 1 where a document differs.")] = False) -> None:
    """Render the benchmarks' results into report.md and README.md."""
    for path, text in render().items():
        if check and (not path.exists() or path.read_text() != text):
            print(f"{path.name} differs from benchmarks/results: run python benchmarks/render.py", file=sys.stderr)
            raise typer.Exit(1)
        if not check:
            path.write_text(text)


if __name__ == "__main__":
    typer.run(main)
