"""The Python of the README and of the pages in docs runs as it is printed, and their commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OTHER_TESTS = {"trainers.md", "coming-from.md", "quickstart.md", "service.md"}
"""Pages with tests of their own."""
PAGES = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md") if path.name not in OTHER_TESTS)]
BLOCKS = [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
TARGETS = re.findall(r"^(?:\$ )?make (\w+)", README, re.MULTILINE)
COMMANDS = sorted(
    {command for page in PAGES for command in re.findall(r"(?:^|`)gtzan-stream (\w+)", page, re.MULTILINE)}
)


def test_the_documents_have_blocks_targets_and_commands() -> None:
    assert len(BLOCKS) >= 8
    assert {"train", "test"} <= set(TARGETS)
    assert {"fetch", "pack"} <= set(COMMANDS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_python_runs(block: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, and with one crop of each clip instead of eight, to save time."""
    monkeypatch.chdir(checkout)
    exec(block.replace("batch_size=16", "batch_size=8, crops_per_clip=1"), {"__name__": "__main__"})


def test_the_plain_loop_has_at_most_ten_lines() -> None:
    loop = next(block for block in BLOCKS if "optimizer.step()" in block)
    body = loop[loop.index("for epoch") : loop.index("correct =")].strip().split("\n")
    assert len(body) <= 10


@pytest.mark.parametrize("target", sorted(set(TARGETS)))
def test_make_has_the_targets(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_has_the_commands(command: str) -> None:
    program = Path(sys.executable).parent / "gtzan-stream"
    run = subprocess.run([program, command, "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert command in run.stdout
