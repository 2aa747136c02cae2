"""Downloads, the demo set and the files of a run are whole after any disk error and any kill."""

import sys

import pytest

from tests.interrupted import interrupt
from tests.interrupted_commands import WORK
from tests.test_interrupted_store import NAMES as STORE_NAMES

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="folder names are read from /proc"),
    pytest.mark.timeout(1200),  # the first test waits for all of them: half a minute on two idle cores
]
NAMES = [name for name in WORK if name not in STORE_NAMES]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return interrupt(tmp_path_factory.mktemp("interrupted"), NAMES)


@pytest.mark.parametrize("case", [f"{name}: {fault}" for name in NAMES for fault in WORK[name].faults])
def test_files_are_whole_after_a_fault_at_any_operation(case: str, results: dict):
    assert results[case]["wrong"] == []
    assert results[case]["interrupted"] > 2


def test_an_archive_is_synced_before_it_is_renamed(results: dict):
    operations = [tuple(operation) for operation in results["fetch: full"]["operations"]]
    renamed = operations.index(("rename", "gtzan/genres.tar.gz"))
    assert ("fsync", "gtzan/genres.tar.gz.part") in operations[:renamed]


def test_downloads_the_demo_set_and_runs_are_tested():
    assert len(NAMES) > 5
