"""Sets of shards and the cache are complete after any disk error and any kill, and the next call cleans up."""

import errno
import os
import re
import sys
from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.pack import pack
from tests.file_faults import FAULTS
from tests.interrupted import interrupt
from tests.interrupted_commands import WORK

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="folder names are read from /proc"),
    pytest.mark.timeout(1200),  # the first test waits for all of them: half a minute on two idle cores
]
NAMES = ["pack", "pack again", "index", "cache"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return interrupt(tmp_path_factory.mktemp("interrupted"), NAMES)


@pytest.mark.parametrize("case", [f"{name}: {fault}" for name in NAMES for fault in WORK[name].faults])
def test_sets_and_cache_are_whole_after_a_fault_at_any_operation(case: str, results: dict):
    assert results[case]["wrong"] == []
    assert results[case]["interrupted"] > 3


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", WORK)
def test_every_fault_at_every_operation(name: str, tmp_path: Path):
    results = interrupt(tmp_path, [name], "every")
    assert len(results) == len(FAULTS) - (not WORK[name].durable)
    assert {case: result["wrong"] for case, result in results.items()} == {case: [] for case in results}
    assert results[f"{name}: killed"]["interrupted"] == len(results[f"{name}: killed"]["operations"])


def test_a_new_set_is_synced_before_the_old_one_is_removed(results: dict):
    """Without fsync, renames and removals may reach the disk in any order."""
    operations = [tuple(operation) for operation in results["pack again: full"]["operations"]]
    new = operations.index(("rename", "shards/.incoming"))
    synced = [number for number, operation in enumerate(operations) if operation == ("fsync", "shards")]
    removed = [number for number, (kind, _) in enumerate(operations) if kind == "remove"]
    moved = [number for number, (kind, _) in enumerate(operations) if kind == "rename" and number > new]
    assert len(removed) > 1
    assert new < synced[0] < removed[0]
    assert operations[moved[-1]] == ("rename", "shards/manifest.json")
    assert moved[-2] < synced[1] < moved[-1]
    written = {path for kind, path in operations[:new] if kind == "write"}
    assert written <= {path for kind, path in operations[:new] if kind == "fsync"}
    assert ("fsync", os.path.dirname(min(written))) in operations[:new]


def test_a_full_disk_in_pack_states_the_needed_space(
    clips_folder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=f"{tmp_path}/shards cannot be written: No space left on device; it") as caught:
        pack(clips_folder, tmp_path / "shards")
    size = sum(path.stat().st_size for path in shards.iterdir()) / 1e6
    message = re.search(r"it needs about (\d+\.\d) MB, [\d,.]+ MB are free there: make room", str(caught.value))
    assert message
    assert float(message[1]) == pytest.approx(size, rel=0.05)
    assert list(tmp_path.iterdir()) == []
