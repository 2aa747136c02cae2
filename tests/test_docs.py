"""Every row of docs/faults.md names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
ROWS = [
    row
    for row in (ROOT / "docs/faults.md").read_text().splitlines()
    if row.startswith("| ") and not row.startswith("| fault ")
]


def test_the_table_lists_faults():
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_every_fault_has_a_test(row: str):
    names = re.findall(r"`(test_\w+)`", row.split("|")[-2])
    assert names, "no test is named"
    assert [name for name in names if f"def {name}(" not in TESTS] == []
