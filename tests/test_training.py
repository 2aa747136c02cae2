"""The parts of a training run, each tested by itself."""

import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gtzan_stream.checks import MAX_INT, MAX_SEED
from gtzan_stream.errors import UserError
from gtzan_stream.inference.png import write_png
from gtzan_stream.training import clock, device, optimizers, plots, report
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
    progress.trained = True
    assert progress.end_epoch(valid_chunk_accuracy=0.5, valid_loss=1.0)
    assert (progress.epoch, progress.steps, progress.batch, progress.trained) == (1, 2, 0, False)
    progress.step(sums_of(torch.tensor(21.0), logits, torch.tensor([1, 0, 1]), torch.ones(3)))
    progress.add_time(1.0, 0.0)
    assert not progress.end_epoch(valid_chunk_accuracy=0.5, valid_loss=1.5)
    assert (progress.history[1]["train_loss"], progress.history[1]["train_accuracy"]) == (7.0, 0.0)
    progress.step(sums_of(torch.tensor(1.0), logits, torch.tensor([0, 1, 0]), torch.ones(3)))
    progress.add_time(1.0, 0.0)
    assert progress.end_epoch(valid_chunk_accuracy=0.5, valid_loss=0.9)
    progress.step(sums_of(torch.tensor(1.0), logits, torch.tensor([1, 0, 1]), torch.ones(3)))
    progress.add_time(1.0, 0.0)
    assert not progress.end_epoch(valid_chunk_accuracy=0.4, valid_loss=0.1)
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


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_the_pictures_show_the_numbers(tmp_path):
    columns = ("train_loss", "valid_loss", "train_accuracy", "valid_chunk_accuracy", "valid_track_accuracy")
    history = [{"epoch": epoch, **{name: epoch / n for n, name in enumerate(columns, 1)}} for epoch in (1, 2, 3)]
    drawn = [plots.learning_curves(history, best_epoch=2)]
    drawn.append(plots.confusion_matrix([[3, 1], [0, 0]], ["blues", "r$o$ck"]))
    panels = drawn[0].get_axes()
    curves = [[line.get_ydata()[0] for line in panel.get_lines()[:-1]] for panel in panels]
    assert curves == [[1 / 1, 1 / 2], [1 / 3, 1 / 4, 1 / 5]]
    legends = [[text.get_text() for text in panel.get_legend().get_texts()] for panel in panels]
    assert legends[0] == ["training", "validation", "kept: epoch 2"]
    assert legends[1] == ["training, per chunk", "validation, per chunk", "validation, per track", "kept: epoch 2"]
    assert [set(panel.get_lines()[-1].get_xdata()) for panel in panels] == [{2}, {2}]
    (panel,) = drawn[1].get_axes()
    assert panel.get_images()[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]
    assert {text.get_position(): text.get_text() for text in panel.texts} == {(0, 0): "3", (1, 0): "1"}
    assert panel.get_yticklabels()[1].get_parse_math() is False
    for figure in drawn:
        write_png(tmp_path / "a.png", figure)
        assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([2.0, 1.0, 0.5], "linear"), ([2.0, 400.0, 0.5], "log"), ([0.0, 0.0, 9.0], "linear"), ([0.0], "linear")],
)
def test_no_curve_is_cut_off(losses, scale):
    shares = [0.0, 1.0, 0.5][: len(losses)]
    columns = {"train_loss": losses, "valid_loss": losses, "train_accuracy": shares}
    columns |= {"valid_chunk_accuracy": shares, "valid_track_accuracy": shares}
    history = [{"epoch": i + 1, **{name: v[i] for name, v in columns.items()}} for i in range(len(losses))]
    panels = plots.learning_curves(history, best_epoch=1).get_axes()
    assert panels[0].get_yscale() == scale
    for panel in panels:
        for line in panel.get_lines()[:-1]:
            (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
            assert all(bottom <= y <= top for y in line.get_ydata())
            assert all(left < x < right for x in line.get_xdata())
            assert not line.get_clip_on()
            assert line.get_marker() == "."


def test_the_confusion_matrix_of_many_labels_fits_a_screen():
    figure = plots.confusion_matrix(np.eye(300, dtype=int).tolist(), [f"label {n}" for n in range(300)])
    assert max(figure.get_size_inches()) <= plots.MAX_INCHES
    assert not figure.get_axes()[0].texts


def test_history_is_a_line_an_epoch(tmp_path):
    report.write_history(tmp_path / "metrics.jsonl", [{"epoch": 1}, {"epoch": 2}])
    assert [json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_the_results_are_labelled():
    blues = {"tracks": 4, "track_recall": 0.75, "chunk_recall": 0.5, "track_precision": 1.0}
    rock = {"tracks": 0, "track_recall": None, "chunk_recall": None, "track_precision": None}
    test = {
        "tracks": 4,
        "track_accuracy": 0.75,
        "track_interval": [0.3, 0.95],
        "labels": {"blues": blues, "rock": rock},
    }
    test |= {"chunks": 8, "chunk_accuracy": 0.5, "chunk_interval": [0.1, 0.9]}
    text = report.results({"config": {"chunks": "all"}, "test": test})
    assert (
        "| per track | 75.0% | 30.0% to 95.0% | 4 tracks |\n| per chunk | 50.0% | 10.0% to 90.0% | 8 chunks |" in text
    )
    assert "| blues | 4 | 75% | 50% | 100% |\n| rock | 0 |  |  |  |\n" in text
    assert "Evaluated on all chunks of each track" in text
