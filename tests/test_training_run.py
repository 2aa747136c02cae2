"""How a run uses its loaders, schedule and network, tested with a network of one layer and two steps an epoch."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.inference import export
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import checkpoints, device, launch
from gtzan_stream.training.run import Interrupted, Run
from tests.train_cases import TIMES, completed

BATCH = 7
"""Batch size. Each part has ten clips, so the second batch has four fillers."""


class Layer(nn.Module):
    """A linear layer on the mean over the frames. Records if calls were in training, with gradients and in bf16."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(128, n_classes), nn.Dropout(0.2)
        self.calls: set[tuple[bool, bool, bool]] = set()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.calls.add((self.training, torch.is_grad_enabled(), torch.is_autocast_enabled(features.device.type)))
        return self.linear(self.dropout(features.mean(dim=2)))


def build(name: str, n_classes: int) -> Layer:
    return Layer(n_classes)


@pytest.fixture
def start(checkout: Path, tmp_path: Path) -> Callable[..., Run]:
    """Return a function that starts a run of that network with some settings."""

    def started(build: Callable[..., Any] = build, **settings: Any) -> Run:
        defaults = {"batch_size": BATCH, "crops_per_clip": 1, "num_workers": 0, "augment": "none", "precision": "bf16"}
        defaults |= {"normalization": "clip", "optimizer": "sgd", "lr": 0.1, "schedule": "plateau", "name": "run"}
        paths = {"shards": str(checkout / "shards"), "out": str(tmp_path)}
        return launch.start(completed(**defaults | paths | settings), build=build)

    return started


def weights_of(run: Run) -> torch.Tensor:
    return run.network.network.linear.weight.detach().clone()


