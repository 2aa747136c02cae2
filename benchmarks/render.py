"""Render the JSON in benchmarks/results as benchmarks/report.md, and its figures into README.md.

``python benchmarks/render.py`` writes both; ``--check`` fails where they differ from the JSON instead.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.common import RESULTS, markdown

ROOT = Path(__file__).parent.parent


def load(name: str) -> dict[str, Any] | None:
    """The result called `name`, or None where it has not been measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def on_machine(result: dict[str, Any]) -> str:
    """One sentence on where and with what a result was measured."""
    machine = result["machine"]
    place = "" if machine["device"] == "cpu" else f", {machine['device']}"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return f"{machine['cores']} cores of {machine['processor']}{place}; {versions}; {machine['date']}."


def throughput(result: dict[str, Any]) -> str:
    """A row a stage: crops a second, times real time, spread."""
    rows = [
        [r["stage"], f"{r['crops_per_s']:,.0f}", f"{r['times_real_time']:,.0f}", f"{r['spread']:.0%}"]
        for r in result["rows"]
    ]
    table = markdown(["stage, alone", "3 s crops a second", "times real time", "spread of the runs"], rows)
    return f"`python benchmarks/throughput.py --shards shards/`: {on_machine(result)}\n\n{table}"


SECTIONS = {"throughput": throughput}


def render() -> dict[Path, str]:
    """The text that each document should have."""
    readme = (ROOT / "README.md").read_text()
    report = ["# Benchmarks", "", "Rendered from `benchmarks/results/*.json` by `python benchmarks/render.py`."]
    for name, section in SECTIONS.items():
        for place in ("cpu", "gpu"):
            if result := load(f"{name}-{place}"):
                text = section(result)
                report += ["", f"## {name}, {place.upper()}", "", text]
                readme = insert(readme, f"{name}-{place}", text)
    return {ROOT / "README.md": readme, ROOT / "benchmarks" / "report.md": "\n".join(report) + "\n"}


def insert(document: str, name: str, text: str) -> str:
    """Put `text` between the marks ``<!-- figures:name -->`` and ``<!-- /figures:name -->``, where there are such."""
    pattern = re.compile(rf"(<!-- figures:{name} -->\n).*?(<!-- /figures:{name} -->)", re.DOTALL)
    return pattern.sub(lambda mark: f"{mark[1]}{text}\n{mark[2]}", document)


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
