"""What a run of training is made of, each piece apart."""

import json
import os
import pickle
import signal
import time

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.training import checkpoints, device, optimizers, plots, report
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.config import Config
from gtzan_stream.training.interrupt import Interrupt
from gtzan_stream.training.progress import Progress

CPU = torch.device("cpu")


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_survive_a_round_trip():
    config = Config(model="vgg11", lr=0.1, fold=2, split="folds", seed=7)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_setting_is_an_error():
    with pytest.raises(UserError, match=r"no setting learning_rate; there are shards, .*lr"):
        Config.from_dict({"learning_rate": 0.1})


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"lr": 0.0}, "--lr must be a positive number, got 0.0"),
        ({"lr": float("nan")}, "--lr must be a positive number"),
        ({"weight_decay": -1.0}, "--weight-decay must be 0 or more"),
        ({"batch_size": 0}, "--batch-size must be 1 or more, got 0"),
        ({"epochs": 0}, "--epochs must be 1 or more"),
        ({"num_workers": -1}, "--num-workers must be 0 or more"),
        ({"chunks": "clip"}, "--chunks must be one of study, all, got 'clip'"),
        ({"normalization": "layer"}, "--normalization must be one of none, global, mel, clip, batch"),
        ({"optimizer": "lion"}, "--optimizer must be one of sgd, adam, .* got 'lion'"),
        ({"fold": 1, "split": "filtered"}, "--fold goes with --split folds"),
        ({"steps": 0}, "--steps must be 1 or more, got 0"),
        ({"mixup": -0.1}, "--mixup must be 0 or more, got -0.1"),
        ({"mixup": float("inf")}, "--mixup must be 0 or more"),
        ({"label_smoothing": 1.0}, "--label-smoothing must be 0 or more and below 1, got 1.0"),
        ({"spec_augment": 129}, "--spec-augment must be 0 to 128, the bands there are, got 129"),
        ({"spec_augment": -1}, "--spec-augment must be 0 or more"),
        ({"schedule": "step"}, "--schedule must be one of plateau, cosine"),
        (
            {"augment": "only:Reverb"},
            "no augmentation is called 'only:Reverb'; there are none, .*, and module:function",
        ),
        (
            {"features": "spectrum"},
            "there is no feature 'spectrum'; there are logmel, .*, and module:function",
        ),
        ({"frames": 0}, "--frames must be 1 or more, got 0"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_ones(setting, sentence):
    with pytest.raises(UserError, match=sentence):
        Config(**setting)


# --- optimizers -------------------------------------------------------------------------------------------------------


def test_there_are_six_optimizers():
    assert list(optimizers.OPTIMIZERS) == ["sgd", "adam", "adamw", "rmsprop", "adadelta", "adagrad"]


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_descends_at_its_own_learning_rate(name):
    torch.manual_seed(0)
    layer, inputs = nn.Linear(8, 1), torch.randn(64, 8)
    target = inputs.sum(1, keepdim=True)
    optimizer = optimizers.build(name, layer.parameters())
    losses = []
    for _ in range(200):
        loss = nn.functional.mse_loss(layer(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert optimizer.defaults["lr"] == optimizers.default_lr(name)
    assert losses[-1] < 0.95 * losses[0]


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_gives_everything_back(tmp_path):
    torch.manual_seed(1)
    parts = {"network": nn.Linear(2, 2), "random numbers": checkpoints.RandomNumbers(CPU)}
    checkpoints.save(tmp_path / "new" / "last.pt", parts, config={"seed": 1})
    expected = torch.randn(3)
    torch.manual_seed(2)
    other = {"network": nn.Linear(2, 2), "random numbers": checkpoints.RandomNumbers(CPU)}
    state = checkpoints.load(checkpoints.find(tmp_path / "new"))
    checkpoints.restore(state, other, "last.pt")
    assert torch.equal(torch.randn(3), expected)
    assert torch.equal(other["network"].weight, parts["network"].weight)
    assert state["config"] == {"seed": 1}


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    checkpoints.save(path, {}, epoch=1)
    with pytest.raises((pickle.PicklingError, AttributeError)):  # which of them depends on the version of Python
        checkpoints.save(path, {}, epoch=lambda: None)
    assert checkpoints.load(path)["epoch"] == 1


def test_there_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"last\.pt is not a checkpoint: give the folder of a run"):
        checkpoints.find(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_a_broken_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt cannot be read as a checkpoint"):
        checkpoints.load(path)


def test_a_checkpoint_only_holds_data(tmp_path):
    path = tmp_path / "last.pt"
    torch.save({"parts": {}, "config": os.path.join}, path)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        checkpoints.load(path)


def test_another_files_content_is_no_checkpoint(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"not a checkpoint of train\.py"):
        checkpoints.load(tmp_path / "other.pt")


def test_a_network_that_does_not_fit_is_told_in_one_line(tmp_path):
    checkpoints.save(tmp_path / "last.pt", {"network": nn.Linear(2, 3)})
    state = checkpoints.load(tmp_path / "last.pt")
    shapes = r"bias has the shape \(4,\) here and has the shape \(3,\) there"
    with pytest.raises(UserError, match=rf"^last\.pt, of tiny, does not fit this network: {shapes}; start a new run$"):
        checkpoints.restore(state, {"network": nn.Linear(2, 4)}, "last.pt, of tiny,")
    with pytest.raises(UserError, match="bias is missing here and has the shape"):
        checkpoints.restore(state, {"network": nn.Linear(2, 3, bias=False)}, "last.pt")
    with pytest.raises(UserError, match=r"last\.pt has no optimizer; it has network: start a new run"):
        checkpoints.restore(state, {"optimizer": nn.Linear(2, 3)}, "last.pt")


def test_an_optimizer_that_does_not_fit_is_told_in_one_line(tmp_path):
    checkpoints.save(tmp_path / "last.pt", {"optimizer": optimizers.build("sgd", nn.Linear(2, 3).parameters())})
    state = checkpoints.load(tmp_path / "last.pt")
    entries = r"param_groups\.0\.params has the entries 0, 1 there and 0 here"
    with pytest.raises(UserError, match=rf"last\.pt does not fit this optimizer: {entries}; start a new run$"):
        checkpoints.restore(
            state, {"optimizer": optimizers.build("sgd", nn.Linear(2, 3, bias=False).parameters())}, "last.pt"
        )


# --- progress, clock, interruption, device ----------------------------------------------------------------------------


def test_progress_weighs_examples_and_knows_its_best_epoch():
    progress = Progress(CPU)
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    progress.step(torch.tensor(2.0), logits, torch.tensor([0, 0, 0]), torch.tensor([1.0, 1.0, 0.0]))
    progress.step(torch.tensor(5.0), logits, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.0, 0.0]))
    progress.add_time(2.0, 0.25)
    measures = progress.measures()
    assert measures["train_loss"] == pytest.approx(3.0)
    assert measures["train_accuracy"] == pytest.approx(2 / 3)
    assert measures["clips_per_second"] == pytest.approx(1.5)
    assert measures["data_wait_share"] == pytest.approx(0.25)
    assert progress.end_epoch(valid_chunk_accuracy=0.5, valid_loss=1.0)
    progress.add_time(1.0, 0.0)
    assert not progress.end_epoch(valid_chunk_accuracy=0.5, valid_loss=1.5)
    progress.add_time(1.0, 0.0)
    assert progress.end_epoch(valid_chunk_accuracy=0.5, valid_loss=0.9)
    assert (progress.best["epoch"], progress.epoch, progress.steps, progress.batch) == (3, 3, 2, 0)
    assert progress.summary()["data_wait_share"] == pytest.approx(0.125)


def test_the_clock_tells_waiting_from_working():
    def slow():
        for number in range(4):
            time.sleep(0.03)
            yield number

    clock = DataClock(CPU)
    assert [number for number in clock.watch(slow()) if time.sleep(0.01) is None] == [0, 1, 2, 3]
    assert 0.5 < clock.waiting < 0.95


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interruption_asks_and_the_second_insists(number):
    default = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        assert signal.getsignal(number) is default
    assert signal.getsignal(number) is default


def test_precision_is_what_was_asked_for():
    assert device.precision("fp32", CPU) == "fp32"
    assert device.precision("bf16", CPU) == "bf16"
    assert device.precision("auto", CPU) in ("bf16", "fp32")
    with device.autocast("bf16", CPU):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16
    with device.autocast("fp32", CPU):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gpu", "no device 'gpu'"), ("mps", "no device 'mps'"), ("cuda:99", "cuda:99: torch sees . GPUs here")],
)
def test_a_device_that_is_not_there(name, sentence):
    with pytest.raises(UserError, match=sentence):
        device.find(name)


# --- pictures ---------------------------------------------------------------------------------------------------------


def is_png(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5_000


def test_the_pictures_are_pictures(tmp_path):
    columns = ("train_loss", "valid_loss", "train_accuracy", "valid_chunk_accuracy", "valid_track_accuracy")
    history = [{"epoch": epoch, **dict.fromkeys(columns, 1 / epoch)} for epoch in range(1, 4)]
    plots.learning_curves(tmp_path / "curves.png", history, best_epoch=2)
    plots.confusion_matrix(tmp_path / "confusion.png", [[3, 1], [0, 0]], ["blues", "rock"])
    assert is_png(tmp_path / "curves.png")
    assert is_png(tmp_path / "confusion.png")


def test_history_is_a_line_an_epoch(tmp_path):
    report.write_history(tmp_path / "metrics.jsonl", [{"epoch": 1}, {"epoch": 2}])
    assert [json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]
