"""Render the JSON in benchmarks/results as benchmarks/report.md, and its figures into README.md and the pages of docs.

``python benchmarks/render.py`` writes both; with ``--check`` it writes nothing, and fails if they differ from the JSON.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import aims, service_table
from benchmarks.lib.common import RESULTS, ROOT, markdown
from benchmarks.lib.headline import briefly, headline
from benchmarks.lib.sections import (
    SECTIONS,
    Result,
    of_costs,
    of_demo,
    of_first_run,
    of_fleet,
    of_sounds,
    of_throughput,
    on_machine,
)

KINDS = ("cpu", "gpu")
FIGURES = (
    ("train", "first-run", of_first_run),
    ("costs", "augment", of_costs),
    ("sound", "sound", of_sounds),
    ("throughput", "throughput", of_throughput),
    ("fleet", "fleet", of_fleet),
    ("service", "service", service_table.section),
)
"""For each marked section of a document: its name, the result it shows, and the function that renders it."""
DOCUMENTS = (
    "README.md",
    *(f"docs/{page}.md" for page in ("augmentations", "fleet", "performance", "service", "training")),
)
"""Documents with marked sections."""


def load(folder: Path) -> dict[str, Result]:
    """Load every result in `folder`, by name, such as ``"throughput-cpu"``."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def report(results: dict[str, Result]) -> str:
    """Render the text of report.md."""
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
        for kind in KINDS:
            if result := results.get(f"{name}-{kind}"):
                text += [f"## {title}, {kind.upper()}", section(result), f"*{on_machine(result)}*"]
    return "\n\n".join(text) + "\n"


def losses(results: dict[str, Result]) -> str:
    """Render the table of operations for which another library is faster."""
    columns, rows = aims.losses(results)
    return markdown(columns, rows, words=3) if rows else "No other library was faster at anything that was measured."


def figures(results: dict[str, Result]) -> dict[str, str]:
    """Render the text of each marked section for which there is a result."""
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        for name, key, section in FIGURES:
            if result := results.get(f"{key}-{kind}"):
                found.setdefault(name, []).extend([section(result), f"*{briefly(result)}*"])
        models = results.get(f"accuracy-models-{kind}")
        if models and models["settings"]["dataset"] == "demo":
            found.setdefault("demo", []).append(of_demo(models))
    if results:
        found["aims"] = [markdown(*aims.table(results), words=4)]
        found["losses"] = [losses(results)]
        found["headline"] = [headline(results)]
    return {name: "\n\n".join(parts) for name, parts in found.items()}


def insert(document: str, name: str, text: str) -> str:
    """Replace the text between ``<!-- figures:name -->`` and ``<!-- /figures:name -->``, if the document has them."""
    pattern = re.compile(rf"(<!-- figures:{name} -->\n).*?(<!-- /figures:{name} -->)", re.DOTALL)
    return pattern.sub(lambda mark: f"{mark[1]}{text}\n{mark[2]}", document)


def render(results: Path = RESULTS, root: Path = ROOT) -> dict[Path, str]:
    """Render all documents: text by path."""
    found = load(results)
    documents = {path: path.read_text(encoding="utf-8") for path in map(root.joinpath, DOCUMENTS) if path.exists()}
    for name, text in figures(found).items():
        documents = {path: insert(document, name, text) for path, document in documents.items()}
    return {**documents, root / "benchmarks" / "report.md": report(found)}


def main(check: Annotated[bool, typer.Option(help="Only compare; exit 1 if a document differs.")] = False) -> None:
    """Render the benchmarks' results into report.md, README.md and the pages of docs."""
    for path, text in render().items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            print(f"{path.name} differs from benchmarks/results: run python benchmarks/render.py", file=sys.stderr)
            raise typer.Exit(1)
        if not check:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
