"""train.py with torchrun, and with two and three ranks that are stopped, killed, hang, fail, or are resumed."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.training import checkpoints
from tests.ranks_program import ROOT, command, outcomes, start
from tests.test_ranks import STEPS, alone, assert_close, assert_same_run, folder, job, record
from tests.train_cases import assert_equal_runs, history_of

__all__ = ["folder"]  # a fixture
pytestmark = pytest.mark.slow


def torchrun(jobs: list[dict[str, Any]], n_ranks: int) -> tuple[int, str, str]:
    """Start torchrun in a process group of its own. Returns its exit status, stdout and stderr."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_ranks)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launcher, *command(jobs)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
        start_new_session=True,
    )
    return done.returncode, done.stdout, done.stderr


def own_lines(text: str) -> list[str]:
    """Return the lines that train.py printed to stderr, without those of skipped examples."""
    return [line for line in text.splitlines() if line.startswith(("error: ", "Interrupted", "Traceback"))]


def ranks(folder: Path, name: str, n_ranks: int, *options: str, environment: dict[str, str] | None = None, **act: Any):
    return outcomes(start([job(folder, name, *options, **act)], n_ranks, **environment or {}))


def test_three_ranks_of_torchrun_write_the_run_of_one_process(folder: Path):
    status, out, err = torchrun([job(folder, "three")], 3)
    assert (status, own_lines(err)) == (0, [])
    assert out.count("Report: ") == 1
    assert_same_run(folder / "runs/one", folder / "runs/three")
    one, found = record(folder, "one"), [record(folder, "three", rank) for rank in range(3)]
    assert all(rank["weights"] == found[0]["weights"] and rank["sums"] == found[0]["sums"] for rank in found)
    assert found[0]["used"] == [[3.0, 3.0], [2.0, 2.0], [2.0, 2.0], None]
    for name in ("sums", "gradients", "weights"):
        assert_close(found[0][name], one[name])


def test_torchrun_with_one_process_is_as_without(folder: Path):
    status, _, err = torchrun([job(folder, "single")], 1)
    assert (status, own_lines(err)) == (0, [])
    assert_equal_runs(folder / "runs/one", folder / "runs/single")


@pytest.mark.parametrize("what", ["terminate torchrun", "interrupt the terminal", "interrupt torchrun"])
def test_a_signal_to_torchrun_stops_all_with_a_checkpoint(folder: Path, what: str):
    name = what.replace(" ", "-")
    _, out, err = torchrun([job(folder, name, rank=0, step=STEPS + 2, what=what)], 2)
    assert own_lines(err)[1:] == []  # torchrun's own traceback
    assert out.count("Interrupted; continue with: python train.py --resume ") == 1
    steps = {record(folder, name, rank)["steps"] for rank in range(2)}
    assert steps == {checkpoints.load(folder / "runs" / name / "last.pt")["parts"]["progress"]["steps"]}
    assert STEPS + 2 <= steps.pop() < 2 * STEPS
    alone(folder, f"{name}-alone", "--resume", str(folder / "runs" / name))
    assert_same_run(folder / "runs/one", folder / "runs" / name)


@pytest.mark.parametrize(("what", "rank"), [("sleep", 1), ("stop", 0), ("raise", 0), ("bad sample", 1)])
def test_a_rank_that_hangs_or_fails_ends_the_others_with_at_most_one_line(folder: Path, what: str, rank: int):
    name, limit = f"{what.replace(' ', '-')}-{rank}", {"GTZAN_STREAM_RANK_TIMEOUT_S": "6"}
    processes = start([job(folder, name, rank=rank, step=STEPS + 2, what=what)], 3, **limit)
    found = [outcomes([process], 60)[0] for number, process in enumerate(processes) if number != rank]
    if what in ("sleep", "stop"):
        processes[rank].kill()
    status, _, err = outcomes([processes[rank]])[0]
    assert [other for other, *_ in found] == [2, 2]
    lines = [own_lines(printed) for *_, printed in found]
    if what in ("sleep", "stop"):
        assert sorted(map(len, lines)) == [0, 1]
        (line,) = lines[0] + lines[1]
        assert line.startswith("error: another process of this run ended, or did not answer within 6 s ")
    else:
        assert lines == [[], []]
        assert (status, len(own_lines(err))) == ((2, 1) if what == "bad sample" else (1, 1))
        assert ("shard x, clip y: damaged; --on-error skip trains" if what == "bad sample" else "a mistake") in err


def test_an_error_while_rank_0_writes_ends_all_with_its_line(folder: Path):
    act = {"environment": {"RUN": str(folder / "runs/gone")}, "rank": 0, "step": 2, "what": "replace the folder"}
    (status, _, err), (other, *printed) = ranks(folder, "gone", 2, **act)
    assert (status, other, printed) == (2, 2, ["", ""])
    (line,) = own_lines(err)
    assert line.startswith(f"error: {folder}/runs/gone/best.pt")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--name", "one"], "runs/one holds a run: continue it with --resume"),
        (["--batch-size", "1"], "batch_size must be at least 2, one row a rank, got 1"),
        (["--sync-batch-norm"], "--sync-batch-norm needs GPUs"),
        (["--lr", "-1"], "--lr must be a positive number"),
        (["--resume", "nowhere"], "nowhere is not a checkpoint"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(folder: Path, options: list[str], expected: str):
    found = ranks(folder, "refused", 2, *options)
    assert [status for status, *_ in found] == [2, 2]
    (line,) = [line for *_, err in found for line in own_lines(err)]
    assert expected in line


def test_runs_that_are_killed_continue_on_other_numbers_of_ranks(folder: Path):
    seed = random.randrange(2**32)
    rng, name = random.Random(seed), "often-killed"
    for n_ranks, options in [(2, ()), (3, ("--resume",)), (1, ("--resume",)), (2, ("--resume",))]:
        step = rng.randint(1, 2 * STEPS)
        options = (*options, str(folder / "runs" / name)) if options else ()
        found = ranks(folder, name, n_ranks, *options, step=step, rank=rng.randrange(n_ranks), what="kill")
        assert {status for status, *_ in found} <= {-9, 0, 2}, (seed, found)
        if found[0][0] == 0:
            break
    else:
        assert ranks(folder, name, 3, "--resume", str(folder / "runs" / name))[0][0] == 0, seed
    assert_same_run(folder / "runs/one", folder / "runs" / name)


def test_dropout_and_batch_norm_continue_to_the_bit_on_the_same_number_of_ranks(folder: Path):
    """The ranks draw different numbers for dropout, and estimate their own running means."""
    options = ("--model", "normed", "--steps", "9")
    assert ranks(folder, "normed", 2, *options)[0][0] == 0
    assert ranks(folder, "normed-stopped", 2, *options, rank=1, step=8, what="terminate")[0][0] == 143
    assert ranks(folder, "normed-resumed", 2, "--resume", str(folder / "runs/normed-stopped"))[0][0] == 0
    assert_equal_runs(folder / "runs/normed", folder / "runs/normed-stopped")
    assert len(history_of(folder / "runs/normed")) == 2