class Halving:
    """A schedule that halves the learning rate after each epoch, and is finished after four."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.group, self.steps, self.losses = optimizer.param_groups[0], 0, []

    @property
    def lr(self) -> float:
        return self.group["lr"]

    @property
    def finished(self) -> bool:
        return len(self.losses) == 4

    def step(self) -> None:
        self.steps += 1

    def end_epoch(self, loss: float) -> None:
        self.losses.append(loss)
        self.group["lr"] /= 2


def test_a_run_follows_its_schedule_and_tests_its_best_network(start, monkeypatch, capsys):
    valid = [
        {"loss": loss, "chunk_accuracy": share} for loss, share in [(4.0, 0.2), (2.0, 0.5), (1.0, 0.5), (3.0, 0.4)]
    ]
    seen, exported, evaluate = [], [], Run.evaluate

    def scripted(self: Run, loader: Any, *others: Any) -> dict[str, Any]:
        part = loader.state_dict()["part"]
        found = evaluate(self, loader, *others) | (valid[len(seen)] if part == "valid" else {})
        seen.append((part, found["chunks"], weights_of(self)))
        loader.skipped.append(part)
        return found

    monkeypatch.setattr(Run, "evaluate", scripted)
    monkeypatch.setattr(export, "write", lambda path, network, *_, **__: exported.append(network))
    run = start(epochs=9)
    run.schedule = Halving(run.optimizer)
    run.network.network.calls.clear()
    run.train()
    assert run.network.network.calls == {(True, True, True), (False, False, True)}
    assert re.findall(r"^ +(\d) .* (\d\.\d{4}) ", capsys.readouterr().out, re.M) == [
        (str(epoch), f"{row['loss']:.4f}") for epoch, row in enumerate(valid, 1)
    ]
    assert run.schedule.losses == [row["loss"] for row in valid]
    assert run.schedule.steps == run.progress.steps == 8
    rows = run.progress.history
    assert [row["lr"] for row in rows] == [0.1, 0.05, 0.025, 0.0125]
    assert [row["valid_chunk_accuracy"] for row in rows] == [row["chunk_accuracy"] for row in valid]
    assert [row["crops_per_second"] * row["train_seconds"] for row in rows] == pytest.approx([10] * 4)
    run.train_loader.skipped.append("train")
    path = run.finish()
    assert [(part, chunks) for part, chunks, _ in seen] == [("valid", 10)] * 4 + [("test", 10)]
    assert torch.equal(seen[4][2], seen[2][2])
    assert not torch.equal(seen[3][2], seen[2][2])
    assert exported == [run.network]
    report = json.loads((run.folder / "report.json").read_text())
    assert report["training"]["stopped"] == "the learning rate is below its floor"
    assert (report["training"]["epochs"], report["training"]["best_epoch"]) == (4, 3)
    assert report["training"]["seconds"] >= sum(row["train_seconds"] for row in rows) > 0
    assert report["skipped"] == ["test", "train", "valid"]
    assert path == run.folder / "report.html"
    assert "Evaluated on the chunks in the first 23.8 s of each track" in path.read_text()


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_run_that_is_interrupted_anywhere_continues_to_the_same_end(start, monkeypatch, schedule):
    """The run has all kinds of state: momentum, warm-up, dropout, mixup, batch norm, and an incomplete last epoch."""

    def normed(name: str, n_classes: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(128), Layer(n_classes))

    def interrupt(method: str, number: int) -> Callable[..., Any]:
        original, calls = getattr(Run, method), []

        def wrapped(self: Run, *arguments: Any) -> Any:
            calls.append(method)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGINT)
            return original(self, *arguments)

        return wrapped

    def end(run: Run) -> tuple[Any, ...]:
        history = [{name: row[name] for name in row if name not in TIMES} for row in run.progress.history]
        files = [
            checkpoints.load(run.folder / name)["parts"]["network"] for name in (checkpoints.LAST, checkpoints.BEST)
        ]
        return history, [{name: value.tolist() for name, value in file.items()} for file in files]

    settings = {"mixup": 0.4, "schedule": schedule, "warmup_steps": 3, "steps": 5, "precision": "fp32"}
    unbroken = start(normed, name="unbroken", **settings)
    unbroken.train()
    expected = end(unbroken)
    assert [row["step"] for row in expected[0]] == [2, 4, 5]
    assert type(unbroken.schedule).__name__.lower() == schedule
    for method, number in [*(("step", number) for number in range(1, 6)), ("evaluate", 1), ("evaluate", 3)]:
        run = start(normed, name=f"{method}-{number}", **settings)
        with monkeypatch.context() as patch:
            patch.setattr(Run, method, interrupt(method, number))
            with pytest.raises(Interrupted):
                run.train()
        run.close()
        steps = number if method == "step" else run.steps if number == 3 else 2
        again = launch.resume(run.folder, {}, build=normed)
        assert (again.progress.steps, again.finished) == (steps, False)
        again.train()
        assert end(again) == expected, (method, number)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_rows_of_weight_zero_change_neither_weights_nor_measures(start, mixup):
    ends = []
    for number in range(2):
        run = start(mixup=mixup, name=str(number))
        batch = next(iter(run.train_loader))
        batch.weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
        batch.loss_weights = batch.weights / 5
        if number:
            other = batch.weights == 0
            batch.features = torch.where(other[:, None, None], batch.features.flip(1), batch.features)
            batch.labels = torch.where(other, (batch.labels + 1) % 10, batch.labels)
            batch.targets = torch.where(other[:, None] if mixup else other, batch.targets.flip(0), batch.targets)
        run.step(batch)
        measures = run.progress.measures(1.0)
        assert measures["crops_per_second"] == 5
        ends.append((weights_of(run), measures["train_loss"]))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_the_settings_reach_the_loaders_and_the_optimizer(start):
    run = start(seed=3, crops_per_clip=2, shuffle_shards=1, chunks="all", on_error="skip", weight_decay=0.25)
    train, valid = run.train_loader.state_dict(), run.valid_loader.state_dict()
    assert (train["part"], train["seed"], train["crops_per_clip"], train["shuffle_shards"]) == ("train", 3, 2, 1)
    assert (valid["part"], valid["chunks"], run.train_loader.on_error) == ("valid", "all", "skip")
    group = run.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["momentum"], group["nesterov"]) == (0.1, 0.25, 0.9, True)


def test_the_statistics_are_not_those_of_mixtures(start):
    plain, mixed = (start(normalization="global", mixup=mixup, name=str(mixup)) for mixup in (0.0, 5.0))
    assert torch.equal(plain.normalization.std, mixed.normalization.std)
    assert torch.equal(plain.normalization.mean, mixed.normalization.mean)


def test_the_statistics_are_those_of_the_first_crops_and_the_loader_starts_over(start, monkeypatch):
    monkeypatch.setattr(launch, "STATISTICS_CROPS", BATCH + 1)
    run = start(normalization="global")
    state = run.train_loader.state_dict()
    assert (state["epoch"], state["examples_consumed"]) == (0, 0)
    features = torch.cat([batch.features[batch.weights > 0] for batch in run.train_loader]).double()
    stored = checkpoints.load(run.folder / checkpoints.LAST)["parts"]["network"]
    assert stored["normalization.mean"].item() == pytest.approx(features.mean().item(), rel=1e-5)
    assert stored["normalization.std"].item() == pytest.approx(features.std(correction=0).item(), rel=1e-5)


def test_an_epoch_without_examples_or_with_a_loss_that_is_not_finite_ends_the_run(start, monkeypatch):
    step, evaluate, message = Run.step, Run.evaluate, "the loss of epoch 1 is not finite: try --lr below 0.1"

    def changed(**changes: torch.Tensor) -> Callable[..., None]:
        return lambda self, batch: step(self, batch.__class__(**{**batch.__dict__, **changes}))

    for method, broken, expected in [
        ("step", changed(weights=torch.zeros(BATCH)), "there is nothing to train on: every example was skipped"),
        ("step", changed(features=torch.full((BATCH, 128, 128), torch.inf)), message),
        ("evaluate", lambda *args: evaluate(*args) | {"loss": float("nan")}, message),
    ]:
        run = start(name=expected[:9] + method)
        with monkeypatch.context() as patch:
            if method == "step":
                patch.setattr(Run, "evaluate", lambda *_: pytest.fail("there is nothing to validate"))
            patch.setattr(Run, method, broken)
            with pytest.raises(UserError, match=expected):
                run.train()
        assert not run.progress.history


def test_a_resumed_run_checks_the_settings_that_may_change(start, checkout, tmp_path, monkeypatch):
    shutil.copytree(checkout / "shards", tmp_path / "shards")
    folder = start(shards=str(tmp_path / "shards"), epochs=1).folder
    run = launch.resume(folder, {"epochs": 3, "seed": 0}, build=build)
    assert run.steps == 6
    assert json.loads((folder / "config.json").read_text())["epochs"] == 3
    run.close()

    cosine = start(schedule="cosine", name="cosine").folder
    with pytest.raises(UserError, match="--epochs cannot change in a resumed run, only --check, --device"):
        launch.resume(cosine, {"epochs": 9}, build=build)

    def refuse(*_: Any) -> None:
        raise UserError("no bf16 here")

    with monkeypatch.context() as patch:
        patch.setattr(device, "precision", refuse)
        with pytest.raises(UserError, match="no bf16 here"):
            launch.resume(folder, {}, build=build)
    shard = tmp_path / "shards" / Manifest.open(tmp_path / "shards").shards[0].name
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="is not as it was packed, 2 problems: "):
        launch.resume(folder, {"check": True}, build=build)


def test_a_split_of_one_label_is_refused(start, monkeypatch):
    monkeypatch.setattr(Manifest, "labels_of", lambda self, split: ["blues"])
    with pytest.raises(UserError, match=r"split demo of .* has one label: a classifier needs at least two"):
        start()
