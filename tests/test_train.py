"""train.py: a tiny real training, its options, and the errors for wrong ones."""

import dataclasses
import json
import shutil
import sys
from importlib import metadata
from itertools import islice

import pytest
import torch

import models
import train
from gtzan_stream.features import LogMel
from gtzan_stream.inference.export import read_metadata
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.training import checkpoints, optimizers
from gtzan_stream.training.config import Config
from gtzan_stream.training.run import Run
from tests.train_cases import SMALL, completed, history_of


def test_a_run_writes_its_checkpoints_model_and_reports(unbroken):
    files = ["best.pt", "config.json", "last.pt", "metrics.jsonl", "model.pt2", "report.html", "report.json"]
    files.append("steps.jsonl")
    assert sorted(path.name for path in unbroken.iterdir()) == files
    report = json.loads((unbroken / "report.json").read_text())
    assert 0 <= report["test"]["chunk_accuracy"] <= 1
    assert 0 <= report["test"]["track_accuracy"] <= 1
    assert report["test"]["tracks"] == 10
    assert report["data"]["clips"] == {"train": 20, "valid": 10, "test": 10}
    assert report["training"]["steps"] == 8
    assert report["training"]["last_train_accuracy"] == history_of(unbroken)[-1]["train_accuracy"]
    assert sum(map(sum, report["test"]["confusion"])) == 10
    assert report["versions"]["torch"] == metadata.version("torch")
    text = (unbroken / "report.html").read_text()
    assert f"{100 * report['test']['track_accuracy']:.1f} %" in text
    assert all(label in text for label in report["data"]["labels"])


def test_the_stored_settings_are_complete(unbroken):
    config = json.loads((unbroken / "config.json").read_text())
    assert config["split"] == "demo"
    assert (config["optimizer"], config["lr"]) == ("adamw", 1e-3)
    assert config["device"] in ("cpu", "cuda")
    assert config["precision"] in ("bf16", "fp32")
    assert config == checkpoints.load(unbroken / "last.pt")["config"]


def test_another_seed_gives_another_run(go, unbroken, no_export):
    assert go("--name", "other", *SMALL, "--seed", "1", "--epochs", "1").exit_code == 0
    assert history_of(go.out / "other")[0] != history_of(unbroken)[0]


def test_without_epochs_the_steps_set_the_length(tiny, tmp_path):
    config = completed(shards=str(tiny), crops_per_clip=1, batch_size=5, steps=50)
    assert Run(config, tmp_path, build=models.build).steps == 50
    config = dataclasses.replace(config, epochs=2)
    assert Run(config, tmp_path, build=models.build).steps == 8


@pytest.fixture(scope="module")
def after_two_steps(tiny, tmp_path_factory):
    """A function that returns the weights of a network after two steps with some settings."""

    def weights(**settings) -> torch.Tensor:
        smallest = {"batch_size": 5, "crops_per_clip": 1, "normalization": "clip", "model": "cnn2d", "steps": 3}
        smallest |= {"schedule": "plateau", "n_mels": 64, "frames": 64}
        config = completed(**{"shards": str(tiny), **smallest, **settings})
        run = Run(config, tmp_path_factory.mktemp("steps"), build=models.build)
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


def test_a_trainable_spectrogram_starts_equal_to_the_fixed_one(tiny, tmp_path):
    config = Config(shards=str(tiny), batch_size=5, precision="fp32", crops_per_clip=1, out=str(tmp_path))
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


@pytest.mark.parametrize(("model", "shape"), [("cnn2d", (128, 128)), ("cnn1d", (128, 1024)), ("samplecnn", (1, 66150))])
def test_a_network_gets_the_input_shape_that_it_declares(tiny, tmp_path, model, shape):
    config = completed(shards=str(tiny), model=model, batch_size=2, augment="none")
    run = Run(config, tmp_path, build=models.build)
    batch = next(iter(run.train_loader))
    assert batch.features.shape == (2, *shape)
    run.step(batch)
    assert run.progress.measures()["train_loss"] > 0


def test_clips_too_short_for_a_network_are_counted(go, no_export):
    result = go("--model", "cnn1d", "--name", "padded", "--epochs", "1", "--augment", "none")
    assert result.exit_code == 0, result.output
    assert json.loads((go.out / "padded" / "report.json").read_text())["data"]["padded"] == 40
    assert "40 clips are shorter" in (go.out / "padded" / "report.html").read_text()


