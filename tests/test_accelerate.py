"""Accelerate prepares network and optimiser; the loader goes through its loop as it is, and into its checkpoints."""

from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from tests.conftest import need
from tests.trainer_runs import SETTINGS, described, global_batches, largest_difference, results, run

pytestmark = pytest.mark.slow

POINTS = [2, 5, 6]
"""Steps after which states are saved: within the first epoch of 5 batches, after it, and within the second."""
N_BATCHES = 10
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def out(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what all the runs wrote."""
    need("accelerate")
    folder = tmp_path_factory.mktemp("accelerate")

    def go(*jobs: dict[str, Any], launcher: tuple[str, ...] = ()) -> None:
        jobs_here = [{"shards": str(tiny), "out": str(folder)} | job for job in jobs]
        run("accelerate_program.py", jobs_here, launcher=launcher)

    def resumed(of: str, on: str, point: int) -> dict[str, Any]:
        return {"name": f"{of}-from-{point}-on-{on}", "state": f"{folder}/{of}-{point}", "prepare": True}

    go({"name": "one", "save": POINTS}, *(resumed("one", "one", point) for point in POINTS))
    go({"name": "two", "save": POINTS}, resumed("two", "two", 2), resumed("one", "two", 6), launcher=TWO)
    go(resumed("two", "one", 2))
    return folder


def test_a_loop_gets_the_loaders_batches(out: Path, tiny: Path):
    (found,) = results(out, "one")
    with Loader(tiny, **SETTINGS) as loader:
        assert [batch["rows"] for batch in found["seen"]] == [described(batch) for _ in range(2) for batch in loader]


@pytest.mark.parametrize("point", POINTS)
def test_a_resumed_run_goes_on_as_the_unbroken_one(point: int, out: Path):
    (found,), (unbroken,) = results(out, f"one-from-{point}-on-one"), results(out, "one")
    assert found["seen"] == unbroken["seen"][point:]
    assert len(found["seen"]) == N_BATCHES - point
    assert found["weights"] == unbroken["weights"]


@pytest.mark.parametrize(
    ("name", "n_ranks"), [("two", 2), ("two-from-2-on-two", 2), ("one-from-6-on-two", 2), ("two-from-2-on-one", 1)]
)
def test_any_number_of_processes_sees_the_same_global_batches(name: str, n_ranks: int, out: Path):
    ranks, alone = results(out, name), results(out, "one")
    assert len(ranks) == ranks[0]["n_processes"] == n_ranks
    batches = global_batches(ranks)
    first = int(name.split("-")[2]) if "from" in name else 0
    assert batches == global_batches(alone)[first:]
    assert len(batches) == N_BATCHES - first
    assert all(rank["weights"] == ranks[0]["weights"] for rank in ranks)
    assert largest_difference(ranks[0], alone[0]) < 1e-5


def test_a_dataloader_around_a_loader_is_refused_by_accelerate(tiny: Path):
    """It would slice each batch for its processes, and cannot: docs/trainers.md says what to do."""
    from torch.utils.data import DataLoader

    accelerator = need("accelerate").Accelerator(cpu=True)
    with Loader(tiny, **SETTINGS) as loader:
        around = accelerator.prepare(DataLoader(loader, batch_size=None))
        with pytest.raises(TypeError, match="batch size of tensors"):
            next(iter(around))
