"""`gtzan-stream compare` puts runs side by side, whatever else is among the folders."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream import console
from gtzan_stream.cli import main
from gtzan_stream.errors import UserError
from gtzan_stream.training import comparison
from gtzan_stream.training.comparison import read_run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return a function that runs `gtzan-stream compare`, checks its exit code, and returns what it printed."""

    def call(*arguments: object, code: int = 0) -> Any:
        monkeypatch.setattr(console.out, "width", 200)
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed

    return call


@pytest.fixture
def runs(unbroken: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies a finished run, with other settings or another digest."""

    def copy(name: str, *, digest: str | None = None, **settings: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in ("config.json", "metrics.jsonl", "report.json"):
            shutil.copy(unbroken / file, folder)
        config = json.loads((folder / "config.json").read_text()) | settings
        (folder / "config.json").write_text(json.dumps(config))
        if digest:
            report = json.loads((folder / "report.json").read_text())
            report["data"]["digest"] = digest
            (folder / "report.json").write_text(json.dumps(report))
        return folder

    return copy


def test_runs_are_rows_with_what_differs(run, runs, unbroken, tmp_path):
    one, two = runs("one"), runs("two", seed=1, lr=0.5, augment="strong")
    rows = json.loads(run(one, two, "--json").out)
    report = json.loads((unbroken / "report.json").read_text())
    assert [row["run"] for row in rows] == ["one", "two"]
    assert [row["settings"] for row in rows] == [{"lr": 1e-3, "seed": 0}, {"lr": 0.5, "seed": 1}]
    assert [row["augmentation"] for row in rows] == ["study", "strong"]
    assert {row["data"] for row in rows} == {"A"}
    row = rows[0]
    assert (row["model"], row["split"], row["epochs"], row["steps"], row["finished"]) == ("cnn2d", "demo", 2, 8, True)
    assert row["best_epoch"] == report["training"]["best_epoch"]
    assert row["valid_track_accuracy"] == report["valid"]["valid_track_accuracy"]
    assert row["test_track_accuracy"] == report["test"]["track_accuracy"]
    assert row["test_track_interval"] == report["test"]["track_interval"]
    for name in ("crops_per_second", "data_wait_share"):
        assert row[name] == pytest.approx(report["training"][name])
    printed = run(one, two, "--plot", tmp_path / "plots/compare.png")
    interval = "{:.1%} to {:.1%}".format(*report["test"]["track_interval"])
    for words in ("one", "strong", "--lr 0.5", "--seed 1", interval):
        assert words in printed.out
    assert "--epochs" not in printed.out
    assert "unfinished" not in printed.out
    assert "cannot be compared" not in printed.out
    assert (tmp_path / "plots/compare.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unfinished_run_has_what_it_has(run, runs):
    begun, half, longer = runs("begun"), runs("half"), runs("longer")
    for folder in (begun, half):
        (folder / "report.json").unlink()
    (begun / "metrics.jsonl").unlink()
    first, second = (longer / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text(first)
    third = json.dumps(json.loads(second) | {"epoch": 3, "step": 12})
    (longer / "metrics.jsonl").write_text(first + second + third + "\n")  # goes on after its report
    rows = json.loads(run(begun, half, longer, "--json").out)
    assert [(row["epochs"], row["steps"], row["finished"]) for row in rows] == [
        (0, 0, False),
        (1, 4, False),
        (3, 12, False),
    ]
    assert rows[0]["valid_track_accuracy"] is None
    assert rows[1]["valid_track_accuracy"] == json.loads(first)["valid_track_accuracy"]
    assert all(row["test_track_accuracy"] is None for row in rows)
    assert {row["data"] for row in rows} == {"A"}  # the shards are there, and have the same digest
    assert run(begun, half, longer).out.count("unfinished") == 3


def test_runs_on_other_clips_or_splits_are_marked(run, runs):
    folders = [runs("a"), runs("b", digest="0" * 64), runs("c", split="stratified"), runs("d")]
    assert [row["data"] for row in json.loads(run(*folders, "--json").out)] == ["A", "B", "C", "A"]
    assert "accuracies cannot be compared" in run(*folders).out
    gone = [runs(name, shards=str(folders[0] / "gone")) for name in ("e", "f")]
    for folder in gone:
        (folder / "report.json").unlink()
    assert [row["data"] for row in json.loads(run(folders[0], *gone, "--json").out)] == ["A", "B", "C"]


def test_runs_with_the_same_name_are_told_apart(run, runs, tmp_path):
    (tmp_path / "more").mkdir()
    folders = [runs("a"), runs("more/a"), runs("b")]
    names = [row["run"] for row in json.loads(run(*folders, "--json").out)]
    assert names == [f"{tmp_path}/a", f"{tmp_path}/more/a", "b"]


def test_folders_that_are_no_runs_are_left_out(run, runs, tmp_path):
    good, bad, other, old = runs("good"), runs("bad"), runs("other"), runs("old")
    (bad / "metrics.jsonl").write_bytes(b'{"epoch": 1, "st')
    (other / "config.json").write_text('{"colour": "red"}')
    report = json.loads((old / "report.json").read_text())
    del report["test"]["track_interval"]
    (old / "report.json").write_text(json.dumps(report))
    (tmp_path / "notes").mkdir()
    printed = run(good, bad, other, old, tmp_path / "notes", tmp_path / "nowhere")
    assert "good" in printed.out
    lines = printed.err.splitlines()
    assert [line.split(": ", 1)[0] for line in lines] == ["gtzan-stream"] * 5
    assert f"{bad}/metrics.jsonl is damaged (" in lines[0]
    assert "does not hold the settings of a run: there is no setting colour" in lines[1]
    assert f"{old} has a report.json or metrics.jsonl that is damaged or of another version" in lines[2]
    assert f"{tmp_path}/notes is not the folder of a run" in lines[3]
    printed = run(bad, tmp_path / "notes", code=2)
    assert printed.err.splitlines()[-1].startswith("gtzan-stream: there is nothing to compare: give folders that train")


@pytest.mark.parametrize("file", ["metrics.jsonl", "report.json", "config.json"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[]\n", b"{}\n", b"null", b'{"test": 3, "training": {"steps": 8}}', b'{"epoch": "1"}']
)
def test_any_damage_is_one_line(run, runs, file, content):
    good, bad = runs("good"), runs("bad")
    (bad / file).write_bytes(content)
    assert run(good, bad).err.count("\n") == 1


@pytest.mark.parametrize("number", ["0.5", float("nan"), None, [1]])
@pytest.mark.parametrize("name", comparison.COLUMNS)
def test_a_measure_that_is_no_number_is_one_line(runs, name, number):
    bad = runs("bad")
    row = json.loads((bad / "metrics.jsonl").read_text().splitlines()[0])
    (bad / "metrics.jsonl").write_text(json.dumps(row | {name: number}) + "\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl that is damaged or of another version"):
        read_run(bad)


def test_the_plot_has_every_run_and_cuts_nothing_off(runs):
    perfect, plain = runs("perfect"), runs("plain")
    report = json.loads((perfect / "report.json").read_text())
    report["test"] |= {"track_accuracy": 1.0, "track_interval": [0.72, 1.0]}
    (perfect / "report.json").write_text(json.dumps(report))
    (plain / "report.json").unlink()
    read = [read_run(folder) for folder in (perfect, plain)]
    curves, tests = comparison.plot(read, comparison.compare(read)).get_axes()
    assert [line.get_xdata().tolist() for line in curves.get_lines()] == [[4, 8], [4, 8]]
    assert [line.get_xdata().tolist() for line in tests.get_lines()] == [[0.72, 1.0], [1.0]]
    assert [text.get_text() for text in tests.get_yticklabels()] == ["perfect", "plain, not finished"]
    assert not any(line.get_clip_on() for panel in (curves, tests) for line in panel.get_lines())
    curves, _ = comparison.plot(11 * read[1:], comparison.compare(11 * read[1:])).get_axes()
    first, *_, last = curves.get_lines()
    assert (first.get_color(), first.get_linestyle(), last.get_color(), last.get_linestyle()) == ("C0", "-", "C0", "--")