def test_defaults_depend_on_the_fold_the_network_and_the_optimizer(tiny):
    config = completed(shards=str(tiny), split="folds", fold=3, model="samplecnn", optimizer="sgd")
    spec = models.spec("samplecnn")
    assert (config.split, config.batch_size, config.lr) == ("folds-3", spec.batch_size, 0.01)
    assert config.normalization == spec.normalization == "clip"
    assert completed(shards=str(tiny), fold=1).split == "folds-1"
    assert completed(shards=str(tiny), optimizer="adam").lr == 1e-3
    assert completed(shards=str(tiny), optimizer="rmsprop").lr == 1e-4
    alexnet = completed(shards=str(tiny), model="alexnet")
    assert (alexnet.optimizer, alexnet.lr) == ("adamw", 3e-4)
    assert completed(shards=str(tiny), model="alexnet", lr=0.1).lr == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "vgg12"], "there is no network 'vgg12'; there are cnn1d, alexnet"),
        (["--split", "filtred"], "has no split 'filtred': choose one of"),
        (["--split", "folds"], "--split folds needs --fold K"),
        (["--augment", "loud"], "no augmentation is called 'loud'; there are none, study"),
        (
            ["--model", "samplecnn", "--spec-augment", "8"],
            "--spec-augment masks rows and frames of a spectrogram, but samplecnn takes waveform",
        ),
        (
            ["--model", "samplecnn", "--trainable-frontend"],
            "--trainable-frontend learns logmel features, but samplecnn takes waveform",
        ),
        (["--optimizer", "lion"], "--optimizer must be one of sgd, adam"),
        (["--chunks", "clip"], "--chunks must be one of study, all"),
        (["--device", "gpu"], "there is no device 'gpu'"),
        (["--crops-per-clip", "0"], "--crops-per-clip must be 1 or more, got 0"),
        (["--lr", "-1"], "--lr must be a positive number"),
        (["--name", "unbroken"], "holds a run: continue it with --resume"),
        (["--shards", "/nowhere"], "/nowhere does not exist: fill it with `gtzan-stream demo /nowhere`"),
    ],
)
def test_a_wrong_option_is_an_error_of_one_line(go, unbroken, options, message):
    result = go(*options)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1


def test_the_option_check_verifies_the_shards_before_training(go, tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    shard = copy / "demo-000000.tar"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = go("--shards", str(copy), "--check", "--name", "checked")
    assert result.exit_code == 2, result.output
    assert f"{shard}: sha256" in result.output
    assert not (go.out / "checked").exists()


OWN = """
from gtzan_stream.augment import Gain
from gtzan_stream.features import LogMel

def louder(): return Gain(2.0, 4.0)
def decibels(frames): return LogMel(compression="db", frames=frames)
def few_bands(frames): return LogMel(n_mels=20, frames=frames)
def nothing(): return {}
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """The name of a user's module in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_work.py").write_text(OWN)
    yield "own_work"
    sys.modules.pop("own_work", None)
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def test_a_run_with_a_users_augmentation_and_features_can_be_trained_and_resumed(go, own):
    options = ["--augment", f"{own}:louder", "--features", f"{own}:decibels", "--steps", "2"]
    result = go("--name", "own", *options)
    assert result.exit_code == 0, result.output
    config = json.loads((go.out / "own" / "config.json").read_text())
    assert (config["augment"], config["features"]) == (f"{own}:louder", f"{own}:decibels")
    metadata = read_metadata(go.out / "own" / "model.pt2")
    assert metadata.geometry == LogMel(compression="db").geometry
    result = go("--resume", str(go.out / "own"), defaults=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--augment", "own_work:nothing"],
            "own_work:nothing: it should return a Transform, it returned dict",
        ),
        (
            ["--augment", "own_work:quieter"],
            "own_work.py has no quieter",
        ),
        (["--augment", "no_work:louder"], "augmentation no_work:louder: No module named 'no_work'"),
        (["--features", "own_work:louder"], "features: Gain has no geometry"),
        (
            ["--features", "own_work:few_bands"],
            "but the features have 20 rows x 128 frames: choose features of 64 rows or more",
        ),
        (["--frames", "8"], "but the features have 128 rows x 8 frames: choose --frames 64 or more"),
    ],
)
def test_a_mistake_in_a_users_module_is_an_error_of_one_line(go, own, options, message):
    result = go("--name", "wrong", *options)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.count("\n") == 1
