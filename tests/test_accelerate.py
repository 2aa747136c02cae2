"""Loaders under Accelerate: `prepare` returns them unchanged, and its checkpoints hold their state."""

from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from tests.conftest import need
from tests.trainer_runs import SETTINGS, UNEVEN, described, global_batches, largest_difference, results, run

pytestmark = pytest.mark.slow

POINTS = [2, 5, 6]
"""Steps after which states are saved: during the first epoch of 5 batches, at its end, and during the second."""
N_BATCHES = 10
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def out(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the results of all runs."""
    need("accelerate")
    folder = tmp_path_factory.mktemp("accelerate")

    def run_jobs(*jobs: dict[str, Any], launcher: tuple[str, ...] = ()) -> None:
        complete_jobs = [{"shards": str(tiny), "out": str(folder)} | job for job in jobs]
        run("accelerate_program.py", complete_jobs, launcher=launcher)

    def resumed(of: str, on: str, point: int) -> dict[str, Any]:
        return {"name": f"{of}-from-{point}-on-{on}", "state": f"{folder}/{of}-{point}", "prepare": True}

    uneven_one, uneven_two = ({"name": f"uneven-{number}", "settings": UNEVEN} for number in ("one", "two"))
    run_jobs({"name": "one", "save": POINTS}, uneven_one, *(resumed("one", "one", point) for point in POINTS))
    two = {"name": "two", "save": POINTS}
    run_jobs(two, uneven_two, resumed("two", "two", 2), resumed("one", "two", 6), launcher=TWO)
    run_jobs(resumed("two", "one", 2))
    return folder


def test_a_training_loop_gets_the_batches_of_the_loader(out: Path, tiny: Path):
    (job,) = results(out, "one")
    with Loader(tiny, **SETTINGS) as loader:
        assert [batch["rows"] for batch in job["seen"]] == [described(batch) for _ in range(2) for batch in loader]


@pytest.mark.parametrize("point", POINTS)
def test_a_resumed_run_continues_like_an_uninterrupted_one(point: int, out: Path):
    (job,), (unbroken,) = results(out, f"one-from-{point}-on-one"), results(out, "one")
    assert job["seen"] == unbroken["seen"][point:]
    assert len(job["seen"]) == N_BATCHES - point
    assert job["weights"] == unbroken["weights"]


@pytest.mark.parametrize(
    ("name", "n_ranks"), [("two", 2), ("two-from-2-on-two", 2), ("one-from-6-on-two", 2), ("two-from-2-on-one", 1)]
)
def test_any_number_of_processes_gets_the_same_global_batches(name: str, n_ranks: int, out: Path):
    ranks, alone = results(out, name), results(out, "one")
    assert len(ranks) == ranks[0]["n_processes"] == n_ranks
    batches = global_batches(ranks)
    first = int(name.split("-")[2]) if "from" in name else 0
    assert batches == global_batches(alone)[first:]
    assert len(batches) == N_BATCHES - first
    assert all(rank["weights"] == ranks[0]["weights"] for rank in ranks)
    assert largest_difference(ranks[0], alone[0]) < 1e-5


def test_two_processes_with_uneven_rows_and_fillers_train_like_one(out: Path):
    ranks, alone = results(out, "uneven-two"), results(out, "uneven-one")
    assert [{len(batch["rows"]) for batch in rank["seen"]} for rank in ranks] == [{4}, {3}]
    assert global_batches(ranks) == global_batches(alone)
    assert largest_difference(ranks[0], alone[0]) < 1e-5


def test_a_dataloader_around_a_loader_is_refused_by_accelerate(tiny: Path):
    """Accelerate cannot slice a Batch for its processes; docs/trainers.md says what to do instead."""
    from torch.utils.data import DataLoader

    accelerator = need("accelerate").Accelerator(cpu=True)
    with Loader(tiny, **SETTINGS) as loader:
        prepared = accelerator.prepare(DataLoader(loader, batch_size=None))
        with pytest.raises(TypeError, match="batch size of tensors"):
            next(iter(prepared))
