"""`gtzan-stream classify` with folders: which files it finds, what it skips, and where it writes pictures."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gtzan_stream.cli import main
from gtzan_stream.commands import models
from gtzan_stream.inference import export
from tests.test_classify import Level, model_of

Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `gtzan-stream classify` with an untrained program, and checks its exit code."""
    monkeypatch.setattr(export.Model, "load", lambda path: model_of(Level()))

    def call(*arguments: object, code: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "classify", "model.pt2", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed

    return call


def write_clips(root: Path, *names: str) -> None:
    """Write the same clip of half a second under several names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, (1000 * np.sin(np.arange(11025))).astype(np.int16), 22050)


def test_folders_are_searched_to_their_end_in_sorted_order(run: Run, tmp_path: Path):
    write_clips(tmp_path, "b/z.wav", "a/2.wav", "a/deep/1.wav", "a/.hidden.wav")
    (tmp_path / "a/bad.mp3").write_text("no audio")
    (tmp_path / "b/dead.mp3").symlink_to("nowhere")
    (tmp_path / "b/notes.txt").write_text("no audio")
    printed = run(tmp_path, "--json", code=2)
    found = [track["file"].removeprefix(f"{tmp_path}/") for track in json.loads(printed.out)]
    assert found == ["a/2.wav", "a/deep/1.wav", "b/z.wav"]
    assert printed.err.splitlines() == [
        f"gtzan-stream: {tmp_path}/b/dead.mp3: leads to nowhere, which does not exist",
        f"gtzan-stream: {tmp_path}/a/bad.mp3: neither soundfile nor FFmpeg can decode it: Format not recognised",
        "2 files skipped: not audio, or hidden",
    ]


def test_a_folder_without_audio_is_an_error_of_one_line_and_the_rest_is_classified(run: Run, tmp_path: Path):
    write_clips(tmp_path, "a/1.wav")
    (tmp_path / "empty").mkdir()
    printed = run(tmp_path / "empty", tmp_path / "a", "--json", code=2)
    assert printed.err == f"gtzan-stream: {tmp_path}/empty: there is no audio file in this folder or below it\n"
    assert [track["file"] for track in json.loads(printed.out)] == [f"{tmp_path}/a/1.wav"]


def test_pictures_have_the_subfolders_of_their_files_and_names_of_their_own(run: Run, tmp_path: Path):
    def pictures(*paths: Path) -> list[str]:
        run(*paths, "--plot", tmp_path / "plots")
        found = sorted(str(path.relative_to(tmp_path / "plots")) for path in (tmp_path / "plots").rglob("*.png"))
        shutil.rmtree(tmp_path / "plots")
        return found

    write_clips(tmp_path, "a/deep/x.wav", "a/x.wav", "a/X.flac", "b/x.wav")
    assert pictures(tmp_path / "a") == ["X.png", "deep/x.png", "x-2.png"]
    assert pictures(tmp_path / "a/deep", tmp_path / "b", tmp_path / "b/x.wav") == ["b/x.png", "deep/x.png", "x.png"]
    assert run(tmp_path, "--plot", "a.png", code=2).err == (
        "gtzan-stream: --plot a.png is one picture for 4 files: name a folder\n"
    )


def test_results_are_printed_if_a_picture_cannot_be_written(run: Run, tmp_path: Path):
    write_clips(tmp_path, "1.wav")
    (tmp_path / "file").touch()
    printed = run(tmp_path / "1.wav", "--plot", tmp_path / "file", "--json", code=2)
    assert len(json.loads(printed.out)) == 1
    assert printed.err.startswith(f"gtzan-stream: {tmp_path}/file")
    assert printed.err.count("\n") == 1


def test_the_progress_moves_within_a_file():
    shown = []
    models._advance(lambda *numbers: shown.append(numbers), 1, 4, 2, 8)
    assert shown == [(1.25, 4)]
