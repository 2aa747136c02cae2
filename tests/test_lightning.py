"""Lightning trains on a Loader: on one process or two, and a resumed run equals an uninterrupted one."""

from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.loader import Loader
from tests.conftest import need
from tests.trainer_runs import SETTINGS, UNEVEN, described, global_batches, largest_difference, results, run

pytestmark = pytest.mark.slow

PROGRAM = "lightning_program.py"
LENGTH = 5  # batches in an epoch of the loader
LIMIT = {"limit_train_batches": 3, "max_epochs": 3}
STEPS = {"max_epochs": -1, "max_steps": 13}
WITHIN = ["1", "2", "4", "5", "5-validated", "5-ended", "6", "9"]
"""Checkpoints of the run of two epochs: within each epoch, and the three kinds after the last batch of the first."""
LIMITED = ["2", "3-ended", "4"]
STOPPED = ["3", "3-ended", "3-fitted", "5-validated", "5-ended", "5-fitted"]
"""Checkpoints of runs that `max_steps` ended in the middle of an epoch, or at its end."""


@pytest.fixture(scope="module")
def out(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the results of all runs."""
    need("lightning")
    folder = tmp_path_factory.mktemp("lightning")

    def run_jobs(*jobs: dict[str, Any]) -> None:
        run(PROGRAM, [{"shards": str(tiny), "out": str(folder)} | job for job in jobs])

    def resumed(name: str, checkpoint: str, trainer: dict[str, Any], **job: Any) -> dict[str, Any]:
        return {"name": name, "checkpoint": f"{folder}/{checkpoint}.ckpt", "trainer": trainer} | job

    run_jobs(
        {"name": "one", "save": True},
        {"name": "limit", "save": True, "trainer": LIMIT},
        {"name": "steps", "trainer": STEPS},
        {"name": "stop3", "save": True, "trainer": STEPS | {"max_steps": 3}},
        {"name": "stop5", "save": True, "trainer": STEPS | {"max_steps": 5}},
        {"name": "repeated", "repeat": True, "trainer": {"overfit_batches": 2, "max_epochs": 3}},
        {"name": "half", "trainer": {"precision": "bf16-mixed"}},
        {"name": "raised", "save": True, "raise": 3},
        {"name": "uneven-one", "settings": UNEVEN},
    )
    run_jobs({"name": "two", "save": True, "devices": 2})
    run_jobs({"name": "uneven-two", "settings": UNEVEN, "devices": 2})
    run_jobs({"name": "wrapped", "wrap": True, "devices": 2})
    run_jobs(
        *(resumed(f"one-from-{point}", f"one-{point}", {}) for point in WITHIN),
        *(resumed(f"limit-from-{point}", f"limit-{point}", LIMIT) for point in [*LIMITED, "3-validated"]),
        *(resumed(f"steps-from-{point}", f"stop{point[0]}-{point}", STEPS) for point in STOPPED),
        *(resumed(f"two-from-{point}-on-one", f"two-{point}", {}) for point in ("2", "5", "6")),
        resumed("raised-from-2", "raised-2-raised", {}),
    )
    run_jobs(resumed("one-from-2-on-two", "one-2", {}, devices=2))
    return folder


def assert_continues(out: Path, name: str, uninterrupted: str) -> None:
    """Check that a run has the last batches of the uninterrupted one, and the same weights at its end."""
    found, expected = results(out, name), results(out, uninterrupted)
    batches = global_batches(found)
    assert batches == global_batches(expected)[-len(batches) :]
    assert 0 < len(batches) < len(global_batches(expected))
    assert found[0]["steps"] == expected[0]["steps"]
    assert found[0]["state"] == expected[0]["state"]
    assert found[0]["weights"] == expected[0]["weights"]


def test_lightning_trains_on_a_loader_and_validates_on_its_evaluation(out: Path, tiny: Path):
    (found,) = results(out, "one")
    kinds = [(batch["kind"], batch["epoch"], batch["index"]) for batch in found["seen"]]
    with Loader(tiny, **SETTINGS) as loader:
        assert len(loader) == LENGTH
        evaluation = loader.evaluation("valid")
        batches = [described(batch) for _ in range(2) for batch in loader]
        chunks = [described(batch) for batch in evaluation]
    assert kinds == [
        (kind, epoch, index)
        for epoch in range(2)
        for kind, length in (("train", LENGTH), ("valid", len(chunks)))
        for index in range(length)
    ]
    assert [batch["rows"] for batch in found["seen"] if batch["kind"] == "train"] == batches
    assert [batch["rows"] for batch in found["seen"] if batch["kind"] == "valid"] == 2 * chunks
    assert found["state"]["epoch"] == 2


@pytest.mark.parametrize("name", ["two", "wrapped"])
def test_two_processes_share_each_batch(name: str, out: Path):
    ranks, alone = results(out, name), results(out, "one")
    assert len(ranks) == 2
    for kind in ("train", "valid"):
        assert global_batches(ranks, kind) == global_batches(alone, kind)
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert all(row[3] == 1 for batch in ranks[0]["seen"] if batch["kind"] == "train" for row in batch["rows"])
    assert largest_difference(ranks[0], alone[0]) < 1e-5


def test_two_processes_with_uneven_rows_and_fillers_train_like_one(out: Path):
    ranks, alone = results(out, "uneven-two"), results(out, "uneven-one")
    assert {len(batch["rows"]) for batch in ranks[0]["seen"]} == {4}
    assert {len(batch["rows"]) for batch in ranks[1]["seen"]} == {3}
    assert any(row[3] == 0 for batch in alone[0]["seen"] if batch["kind"] == "train" for row in batch["rows"])
    assert global_batches(ranks) == global_batches(alone)
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert largest_difference(ranks[0], alone[0]) < 1e-5
    assert ranks[0]["valid_loss"] == pytest.approx(alone[0]["valid_loss"], rel=1e-5)
    assert alone[0]["valid_loss"] > 0


@pytest.mark.parametrize("point", WITHIN)
def test_a_resumed_run_continues_like_an_uninterrupted_one(point: str, out: Path):
    assert_continues(out, f"one-from-{point}", "one")
    assert len(global_batches(results(out, f"one-from-{point}"))) == 2 * LENGTH - int(point[0])


@pytest.mark.parametrize("name", ["two-from-2-on-one", "two-from-5-on-one", "two-from-6-on-one", "one-from-2-on-two"])
def test_the_number_of_processes_may_change_in_the_middle_of_an_epoch(name: str, out: Path):
    ranks, alone = results(out, name), results(out, "one")
    batches = global_batches(ranks)
    assert len(batches) == 2 * LENGTH - int(name.split("-")[2])
    assert batches == global_batches(alone)[-len(batches) :]
    assert largest_difference(ranks[0], alone[0]) < 1e-5


def test_epochs_that_are_limited_differ(out: Path):
    batches = global_batches(results(out, "limit"))
    assert [(epoch, index) for epoch, index, _ in batches] == [
        (epoch, index) for epoch in range(3) for index in range(3)
    ]
    alone = global_batches(results(out, "steps"))
    assert batches == [batch for batch in alone if batch[1] < 3]


@pytest.mark.parametrize("point", LIMITED)
def test_a_resumed_run_of_limited_epochs_continues_like_an_uninterrupted_one(point: str, out: Path):
    assert_continues(out, f"limit-from-{point}", "limit")


def test_a_run_resumed_after_the_last_batch_of_a_limited_epoch_continues_that_epoch(out: Path):
    """The uninterrupted run leaves the epoch there. No example is repeated either way; see docs/trainers.md."""
    batches = global_batches(results(out, "limit-from-3-validated"))
    assert batches[0][2] == global_batches(results(out, "one"))[3][2]
    assert {epoch for epoch, *_ in batches} == {0, 1}


@pytest.mark.parametrize("point", STOPPED)
def test_a_run_that_max_steps_ended_can_continue(point: str, out: Path):
    assert_continues(out, f"steps-from-{point}", "steps")


def test_a_hook_repeats_the_batches_of_an_epoch(out: Path):
    batches = global_batches(results(out, "repeated"))
    assert len(batches) == 6
    assert batches == 3 * global_batches(results(out, "one"))[:2]


def test_mixed_precision_does_not_change_features(out: Path):
    half, alone = results(out, "half"), results(out, "one")
    assert global_batches(half) == global_batches(alone)
    assert 0 < largest_difference(half[0], alone[0]) < 0.1


def test_a_batch_counts_as_seen_even_if_its_step_failed(out: Path):
    batches = global_batches(results(out, "raised-from-2"))
    assert [rows for *_, rows in batches] == [rows for *_, rows in global_batches(results(out, "one"))[3:]]
