"""Checkpoints with wrong contents: either a one-line error, or a run that works."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import models
from gtzan_stream.errors import UserError
from gtzan_stream.inference import export
from gtzan_stream.training import checkpoints, launch, optimizers
from gtzan_stream.training.config import Config
from gtzan_stream.training.run import Run
from tests.augment_cases import untyped
from tests.train_cases import SMALL

BAD: list[Any] = [None, "8", -1, 0, 1.5, [], {}, True, 2**70, float("nan"), [1, 2], {"a": 1}, torch.zeros(3), b"x"]
REMOVED = object()


@pytest.fixture(scope="module")
def runs(go) -> dict[str, Run]:
    """Runs of five steps, by schedule, that use everything a checkpoint can hold."""
    found = {}
    for schedule in ("plateau", "cosine"):
        name = f"damaged-{schedule}"
        arguments = ["--schedule", schedule, "--warmup-steps", "2", "--steps", "5", "--optimizer", "adamw"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "write", lambda *_, **__: None)  # takes longer than the training
            result = go("--name", name, *arguments, *SMALL, "--augment", "none")
        assert result.exit_code == 0, result.output
        found[schedule] = launch.resume(go.out / name, {}, build=models.build)
    return found


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all values in nested dicts and lists; of a list, only the first two."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 2)):
            yield from paths(value[index], (*path, index))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with `new` at `path`, or without a value there if `new` is REMOVED."""
    if not path:
        return new
    value = copy.copy(value)
    if new is REMOVED and len(path) == 1:
        del value[path[0]]
        return value
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


def use(run: Run) -> None:
    """Use the parts of a run as training does."""
    run.progress.measures(), run.progress.best, run.progress.summary(), run.finished
    for parameter in run.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    run.schedule.step()
    run.schedule.end_epoch(1.0)
    next(iter(run.train_loader))


PARTS = ["optimizer", "schedule", "loader", "progress", "random numbers", "network"]


@pytest.mark.parametrize(("schedule", "name"), [*(("plateau", name) for name in PARTS), ("cosine", "schedule")])
def test_a_state_that_was_changed_anywhere_is_refused_or_works(runs: dict[str, Run], schedule: str, name: str):
    run = runs[schedule]
    part = run.parts[name]
    states = {other: copy.deepcopy(run.parts[other].state_dict()) for other in run.parts}
    whole = states[name]
    rng = random.Random(0)
    inside = list(paths(whole))[1:]
    chosen = [(), *rng.sample(inside, min(len(inside), 60))]
    assert chosen
    messages = []
    for path in chosen:
        for new in [*rng.sample(BAD, 6), REMOVED]:
            if new is REMOVED and not path:
                continue
            state = {"parts": {name: changed(whole, path, new)}}
            try:
                with untyped():
                    checkpoints.restore(state, {name: part}, "last.pt")
            except UserError as error:
                messages.append(str(error))
                continue
            with untyped():
                use(run)
            for other, state in states.items():  # `use` changes them all
                run.parts[other].load_state_dict(copy.deepcopy(state))
    assert len(messages) > len(chosen), "too few of these are refused"
    assert not any("\n" in message for message in messages)
    checkpoints.restore({"parts": {name: whole}}, {name: part}, "last.pt")


def test_a_state_smaller_than_its_parameter_is_refused():
    """A fused optimizer would write past the end of the state."""
    layer = nn.Linear(20, 30)
    optimizer = optimizers.build("adamw", layer.parameters())
    layer(torch.ones(1, 20)).sum().backward()
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    new = optimizers.build("adamw", layer.parameters())
    checkpoints.restore({"parts": {"optimizer": state}}, {"optimizer": new}, "last.pt")
    part = copy.deepcopy(state)
    del part["state"][1]["exp_avg_sq"]
    fresh = optimizers.build("adamw", layer.parameters())
    with pytest.raises(UserError, match="the states of its parameters differ in their names or types"):
        checkpoints.restore({"parts": {"optimizer": part}}, {"optimizer": fresh}, "last.pt")
    state["state"][0]["exp_avg"] = torch.zeros(3)
    for which in (optimizer, optimizers.build("adamw", layer.parameters())):
        with pytest.raises(UserError, match=r"does not fit this optimizer: .*exp_avg"):
            checkpoints.restore({"parts": {"optimizer": state}}, {"optimizer": which}, "last.pt")


@pytest.mark.parametrize("config", [None, 3, [], {"other": 1}, {"seed": "1"}, {"lr": [1]}, {1: 2}, {"check": 1}])
def test_a_checkpoint_of_other_settings_is_refused(config: Any, tmp_path: Path):
    torch.save({"parts": {}, "config": config}, tmp_path / "last.pt")
    with untyped(), pytest.raises(UserError, match=r"last\.pt holds settings that this train\.py does not accept: "):
        launch.resume(tmp_path, {}, build=models.build)


@pytest.mark.parametrize("content", [None, [], {}, {"parts": None}, {"parts": [1]}, torch.zeros(2)])
def test_other_files_than_checkpoints_are_refused(content: Any, tmp_path: Path):
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"is not a checkpoint of train\.py"):
        checkpoints.load(tmp_path / "last.pt")


def test_settings_of_another_type_are_named():
    with untyped(), pytest.raises(UserError, match="--batch-size must be int, got '8'"):
        Config(batch_size="8")
    with untyped(), pytest.raises(UserError, match="--check must be bool, got 1"):
        Config(check=1)
    assert Config(lr=1).lr == 1
