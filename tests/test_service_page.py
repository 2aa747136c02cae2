"""docs/service.md: its picture is drawn from code, its Python runs on a server, and its commands have their options."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import service_picture
from tests.house import ROOT
from tests.served_cases import serving

PAGE = (ROOT / "docs/service.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SERVE, TRAIN = "gtzan-stream serve ", "python train.py "


def test_the_picture_is_the_one_that_is_drawn() -> None:
    drawn = service_picture.PICTURE.read_text(encoding="utf-8")
    assert drawn == service_picture.picture(), "run python -m tests.service_picture to redraw it"
    assert f"]({service_picture.PICTURE.name})" in PAGE


def test_the_loop_runs(checkout: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "127.0.0.1:5690" in block
    with serving(checkout / "shards") as server:
        values: dict[str, object] = {}
        exec(block.replace("127.0.0.1:5690", server.address), values)
    assert values["features"].shape == (16, 128, 128)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("start", "program"), [(SERVE, ["-m", "gtzan_stream", "serve"]), (TRAIN, ["train.py"])])
def test_the_commands_have_these_options(start: str, program: list[str]) -> None:
    assert {line[: len(start)] for line in COMMANDS} >= {start}
    assert all(line.startswith((SERVE, TRAIN)) for line in COMMANDS)
    done = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    named = {option for line in COMMANDS if line.startswith(start) for option in re.findall(r"--[\w-]+", line)}
    known = set(re.findall(r"--[\w-]+", done.stdout))
    assert named
    assert named - known == set()
