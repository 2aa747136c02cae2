"""A run can be made longer when it is resumed, also where --steps ended it within an epoch."""

import json
from typing import Any

import torch

from gtzan_stream.training import launch
from gtzan_stream.training.run import Run
from tests.test_training_run import build, start, weights_of  # noqa: F401
from tests.train_cases import TIMES


def test_more_steps_continue_an_epoch_that_was_cut_short(start):  # noqa: F811
    """The run equals an unbroken one, with one more validation: the schedule does not count it."""

    def steps(run: Run) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in (run.folder / "steps.jsonl").read_text().splitlines()]
        return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]

    unbroken = start(name="unbroken", steps=6, mixup=0.4)
    unbroken.train()
    short = start(name="short", steps=3, mixup=0.4)
    short.train()
    assert [row["step"] for row in short.progress.history] == [2, 3]
    assert (short.progress.epoch, short.progress.batch, short.finished) == (1, 1, True)
    short.close()
    again = launch.resume(short.folder, {"steps": 6}, build=build)
    assert not again.finished
    again.train()
    assert [(row["epoch"], row["step"]) for row in again.progress.history] == [(1, 2), (2, 3), (2, 4), (3, 6)]
    assert steps(again) == steps(unbroken)
    assert torch.equal(weights_of(again), weights_of(unbroken))
    assert again.schedule.state_dict() == unbroken.schedule.state_dict()
    for name in ("lr", "valid_loss"):
        expected = [row[name] for row in unbroken.progress.history]
        assert [row[name] for row in again.progress.history if row["step"] != 3] == expected
