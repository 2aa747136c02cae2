"""The report rendered from the JSON results of the benchmarks."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import render
from benchmarks.lib import aims, common, tables
from benchmarks.lib.sections import SECTIONS
from benchmarks.throughput import row

CPU = torch.device("cpu")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a README and three results: another library is faster in one, one meets an aim, one misses it."""
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    (tmp_path / "README.md").write_text(
        "before\n<!-- figures:throughput -->\nold\n<!-- /figures:throughput -->\n"
        "<!-- figures:costs -->\n<!-- /figures:costs -->\nafter\n"
    )
    (tmp_path / "benchmarks").mkdir()
    rows = []
    for library, ms in {"gtzan-stream": 4.0, "librosa": 10.0, "audiomentations": 2.0}.items():
        rows.append(
            {
                "operation": "time stretch",
                "parameters": "rate 1.1",
                "cores": 1,
                "library": library,
                "ms_per_clip": common.spread([ms]),
                "runs": 1,
                "times_ours": common.spread([ms / 4.0]),
                "error": 1e-4,
                "from_librosa": None,
                "note": "in a hurry" if library == "audiomentations" else "",
            }
        )
    common.save("augment", CPU, {"clips": 1, "clip_s": 30.0, "rounds": 1}, rows)
    stages = [row("read", common.spread([31_000.0, 30_500.0])), row("loader, study", common.spread([500.0]))]
    stages.append(row("training cnn2d, loader, study", common.spread([50.0]), data_wait=0.01))
    common.save("throughput", CPU, {"batch_size": 8, "num_workers": 1, "crop_s": 3.0}, stages)
    cost = [
        {"library": "gtzan-stream", "n_steps": n, "ms_per_clip": common.spread([1.0 + n]), "times_cost_at_0": 1.0 + n}
        for n in (0, 1)
    ]
    cost += [r | {"library": "torchaudio"} for r in cost]
    common.save("pitch-cost", CPU, {}, cost)
    return tmp_path


def test_report_is_rendered(results: Path):
    documents = render.render(results / "results", results)
    readme, report = documents[results / "README.md"], documents[results / "benchmarks" / "report.md"]
    assert readme.startswith("before\n<!-- figures:throughput -->\nBatches of 8 crops")
    assert "| time stretch | 4.00 | 2.00 | audiomentations |\n" in readme
    assert readme.endswith("<!-- /figures:costs -->\nafter\n")
    assert "old" not in readme
    assert "| read | 30,750 | 30,500 to 31,000 | 91,394 |  |" in readme
    assert "| reading, one core | at least 30,000 crops of 3 s a second | 30,750 (30,500 to 31,000) crops" in report
    assert "| CPU: training waits for data | under 5 % of the time | 1.0% | yes |" in report
    assert "0.50 (0.50 to 0.50) times audiomentations on 1 core | **no** |" in report
    assert "2.00 times at most, at 1 semitones | **no** |" in report
    assert "| GPU: memory | flat over 10,000 batches | not measured |  |" in report
    assert "| time stretch | 1 core | audiomentations | 2.0 | in a hurry |" in report
    assert "- **" in render.figures(render.load(results / "results"))["headline"]
    assert f"torch {torch.__version__.split('+')[0]}" in report
    assert list(documents) == [results / "README.md", results / "benchmarks" / "report.md"]


def test_check_notices_an_old_report(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(render.render, "__defaults__", (results / "results", results))
    with pytest.raises(render.typer.Exit):
        render.main(check=True)
    assert "README.md differs" in capsys.readouterr().err
    render.main(check=False)
    render.main(check=True)
    stored = results / "results" / "throughput-cpu.json"
    content = json.loads(stored.read_text())
    content["rows"][0]["crops_per_s"]["median"] = 29_000.0
    stored.write_text(json.dumps(content))
    with pytest.raises(render.typer.Exit):
        render.main(check=True)


def test_the_results_for_every_aim_are_in_the_report():
    assert {aim.needs.rsplit("-", 1)[0] for aim in aims.AIMS} <= set(SECTIONS)


@pytest.mark.parametrize(
    ("table", "result"),
    [
        (tables.baseline, "baseline"),
        (tables.contest, "augment"),
        (tables.contest, "features"),
        (tables.pitch_cost, "pitch-cost"),
        (tables.scale, "scale"),
        (tables.scaling, "scaling"),
        (tables.soak, "soak"),
        (tables.sweep, "sweep"),
        (tables.throughput, "throughput"),
    ],
)
def test_tables_have_as_many_cells_as_columns(table: Any, result: str):
    rows = render.load(render.RESULTS)[f"{result}-cpu"]["rows"]
    columns, cells = table(rows)
    assert cells
    assert {len(line) for line in cells} == {len(columns)}


def test_the_table_of_the_floor_has_as_many_cells_as_columns():
    found = {"stage": "log-mel", "us_per_clip": common.spread([4.0, 5.0]), "floor_us": 2.25, "share": 0.5}
    columns, cells = tables.floor([found])
    assert cells == [["log-mel", "4.5", "4.0 to 5.0", "2.2", "50%"]]
    assert len(columns) == len(cells[0])


def test_documents_show_the_results():
    """report.md, README.md and the pages of docs hold the figures of the committed JSON, and every mark is known."""
    names = {*render.figures(render.load(render.RESULTS))}
    for page in [render.ROOT / "README.md", *(render.ROOT / "docs").glob("*.md")]:
        marks = set(re.findall(r"<!-- figures:(\w+) -->", page.read_text()))
        assert marks <= names
        assert not marks or str(page.relative_to(render.ROOT)) in render.DOCUMENTS
    for path, text in render.render().items():
        assert path.read_text() == text, f"{path.name} differs from benchmarks/results: run python benchmarks/render.py"
