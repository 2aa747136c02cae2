"""What the commands print about a set: omitted files first, few issues of each kind, and no messages of C libraries."""

import io
import json
import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gtzan_stream import console
from gtzan_stream.cli import app
from gtzan_stream.inference.classify import Track
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from tests.audio_files import mp3
from tests.test_pack import noise, put


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with 1 normal clip and 4 silent ones; 30 files could not be packed."""
    src, root = tmp_path_factory.mktemp("music"), tmp_path_factory.mktemp("shards")
    put(src / "rock/fine.wav", noise(5000))
    for i in range(4):
        put(src / f"rock/silent{i}.wav", 0 * noise(5000 + i))
    for i in range(30):
        (src / f"rock/bad{i:02d}.mp3").write_text("no sound")
    pack(src, root)
    return root


def printed(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_first_line_says_how_many_files_were_left_out(reported: Path):
    lines = printed("info", reported).splitlines()
    assert lines[0].endswith("; 30 files left out, see the report")
    assert "report: 30 unreadable, 4 silent" in "\n".join(lines)


def test_at_most_twenty_issues_of_a_kind_are_printed(reported: Path):
    text = printed("info", reported)
    assert text.count("rock/bad") == 20
    assert text.count("rock/silent") == 4
    assert f"10 more lines: gtzan-stream info {reported} --issues" in text
    lines = printed("info", reported, "--issues").splitlines()
    assert len(lines) == 34
    assert lines[0] == (
        "unreadable: rock/bad00.mp3: rock_bad00: neither soundfile nor FFmpeg can decode it: Format not recognised"
    )


def test_json_has_the_same_counts_and_number_of_issues(reported: Path):
    metadata = json.loads(printed("info", reported, "--json"))
    assert metadata["left_out"] == 30
    assert metadata["issues"] == {"unreadable": 30, "silent": 4}
    assert len(metadata["report"]) == 24
    assert len(json.loads(printed("info", reported, "--json", "--issues"))) == 34
    assert Manifest.open(reported).left_out == 30


def test_the_hours_and_the_splits_of_a_set_are_printed(shards: Path):
    text = printed("info", shards)
    assert "11 clips, 0.02 h at 22050 Hz (pcm16), " in text  # 59.8 s
    (line,) = [line for line in text.splitlines() if "three" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["three", "3, valid lacks 1, test lacks 1", "7", "2", "2"]


def test_control_characters_and_brackets_are_printed_as_they_are_on_one_line(capsys: pytest.CaptureFixture[str]):
    line = Issue("silent", "a\x1b[2Jb", "[b] a\nb.wav", "peak").as_dict()
    console.print_report([line])
    text = capsys.readouterr().out
    assert "a\\x1b[2Jb" in text
    assert "[b] a\\nb.wav" in text
    console.print_issues([line])
    assert capsys.readouterr().out == "silent: [b] a\\nb.wav: a\\x1b[2Jb: peak\n"


def test_json_escapes_only_letters_that_stdout_cannot_encode(monkeypatch: pytest.MonkeyPatch):
    for encoding, expected in {"utf-8": "é", "ascii": "\\u00e9"}.items():
        stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            console.print_json(["é"])
        assert expected in stdout.buffer.getvalue().decode(encoding)


def test_improbable_labels_are_left_out(capsys: pytest.CaptureFixture[str]):
    chunks = np.array([[0.096, 0.9, 0.004]], np.float32)
    console.print_tracks([Track("a.wav", 3.0, ["rock", "jazz", "pop"], np.zeros(1), 3.0, chunks)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "a.wav" in line]
    assert line.replace("│", "").split() == ["a.wav", "jazz", "90%", "rock", "10%"]


def test_messages_of_c_libraries_do_not_reach_stderr(tmp_path: Path):
    """libmpg123 writes messages about damaged files to file descriptor 2; Python's messages still reach it."""
    data = mp3()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2])
    code = (
        "import sys; from gtzan_stream import audio; from gtzan_stream.console import progress_bar\n"
        "def read(): audio.decode(sys.argv[1])\n"
        "if sys.argv[2] == 'quiet':\n"
        "    with progress_bar('reading'): read(); print('still here', file=sys.stderr)\n"
        "else: read()\n"
        "import os; os.write(2, b'after'); print(' all', file=sys.stderr)\n"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "cut.mp3")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    loud = subprocess.run([*run, "loud"], capture_output=True, text=True, check=True, env=environment)
    quiet = subprocess.run([*run, "quiet"], capture_output=True, text=True, check=True, env=environment)
    assert "Warning" in loud.stderr
    assert quiet.stderr == "still here\nafter all\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_each_stage_is_shown_at_once_on_a_terminal_only(is_terminal: bool, monkeypatch: pytest.MonkeyPatch):
    text = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=text, force_terminal=is_terminal, color_system=None, width=80))
    shown = []
    with console.progress_bars() as progress:
        for stage, total in (("looking for [audio]", None), ("packing", 4), ("writing tables", None)):
            before = len(text.getvalue())
            progress(stage, 0, total)
            shown.append(text.getvalue()[before:])
        progress("packing", 3, 4)
    if is_terminal:
        for stage, part in zip(("looking for [audio]", "packing", "writing tables"), shown, strict=True):
            assert stage in part
        assert ["0%" in part for part in shown] == [False, True, False]  # no share of an unknown total
        assert "75%" in text.getvalue()
    else:
        assert text.getvalue() == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_compilation_is_shown_on_a_terminal_only(is_terminal: bool, monkeypatch: pytest.MonkeyPatch):
    text, log = io.StringIO(), logging.getLogger("gtzan_stream.kernels")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)
    monkeypatch.setattr(console, "stderr", Console(file=text, force_terminal=is_terminal, color_system=None))
    for _ in range(2):  # as if two programs ran in one process
        console.show_compilation()
    logging.getLogger("gtzan_stream.kernels.cache").info("compiling the [cpu] kernels")
    assert text.getvalue() == ("compiling the [cpu] kernels\n" if is_terminal else "")


def test_commands_and_train_py_show_compilation(monkeypatch: pytest.MonkeyPatch):
    import train
    from gtzan_stream import cli

    shown: list[str] = []
    monkeypatch.setattr(console, "show_compilation", lambda: shown.append("command"))
    monkeypatch.setattr(train, "show_compilation", lambda: shown.append("train.py"))
    monkeypatch.setattr(sys, "argv", ["gtzan-stream", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    for is_first in (True, False):  # one rank prints
        monkeypatch.setattr(train.collectives, "is_first", lambda is_first=is_first: is_first)
        CliRunner().invoke(train.app, ["--shards", "nowhere"])
    assert shown == ["command", "train.py"]


def test_only_one_rank_shows_that_it_is_importing(monkeypatch):
    shown = []
    monkeypatch.setattr(console, "progress_bars", lambda **options: shown.append(options) or nullcontext())
    for environment in ({}, {"RANK": "0"}, {"RANK": "1"}):
        monkeypatch.delenv("RANK", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with console.importing():
            pass
    assert len(shown) == 2
