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


def optional_libraries(block: str) -> list[str]:
    """List the optional libraries that a block imports."""
    return [name for name in LIBRARIES if re.search(rf"^(import|from) {name}\b", block, re.MULTILINE)]


def run_program(block: str, folder: Path) -> None:
    """Run a block as a program of its own: Lightning starts it again for each device."""
    program = folder / "program.py"
    program.write_text(block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, program.name], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


PLAIN = [block for block in BLOCKS if not optional_libraries(block)]
OTHERS = [block for block in BLOCKS if optional_libraries(block)]


def test_the_page_has_blocks_with_and_without_other_trainers() -> None:
    assert {name for block in OTHERS for name in optional_libraries(block)} == set(LIBRARIES)
    assert PLAIN


@pytest.mark.parametrize("block", PLAIN, ids=lambda block: block.split("\n")[0])
def test_a_block_without_other_trainers_runs(block: str, checkout: Path) -> None:
    run_program(block, checkout)


@pytest.mark.slow
@pytest.mark.parametrize("block", OTHERS, ids=lambda block: optional_libraries(block)[0])
def test_a_block_of_another_trainer_runs(block: str, checkout: Path) -> None:
    for name in optional_libraries(block):
        need(name)
    run_program(block, checkout)
