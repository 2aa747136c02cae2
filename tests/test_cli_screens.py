"""What programs and people get from the commands: one JSON document, and help that fits into 80 columns."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gtzan_stream.cli import app

COMMANDS = ["demo", "fetch", "pack", "index", "info", "verify", "classify", "serve"]


def json_of(*arguments: object, code: int = 0) -> Any:
    """Run a command with --json, check that it prints no errors, and parse its whole output."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    if arguments[0] != "pack":  # it announces the labels on stderr
        assert result.stderr == ""
    return json.loads(result.stdout)


def test_json_is_one_document_with_the_names_of_info(clips_folder: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("key,part\nblues_00000,train\njazz_00001,test\n")
    folder, splits = tmp_path / "shards", ("--splits", tmp_path / "mine.csv")
    planned = json_of("pack", clips_folder, folder, *splits, "--dry-run")
    assert not folder.exists()
    packed = json_of("pack", clips_folder, folder, *splits)
    assert json_of("info", folder) == packed
    same = ("clips", "left_out", "labels")
    assert [planned[name] for name in same] == [packed[name] for name in same]
    assert planned["splits"] == {"mine": packed["splits"]["mine"]}
    assert planned["keys"]["jazz_00001"] == "jazz/jazz.00001.wav"
    (folder / "manifest.json").unlink()
    indexed = json_of("index", folder)
    assert json_of("info", folder) == indexed
    assert indexed["labels"] == packed["labels"]


def test_verify_puts_its_problems_into_its_json(shards: Path, tmp_path: Path):
    info, found = json_of("info", shards), json_of("verify", shards)
    assert found == {name: info[name] for name in ("root", "dataset", "digest", "clips")} | {"problems": []}
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = min(tmp_path.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:1000])
    problems = json_of("verify", tmp_path, code=1)["problems"]
    assert len(problems) > 1
    assert all(problem.startswith(str(tmp_path)) for problem in problems)


def test_a_mistake_leaves_stdout_empty(tmp_path: Path):
    for arguments in (["info"], ["verify"], ["index"], ["pack", tmp_path / "nowhere"]):
        result = CliRunner().invoke(app, [*map(str, arguments), str(tmp_path / "shards"), "--json"])
        assert result.stdout == ""
        assert result.exception


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_into_80_columns_and_no_line_of_the_list_is_cut(command: str):
    text = CliRunner().invoke(app, [*[command] * bool(command), "-h"], env={"COLUMNS": "80"}).output
    assert max(map(len, text.splitlines())) <= 80
    assert not [line for line in text.splitlines() if line.strip().startswith((*COMMANDS,)) and line.endswith("...")]
    assert "<bool>" not in text
    assert ("--json" in text) == bool(command)
