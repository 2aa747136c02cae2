"""A tiny real training: repeatable, resumable to the bit, and honest about mistakes."""

import dataclasses
import json
import os
import shutil
import signal
from itertools import islice
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import models
import train
from gtzan_stream.catalog import demo
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.store.pack import pack
from gtzan_stream.training import checkpoints, metrics, optimizers

TIMES = {"clips_per_second", "data_wait_share", "train_seconds"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of forty clips of twelve seconds, half of them for training."""
    folder = tmp_path_factory.mktemp("tiny")
    genres, split = demo.write(folder / "music", train=2, valid=1, test=1, clip_s=12.0)
    pack(genres, folder / "shards", splits=split, name="demo")
    return folder / "shards"


@pytest.fixture(scope="module")
def go(tiny: Path, tmp_path_factory: pytest.TempPathFactory):
    """Run train.py with some options, on as little work as there can be; give its exit status and words."""
    out = tmp_path_factory.mktemp("runs")

    def run(*arguments: str, defaults: bool = True):
        few = ["--shards", str(tiny), "--out", str(out), "--epochs", "2", "--crops-per-clip", "1", "--batch-size", "5"]
        few += [] if "--schedule" in arguments else ["--schedule", "plateau"]
        return CliRunner().invoke(train.app, [*(few if defaults else []), *arguments])

    run.out = out
    return run


@pytest.fixture(scope="module")
def unbroken(go) -> Path:
    result = go("--name", "unbroken")
    assert result.exit_code == 0, result.output
    return go.out / "unbroken"


def network_of(folder: Path, name: str = checkpoints.LAST) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder / name)["parts"]["network"]


def history_of(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def assert_equal_runs(one: Path, other: Path) -> None:
    assert history_of(one) == history_of(other)
    for name in (checkpoints.LAST, checkpoints.BEST):
        a, b = network_of(one, name), network_of(other, name)
        assert all(torch.equal(a[key], b[key]) for key in a), name
    reports = [json.loads((folder / "report.json").read_text()) for folder in (one, other)]
    assert reports[0]["test"] == reports[1]["test"]


def test_a_run_leaves_everything_in_its_folder(unbroken):
    files = ["best.pt", "config.json", "confusion_matrix.png", "last.pt", "learning_curves.png"]
    files += ["metrics.jsonl", "model.pt2", "report.json", "report.md"]
    assert sorted(path.name for path in unbroken.iterdir()) == files
    report = json.loads((unbroken / "report.json").read_text())
    assert 0 <= report["test"]["chunk_accuracy"] <= 1
    assert 0 <= report["test"]["track_accuracy"] <= 1
    assert report["test"]["tracks"] == 10
    assert report["data"]["clips"] == {"train": 20, "valid": 10, "test": 10}
    assert report["training"]["steps"] == 8
    assert report["training"]["last_train_accuracy"] == history_of(unbroken)[-1]["train_accuracy"]
    assert sum(map(sum, report["test"]["confusion"])) == 10
    text = (unbroken / "report.md").read_text()
    assert f"| per track | {report['test']['track_accuracy']:.1%} |" in text
    assert all(genre in text for genre in report["data"]["labels"])


def test_the_stored_settings_leave_nothing_open(unbroken):
    config = json.loads((unbroken / "config.json").read_text())
    assert config["split"] == "demo"
    assert (config["optimizer"], config["lr"]) == ("adamw", 1e-3)
    assert config["device"] in ("cpu", "cuda")
    assert config["precision"] in ("bf16", "fp32")
    assert config == checkpoints.load(unbroken / "last.pt")["config"]


def test_the_statistics_of_the_features_are_in_the_checkpoint(unbroken):
    state = network_of(unbroken, checkpoints.BEST)
    assert state["normalization.std"].item() > 0.01
    assert state["normalization.mean"].item() != 0


def test_a_second_run_is_equal_to_the_bit(go, unbroken):
    assert go("--name", "again", "--workers", "0").exit_code == 0
    assert_equal_runs(unbroken, go.out / "again")


def test_another_seed_is_another_run(go, unbroken):
    assert go("--name", "other", "--seed", "1", "--epochs", "1").exit_code == 0
    assert history_of(go.out / "other")[0] != history_of(unbroken)[0]


@pytest.mark.parametrize(
    "when", ["in the middle of an epoch", "at its last step", "in its validation", "in the second"]
)
def test_an_interrupted_run_continues_to_the_same_end(go, unbroken, monkeypatch, when):
    calls = {"step": 0, "add": 0}
    moment = {
        "in the middle of an epoch": ("step", 2),
        "at its last step": ("step", 4),
        "in its validation": ("add", 1),
    }
    kind, number = moment.get(when, ("step", 7))

    def then_interrupt(owner, name):
        original = getattr(owner, name)

        def wrapped(self, *arguments):
            original(self, *arguments)
            calls[name] += 1
            if (kind, number) == (name, calls[name]):
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(owner, name, wrapped)

    then_interrupt(train.Run, "step")
    then_interrupt(metrics.Collector, "add")
    name = when.replace(" ", "-")
    result = go("--name", name)
    assert result.exit_code == 130, result.output
    assert "--resume" in result.output
    assert calls["step"] in (2, 4, 7)
    monkeypatch.undo()
    assert not (go.out / name / "report.json").exists()
    result = go("--resume", str(go.out / name), "--workers", "1", defaults=False)
    assert result.exit_code == 0, result.output
    assert_equal_runs(unbroken, go.out / name)


BEYOND = ["--mixup", "0.4", "--spec-augment", "24", "--label-smoothing", "0.1", "--schedule", "cosine", "--steps", "6"]


@pytest.fixture(scope="module")
def beyond(go) -> Path:
    """A run with all that the study had not, cut short in its second epoch."""
    result = go("--name", "beyond", *BEYOND)
    assert result.exit_code == 0, result.output
    return go.out / "beyond"


def test_a_run_ends_with_its_steps_and_a_validation(beyond, unbroken):
    rows = history_of(beyond)
    assert [row["step"] for row in rows] == [4, 6]
    assert all(row["valid_loss"] > 0 for row in rows)
    training = json.loads((beyond / "report.json").read_text())["training"]
    assert (training["epochs"], training["steps"], training["stopped"]) == (2, 6, "all steps were made")
    assert rows[0]["train_loss"] != history_of(unbroken)[0]["train_loss"]
    assert rows[-1]["lr"] == pytest.approx(0, abs=1e-12)


def test_steps_alone_set_the_length(tiny, tmp_path):
    config = train.complete(train.Config(shards=str(tiny), crops_per_clip=1, batch_size=5, steps=50))
    assert train.Run(config, tmp_path).steps == 50
    config = dataclasses.replace(config, epochs=2)
    assert train.Run(config, tmp_path).steps == 8


@pytest.mark.parametrize("number", [3, 5, 6])
def test_an_interrupted_run_that_mixes_and_masks_continues_to_the_same_end(go, beyond, monkeypatch, number):
    step, calls = train.Run.step, []

    def then_interrupt(self, batch):
        step(self, batch)
        calls.append(batch)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(train.Run, "step", then_interrupt)
    name = f"beyond-{number}"
    assert go("--name", name, *BEYOND).exit_code == 130
    monkeypatch.undo()
    result = go("--resume", str(go.out / name), defaults=False)
    assert result.exit_code == 0, result.output
    assert_equal_runs(beyond, go.out / name)


@pytest.fixture(scope="module")
def after_two_steps(tiny, tmp_path_factory):
    """The weights of a network after two steps with some settings."""

    def weights(**settings) -> torch.Tensor:
        few = {"batch_size": 5, "crops_per_clip": 1, "normalization": "clip", "model": "cnn2d", "steps": 3}
        few["schedule"] = "plateau"
        config = train.complete(train.Config(**{"shards": str(tiny), **few, **settings}))
        run = train.Run(config, tmp_path_factory.mktemp("steps"))
        for batch in islice(run.train_loader, 2):
            run.step(batch)
        return torch.cat([parameter.detach().flatten() for parameter in run.network.network.parameters()])

    weights.plain = weights()
    return weights


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"mixup": 0.4},
        {"spec_augment": 24},
        {"label_smoothing": 0.1},
        {"schedule": "cosine"},
        {"warmup_steps": 1},
        {"augment": "only:Gain"},
        {"trainable_frontend": True},
        *({"normalization": kind} for kind in NORMALIZATIONS if kind != "clip"),
        *({"optimizer": name} for name in optimizers.names() if name != "adamw"),
    ],
    ids=str,
)
def test_every_option_reaches_the_training(after_two_steps, setting):
    assert torch.equal(after_two_steps(**setting), after_two_steps.plain) == (not setting)


def test_a_cosine_cannot_be_prolonged(go, beyond):
    result = go("--resume", str(beyond), "--epochs", "9", defaults=False)
    assert result.exit_code == 2
    assert "--epochs cannot change in a run that is resumed, only --check, --device, --on-error" in result.output


def test_a_learnt_spectrogram_sees_what_a_fixed_one_does(tiny, tmp_path):
    config = train.Config(shards=str(tiny), batch_size=5, precision="fp32", crops_per_clip=1, out=str(tmp_path))
    runs = [train.start(dataclasses.replace(config, trainable_frontend=on, name=str(on))) for on in (False, True)]
    means = [run.network.normalization.mean.item() for run in runs]
    assert means[1] == pytest.approx(means[0], abs=2e-3)
    outputs = [run.network.eval()(next(iter(run.valid_loader)).features) for run in runs]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=0.02)
    before = {name: value.clone() for name, value in runs[1].network.named_parameters()}
    runs[1].network.train()
    runs[1].step(next(iter(runs[1].train_loader)))
    learnt = [name for name, value in runs[1].network.named_parameters() if not torch.equal(value, before[name])]
    assert {"wsin", "wcos", "mel_basis"} <= {name.rsplit(".")[-1] for name in learnt}


def test_a_finished_run_can_go_on_for_more_epochs(go, unbroken):
    assert go("--name", "short", "--epochs", "1").exit_code == 0
    assert go("--resume", str(go.out / "short"), "--epochs", "2", defaults=False).exit_code == 0
    assert_equal_runs(unbroken, go.out / "short")


@pytest.mark.parametrize(("model", "shape"), [("cnn2d", (128, 128)), ("cnn1d", (128, 1024)), ("samplecnn", (1, 66150))])
def test_a_network_gets_the_input_that_it_declares(tiny, tmp_path, model, shape):
    config = train.complete(train.Config(shards=str(tiny), model=model, batch_size=2, augment="none"))
    run = train.Run(config, tmp_path)
    batch = next(iter(run.train_loader))
    assert batch.features.shape == (2, *shape)
    run.step(batch)
    assert run.progress.measures()["train_loss"] > 0


def test_clips_too_short_for_a_network_are_counted(go):
    result = go("--model", "cnn1d", "--name", "padded", "--epochs", "1", "--augment", "none")
    assert result.exit_code == 0, result.output
    assert json.loads((go.out / "padded" / "report.json").read_text())["data"]["padded"] == 40
    assert "40 clips are shorter" in (go.out / "padded" / "report.md").read_text()


def test_folds_and_networks_have_defaults_of_their_own(tiny):
    config = train.complete(train.Config(shards=str(tiny), split="folds", fold=3, model="samplecnn", optimizer="sgd"))
    spec = models.spec("samplecnn")
    assert (config.split, config.batch_size, config.lr) == ("folds-3", spec.batch_size, 0.01)
    assert config.normalization == spec.normalization == "clip"
    assert train.complete(train.Config(shards=str(tiny), fold=1)).split == "folds-1"
    assert train.complete(train.Config(shards=str(tiny), optimizer="adam")).lr == 1e-3
    assert train.complete(train.Config(shards=str(tiny), optimizer="rmsprop")).lr == 1e-4
    alexnet = train.complete(train.Config(shards=str(tiny), model="alexnet"))
    assert (alexnet.optimizer, alexnet.lr) == ("adamw", 3e-4)
    assert train.complete(train.Config(shards=str(tiny), model="alexnet", lr=0.1)).lr == 0.1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "vgg12"], "there is no network 'vgg12'; there are cnn1d, alexnet"),
        (["--split", "filtred"], "has no split 'filtred': choose one of"),
        (["--split", "folds"], "--split folds needs --fold K"),
        (["--augment", "loud"], "no augmentation is called 'loud'; there are none, study"),
        (["--model", "samplecnn", "--spec-augment", "8"], "--spec-augment needs a network that is fed spectrograms"),
        (["--model", "samplecnn", "--trainable-frontend"], "--trainable-frontend needs a network that is fed"),
        (["--optimizer", "lion"], "--optimizer must be one of sgd, adam"),
        (["--eval", "all"], "--eval must be one of study, clip"),
        (["--device", "gpu"], "there is no device 'gpu'"),
        (["--lr", "-1"], "--lr must be a positive number"),
        (["--name", "unbroken"], "holds a run: continue it with --resume"),
        (["--shards", "/nowhere"], "/nowhere does not exist: fill it with `gtzan-stream demo /nowhere`"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(go, unbroken, arguments, sentence):
    result = go(*arguments)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--lr", "0.1", "--seed", "3"],
            "--lr, --seed cannot change in a run that is resumed, only --check, --device, --epochs",
        ),
        (["--shards", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_what_a_resumed_run_cannot_change(go, unbroken, arguments, sentence):
    result = go("--resume", str(unbroken), *arguments, defaults=False)
    assert result.exit_code == 2
    assert sentence in result.output


def test_shards_are_checked_before_training_if_that_is_asked_for(go, tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    shard = copy / "demo-000000.tar"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = go("--shards", str(copy), "--check", "--name", "checked")
    assert result.exit_code == 2, result.output
    assert f"not as packed, the first: {shard}: sha256" in result.output
    assert not (go.out / "checked").exists()


def test_the_window_of_shards_reaches_the_loader(tiny, tmp_path):
    run = train.Run(train.complete(train.Config(shards=str(tiny), shuffle_window=2)), tmp_path)
    assert run.train_loader.state_dict()["shuffle_window"] == 2


def test_a_run_that_diverges_says_what_to_try(go):
    result = go("--name", "diverges", "--lr", "1e30", "--augment", "none")
    assert result.exit_code == 2, result.output
    assert "the loss of epoch 1 is no number: try --lr below 1e+30" in result.output


def test_a_run_whose_last_step_diverges_is_no_result(go, monkeypatch):
    evaluate = train.Run.evaluate
    monkeypatch.setattr(train.Run, "evaluate", lambda *args: evaluate(*args) | {"loss": float("nan")})
    result = go("--name", "diverges-late", "--augment", "none")
    assert result.exit_code == 2, result.output
    assert "the loss of epoch 1 is no number" in result.output


def test_there_is_nothing_to_resume(go, tmp_path):
    result = go("--resume", str(tmp_path), defaults=False)
    assert result.exit_code == 2
    assert "is no checkpoint: give the folder of a run" in result.output


def test_the_best_checkpoint_cannot_be_resumed(go, unbroken):
    result = go("--resume", str(unbroken / "best.pt"), defaults=False)
    assert result.exit_code == 2
    assert "best.pt, of cnn2d, has no optimizer; it has network: start a new run" in result.output
