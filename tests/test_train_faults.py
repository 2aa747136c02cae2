"""A training run on a full disk, and one that is killed while it writes."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gtzan_stream.training import checkpoints
from tests.train_cases import SMALL, assert_equal_runs

KILLED = """
import json, sys
from pathlib import Path
from tests.file_faults import Injector
import train
out, trace, moment = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
injector = Injector(out, "killed" if moment else "", moment)
injector.install()
try:
    train.app(sys.argv[4:])
finally:
    injector.active = False
    trace.write_text(json.dumps(injector.trace))
"""


@pytest.mark.parametrize("writes", [0, 1])
def test_a_full_disk_at_the_start_leaves_nothing_or_a_run(
    writes: int, go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    left, fsync = [writes], os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    result = go("--out", str(tmp_path / "runs"), "--name", "a")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith(f"error: {tmp_path}/runs/a/")
    assert "cannot be written: No space left on device; it needs about" in result.output
    assert (tmp_path / "runs").exists() == (writes > 0)
    if writes:
        assert checkpoints.load(checkpoints.find(tmp_path / "runs/a"))
        assert [path.name for path in (tmp_path / "runs/a").iterdir()] == [checkpoints.LAST]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="folders' names are read from /proc")
def test_a_run_that_is_killed_while_it_writes_continues_to_the_same_end(tiny: Path, unbroken: Path, tmp_path: Path):
    """The kills are spread over the whole run: the first checkpoint, those of an epoch, the model and the report."""
    root = Path(__file__).parent.parent
    settings = f"--shards {tiny} --epochs 2 --crops-per-clip 1 --batch-size 5 --schedule plateau --device cpu".split()
    settings += SMALL

    def run(out: Path, moment: int, *options: str) -> int:
        out.mkdir(exist_ok=True)
        program = [sys.executable, "-c", KILLED, str(out), str(tmp_path / "trace"), str(moment), *options]
        return subprocess.run(program, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}).returncode

    assert run(tmp_path / "whole", 0, *settings, "--out", str(tmp_path / "whole"), "--name", "run") == 0
    names = {path.name for path in (tmp_path / "whole/run").iterdir()}
    operations = json.loads((tmp_path / "trace").read_text())
    renames = [number for number, (kind, _) in enumerate(operations, 1) if kind == "rename"]
    assert len(renames) > 8
    for moment in [renames[0] - 1, *(number + index % 2 for index, number in enumerate(renames[1:-1:3]))]:
        out = tmp_path / str(moment)
        assert run(out, moment, *settings, "--out", str(out), "--name", "run") == -9
        has_checkpoint = (out / "run" / checkpoints.LAST).exists()
        again = ["--resume", str(out / "run")] if has_checkpoint else [*settings, "--out", str(out), "--name", "run"]
        assert run(out, 0, *again) == 0
        assert_equal_runs(unbroken, out / "run")
        assert {path.name for path in (out / "run").iterdir()} == names


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_hundred_kills_at_random_moments_change_nothing(tmp_path: Path):
    program = [sys.executable, str(Path(__file__).parent / "kills.py"), str(tmp_path), "--kills", "100"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["kills"] == 100
