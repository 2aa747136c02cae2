"""The steps of docs/quickstart.md work one after the other, and print what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gtzan_stream import demo
from tests.house import ROOT

PAGE = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
STEPS = re.findall(r"```(sh|text|python)\n(.*?)```", PAGE, re.DOTALL)


def run(kind: str, text: str, folder: Path) -> str:
    """Run one command or program of the page in `folder`, and return what it printed."""
    if kind == "python":
        arguments = ["-c", text]
    else:
        program, *arguments = text.split()
        assert program in ("gtzan-stream", "python")
        arguments = ["-m", "gtzan_stream", *arguments] if program == "gtzan-stream" else arguments
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_the_page_has_commands_programs_and_outputs() -> None:
    kinds = [kind for kind, _ in STEPS]
    assert [kinds.count(kind) for kind in ("sh", "text", "python")] == [5, 4, 1]


@pytest.mark.slow
def test_the_steps_work_and_print_what_the_page_says(tmp_path: Path) -> None:
    genres, _ = demo.write(tmp_path / "demo", train=6, valid=0, test=0, clip_s=12.0)
    genres.rename(tmp_path / "music")
    for name in ("train.py", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    printed = ""
    for kind, text in STEPS:
        if kind == "text":
            wanted, found = (re.sub(r"\d+ MB\)", "MB)", lines).splitlines() for lines in (text, printed))
            assert set(wanted) <= set(found), printed
        else:
            printed = run(kind, text, tmp_path)
    assert "data:audio/" in (tmp_path / "preview.html").read_text(encoding="utf-8")
    report = (tmp_path / "runs/first/report.html").read_text(encoding="utf-8")
    assert "95 % interval" in report
