"""train.py on two ranks: steps, results and files are those of one process, and signals and deaths end both."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gtzan_stream.inference import export
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import checkpoints
from tests.ranks_program import outcomes, run_job, start
from tests.train_cases import history_of

SETTINGS = ["--model", "small", "--split", "demo", "--epochs", "2", "--batch-size", "7", "--crops-per-clip", "2"]
SETTINGS += ["--augment", "none", "--mixup", "0.4", "--spec-augment", "16", "--normalization", "global"]
SETTINGS += ["--optimizer", "sgd", "--lr", "0.1", "--schedule", "plateau", "--precision", "fp32"]
SETTINGS += ["--weight-decay", "0.01", "--on-error", "skip", "--num-workers", "1", "--device", "cpu"]
STEPS = 6
"""Steps an epoch: 40 examples, in batches of 7 with 4 and 3 rows a rank. The last has two fillers."""


def job(folder: Path, name: str, *options: str, **act: Any) -> dict[str, Any]:
    """Return a job of ranks_program: a new run, with further options, or `--resume`."""
    new = ["--shards", str(folder / "shards"), "--out", str(folder / "runs"), "--name", name, *SETTINGS]
    found: dict[str, Any] = {"name": name, "out": str(folder), "act": act}
    found["arguments"] = [*([] if "--resume" in options else new), *options]
    return found


def alone(folder: Path, name: str, *options: str) -> None:
    """Do a job with one process: this one. Its model.pt2 is empty, as tracing takes longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "write", lambda path, *_, **__: path.touch())
        run_job(job(folder, name, *options) | {"goes_on": True})


def record(folder: Path, name: str, rank: int = 0) -> dict[str, Any]:
    return json.loads((folder / f"{name}.{rank}.json").read_text())


def assert_close(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    """Check that nested lists and dicts of numbers are equal, within a tolerance."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key], tolerance)
    elif isinstance(one, list) and one and not isinstance(one[0], float):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_close(a, b, tolerance)
    elif isinstance(one, float | list):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    else:
        assert one == other


def assert_same_run(one: Path, other: Path) -> None:
    """Check that two runs have the same weights, measures and results, to 1e-5."""
    assert_close(history_of(one), history_of(other))
    for name in (checkpoints.LAST, checkpoints.BEST):
        a, b = (checkpoints.load(folder / name)["parts"]["network"] for folder in (one, other))
        assert_close(*({key: value.tolist() for key, value in weights.items()} for weights in (a, b)))
    reports = [json.loads((folder / "report.json").read_text()) for folder in (one, other)]
    assert_close(reports[0]["test"], reports[1]["test"])


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `shards`, in which clips of each part cannot be read, and the run `one` of one process."""
    folder = tmp_path_factory.mktemp("ranks")
    shutil.copytree(tiny, folder / "shards")
    manifest = Manifest.open(folder / "shards")
    for part, clips in (("train", (0, 7, 13)), ("valid", (3,)), ("test", (5,))):
        for clip in manifest.part("demo", part)[list(clips)]:
            with (folder / "shards" / manifest.shards[int(manifest.shard[clip])].name).open("r+b") as file:
                file.seek(int(manifest.data_offset[clip]))
                file.write(bytes(2 * int(manifest.frames[clip])))
    alone(folder, "one")
    return folder


@pytest.fixture(scope="module")
def two(folder: Path) -> tuple[list[tuple[int, str, str]], Path]:
    """What two ranks printed: after a whole run, rank 1 gets SIGTERM in another one."""
    stopped = job(folder, "stopped", rank=1, step=STEPS + 2, what="terminate")
    return outcomes(start([job(folder, "two") | {"goes_on": True}, stopped], 2)), folder


def test_two_ranks_do_the_steps_of_one_process(two):
    _, folder = two
    one, ranks = record(folder, "one"), [record(folder, "two", rank) for rank in range(2)]
    assert one["steps"] == 2 * STEPS
    assert ranks[0]["sums"] == ranks[1]["sums"]
    assert ranks[0]["gradients"] == ranks[1]["gradients"]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    for name in ("sums", "gradients", "weights", "steps"):
        assert_close(ranks[0][name], one[name])
    assert one["gradients"][0]["network.unused.weight"] is None
    seeds = [rank["seeds"] for rank in (one, *ranks)]  # of dropout
    assert seeds[0] == seeds[1] == 2 * STEPS * [0]
    assert len({0, *seeds[2]}) == 1 + 2 * STEPS
    assert one["used"] == [[1.0, 0.0], [1.0, 1.0], [6.0, 6.0], None]
    assert ranks[0]["used"] == ranks[1]["used"] == [[2.0, 1.0], [1.5, 1.5], [3.0, 3.0], None]


def test_a_plain_loop_with_distributed_data_parallel_has_the_gradients_of_one_process(two):
    _, folder = two
    one, ranks = record(folder, "one")["ddp"], [record(folder, "two", rank)["ddp"] for rank in range(2)]
    assert len(one) == 23  # 160 examples, of which the last batch has 6
    assert ranks[0] == ranks[1]
    assert_close(ranks[0], one)


def test_two_ranks_write_the_files_of_one_process(two):
    _, folder = two
    assert_same_run(folder / "runs/one", folder / "runs/two")
    assert {path.name for path in (folder / "runs/one").iterdir()} == {
        path.name for path in (folder / "runs/two").iterdir()
    }
    one, skipped = (json.loads((folder / f"runs/{name}/report.json").read_text())["skipped"] for name in ("one", "two"))
    assert skipped == [*one, "on rank 1"]
    assert len(one) == 5 + 1  # the five clips and the mark that the program adds on each rank
    assert len(record(folder, "two", 0)["written"]) > 5
    assert record(folder, "two", 1)["written"] == []


def test_a_signal_to_one_rank_stops_both_at_one_step_and_rank_0_says_how_to_continue(two):
    ranks, folder = two
    assert [status for status, *_ in ranks] == [143, 143]
    assert record(folder, "stopped", 0)["steps"] == record(folder, "stopped", 1)["steps"]
    assert STEPS + 2 <= record(folder, "stopped")["steps"] <= STEPS + 3
    assert ranks[0][1].endswith(f"\nInterrupted; continue with: python train.py --resume {folder}/runs/stopped\n")
    assert ranks[1][1:] == ("", "")
    state = checkpoints.load(folder / "runs/stopped/last.pt")["parts"]
    assert state["progress"]["steps"] == record(folder, "stopped")["steps"]
    alone(folder, "stopped-alone", "--resume", str(folder / "runs/stopped"))
    assert_same_run(folder / "runs/one", folder / "runs/stopped")


def test_a_killed_rank_ends_the_other_with_one_line_and_one_process_continues(folder: Path):
    jobs = [job(folder, "killed", rank=1, step=STEPS + 1, what="kill")]
    (status, _, err), (killed, *printed) = outcomes(start(jobs, 2))
    assert (status, killed, printed) == (2, -9, ["", ""])
    (line,) = (line for line in err.splitlines() if not line.startswith("skipped: "))
    assert line.startswith("error: another process of this run ended, or did not answer within 50 s ")
    alone(folder, "killed-alone", "--resume", str(folder / "runs/killed"))
    assert_same_run(folder / "runs/one", folder / "runs/killed")
