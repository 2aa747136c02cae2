"""The Python of docs/trainers.md and docs/coming-from.md runs as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.house import ROOT

LIBRARIES = ("accelerate", "audiomentations", "lightning", "torch_audiomentations", "torchdata", "webdataset")
SLOW = ("accelerate", "lightning", "torch_audiomentations", "torchdata")
"""Libraries that only `make test-all` installs."""
Block = tuple[str, str]


def blocks_of(page: str) -> list[Block]:
    return [(page, block) for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)]


def imported(block: Block, libraries: tuple[str, ...] = LIBRARIES) -> list[str]:
    """List the other libraries that a block imports."""
    return [name for name in libraries if re.search(rf"^(import|from) {name}\b", block[1], re.MULTILINE)]


def name_of(block: Block) -> str:
    return f"{Path(block[0]).stem}-{'-'.join(imported(block)) or 'ours'}"


def run_program(block: Block, folder: Path) -> None:
    """Run a block as a program of its own: Lightning starts it again for each device."""
    program = folder / "program.py"
    program.write_text(block[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, program.name], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


TRAINERS, COMING_FROM = blocks_of("docs/trainers.md"), blocks_of("docs/coming-from.md")
FAST = [block for block in TRAINERS + COMING_FROM if not imported(block, SLOW)]
OTHERS = [block for block in TRAINERS + COMING_FROM if imported(block, SLOW)]


def test_the_pages_have_blocks_with_and_without_other_libraries() -> None:
    assert {name for block in TRAINERS for name in imported(block)} == {"lightning", "accelerate"}
    assert [imported(block) for block in COMING_FROM] == [
        part
        for name in ("webdataset", "audiomentations", "torch_audiomentations", "torchdata")
        for part in ([name], [])  # theirs, then ours
    ]
    assert any(not imported(block) for block in TRAINERS)
    assert len(FAST) >= 6


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own files
@pytest.mark.parametrize("block", FAST, ids=name_of)
def test_a_block_runs(block: Block, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in imported(block):
        need(name)
    monkeypatch.chdir(checkout)
    values: dict[str, Any] = {"__name__": "__main__"}
    exec(block[1], values)
    if "features" in values:
        assert values["features"].shape[1:] == (128, 128 if block not in COMING_FROM[:1] else 129)
        assert len(values["features"]) == len(values["labels"])
    else:
        assert values["augmented"].shape == (values["clips"].shape if "clips" in values else (4, 1, 44100))


@pytest.mark.slow
@pytest.mark.parametrize("block", OTHERS, ids=name_of)
def test_a_block_of_a_library_of_test_all_runs(block: Block, checkout: Path) -> None:
    for name in imported(block):
        need(name)
    run_program(block, checkout)
