"""The Python of docs/trainers.md runs as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/trainers.md").read_text(), re.DOTALL)
LIBRARIES = ("lightning", "accelerate")


def needs(block: str) -> list[str]:
    """Optional libraries that a block imports."""
    return [name for name in LIBRARIES if re.search(rf"^(import|from) {name}\b", block, re.MULTILINE)]


def runs(block: str, folder: Path) -> None:
    """Run a block as a program of its own: Lightning starts it again for each device."""
    program = folder / "program.py"
    program.write_text(block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, program.name], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_is_something_to_run() -> None:
    assert {name for block in BLOCKS for name in needs(block)} == set(LIBRARIES)
    assert any(not needs(block) for block in BLOCKS)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if not needs(block)], ids=lambda block: block.split("\n")[0]
)
def test_a_block_without_other_trainers_runs(block: str, checkout: Path) -> None:
    runs(block, checkout)


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if needs(block)], ids=lambda block: needs(block)[0])
def test_a_block_of_another_trainer_runs(block: str, checkout: Path) -> None:
    for name in needs(block):
        need(name)
    runs(block, checkout)
