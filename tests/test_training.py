"""The parts of a training run, each tested by itself."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gtzan_stream.checks import MAX_INT, MAX_SEED
from gtzan_stream.errors import UserError
from gtzan_stream.training import clock, device, optimizers
from gtzan_stream.training.config import Config
from gtzan_stream.training.interrupt import Interrupt
from gtzan_stream.training.progress import RunProgress, sums_of

CPU = torch.device("cpu")


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_survive_a_round_trip():
    config = Config(model="vgg11", lr=0.1, fold=2, split="folds", seed=7)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_setting_is_an_error():
    with pytest.raises(UserError, match=r"no setting learning_rate; there are shards, .*lr"):
        Config.from_dict({"learning_rate": 0.1})


@pytest.mark.parametrize(
    ("setting", "message"),
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
        ({"label_smoothing": -0.1}, "--label-smoothing must be 0 or more and below 1, got -0.1"),
        ({"spec_augment": 129}, "--spec-augment must be 0 to 128 bands, got 129"),
        ({"spec_augment": -1}, "--spec-augment must be 0 or more"),
        ({"schedule": "step"}, "--schedule must be one of plateau, cosine"),
        (
            {"augment": "only:Reverb"},
            "no augmentation is called 'only:Reverb'; there are .*none, .*, and module:function",
        ),
        (
            {"features": "spectrum"},
            "there is no feature 'spectrum'; there are .*logmel, .*, and module:function",
        ),
        ({"frames": 0}, "--frames must be 1 or more, got 0"),
        ({"frames": 2**63}, f"--frames must be {MAX_INT} or less, got "),
        ({"seed": MAX_SEED + 1}, f"--seed must be {MAX_SEED} or less, got "),
    ],
)
def test_a_wrong_setting_is_refused(setting, message):
    with pytest.raises(UserError, match=message):
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
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (optimizers.default_lr(name), 1e-6)
    assert optimizers.build(name, layer.parameters(), weight_decay=0.5).defaults["weight_decay"] == 0.5
    assert losses[-1] < 0.95 * losses[0]


# --- progress, clock, interruption, device ----------------------------------------------------------------------------


def test_progress_weights_examples_and_knows_its_best_epoch():
    progress = RunProgress(CPU)
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    progress.step(sums_of(torch.tensor(4.0), logits, torch.tensor([0, 0, 0]), torch.tensor([1.0, 1.0, 0.0])))
    progress.step(sums_of(torch.tensor(5.0), logits, torch.tensor([0, 1, 0]), torch.tensor([1.0, 0.0, 0.0])))
    progress.add_time(2.0, 0.25)
    again = RunProgress(CPU)
    again.load_state_dict(progress.state_dict())
    assert again.measures() == progress.measures()
    measures = progress.measures()
    assert measures["train_loss"] == pytest.approx(3.0)
    assert measures["train_accuracy"] == pytest.approx(2 / 3)
    assert measures["crops_per_second"] == pytest.approx(1.5)
    assert measures["data_wait_share"] == pytest.approx(0.25)
    shown = progress.measures(2.0, 0.75)  # with time that was not added yet
    assert (shown["crops_per_second"], shown["data_wait_share"]) == pytest.approx((0.75, 0.5))
    assert not progress.validated
    assert progress.add_row(valid_chunk_accuracy=0.5, valid_loss=1.0)
    assert (progress.epoch, progress.steps, progress.batch, progress.validated) == (0, 2, 2, True)
    progress.end_epoch()
    assert (progress.epoch, progress.steps, progress.batch, progress.validated) == (1, 2, 0, True)
    progress.step(sums_of(torch.tensor(21.0), logits, torch.tensor([1, 0, 1]), torch.ones(3)))
    progress.add_time(1.0, 0.0)
    assert not progress.validated
    assert not progress.add_row(valid_chunk_accuracy=0.5, valid_loss=1.5)
    progress.end_epoch()
    assert (progress.history[1]["train_loss"], progress.history[1]["train_accuracy"]) == (7.0, 0.0)
    progress.step(sums_of(torch.tensor(1.0), logits, torch.tensor([0, 1, 0]), torch.ones(3)))
    progress.add_time(1.0, 0.0)
    assert progress.add_row(valid_chunk_accuracy=0.5, valid_loss=0.9)
    progress.end_epoch()
    progress.step(sums_of(torch.tensor(1.0), logits, torch.tensor([1, 0, 1]), torch.ones(3)))
    progress.add_time(1.0, 0.0)
    assert not progress.add_row(valid_chunk_accuracy=0.4, valid_loss=0.1)
    assert progress.summary()["epochs"] == 4  # the fourth has begun
    progress.end_epoch()
    summary = progress.summary()
    assert (summary["best_epoch"], summary["epochs"], summary["steps"], summary["seconds"]) == (3, 4, 5, 5.0)
    assert summary["last_train_accuracy"] == 0.0
    assert (summary["data_wait_share"], summary["crops_per_second"]) == pytest.approx((0.5 / 5, 12 / 5))


def test_the_clock_separates_waiting_from_working(monkeypatch):
    now = 0.0
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now))

    def slow():
        nonlocal now
        for number in range(4):
            now += 3.0
            yield number

    watched, shares = clock.DataClock(CPU), []
    assert watched.waiting == 0
    for number in watched.watch(slow()):
        now += 1.0 + number
        shares.append(watched.waiting)  # of the steps before
    assert shares == pytest.approx([0, 3 / 4, 6 / 9, 9 / 15])
    assert watched.waiting == pytest.approx(12 / 22)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_requests_an_end_and_restores_the_default_handler(number):
    default = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        assert signal.getsignal(number) is default
    assert signal.getsignal(number) is default


def test_precision_is_the_requested_one_or_what_the_machine_supports(monkeypatch):
    for able, expected in [({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert [device.precision(wanted, CPU) for wanted in ("fp32", "bf16", "auto")] == ["fp32", "bf16", expected]
    for native, expected in [(False, "fp32"), (True, "bf16")]:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert device.precision("auto", torch.device("cuda")) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(UserError, match="--precision bf16 needs a GPU of compute capability"):
        device.precision("bf16", torch.device("cuda"))
    with device.autocast("bf16", CPU):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16
    with device.autocast("fp32", CPU):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "no device 'gpu'"), ("mps", "no device 'mps'"), ("cuda:1", "cuda:1: torch sees 1 GPUs here")],
)
def test_an_unknown_device_is_refused(name, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=message):
        device.find(name)
