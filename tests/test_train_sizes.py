"""train.py on shards at 8,000 Hz, with clips of half a second and features of other sizes."""

import dataclasses
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from gtzan_stream import console
from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import FEATURE_SETTINGS
from gtzan_stream.features import Frames, LogMel, RawWaveform
from gtzan_stream.inference.classify import classify
from gtzan_stream.inference.export import Model
from gtzan_stream.training.config import Config
from gtzan_stream.training.inputs import build_features, build_frontend, rows_of
from gtzan_stream.training.run import Run
from tests.conftest import write_wav
from tests.train_cases import completed


def suggested_options(output: str) -> list[str]:
    """Find the options that a message suggests."""
    return re.search(r"; choose (--.*)$", output)[1].split()


def test_options_suggested_for_short_clips_train_a_model_that_classifies_at_another_rate(go, words, tmp_path):
    data = ["--shards", str(words), "--split", "words", "--model", "cnn2d"]
    result = go(*data, "--name", "too-long")
    assert result.exit_code == 2, result.output
    assert "error: every clip of part train is too short to count: the longest lasts 0.49 s" in result.output
    assert not (go.out / "too-long").exists()
    suggested = suggested_options(result.output)
    assert suggested[::2] == ["--hop-length", "--frames"]
    learning = ["--epochs", "3", "--optimizer", "adamw", "--schedule", "cosine", "--normalization", "clip"]
    result = go(*data, *suggested, *learning, "--name", "words", "--augment", "none", "--crops-per-clip", "4")
    assert result.exit_code == 0, result.output
    assert "too short" not in result.output
    report = json.loads((go.out / "words" / "report.json").read_text())
    assert report["test"]["tracks"] == 4
    assert report["config"]["sample_rate"] == 8000
    model = Model.load(go.out / "words" / "model.pt2")
    assert model.metadata.geometry == LogMel(sample_rate=8000, hop_length=int(suggested[1]), frames=64).geometry
    for label, tone_hz in (("high", 1900), ("low", 300)):
        tone = 0.3 * np.sin(2 * np.pi * tone_hz * np.arange(20_000) / 44_100)
        assert classify(model, write_wav(tmp_path / f"{label}.wav", tone, 44_100)).ranking[0][0] == label


def test_every_part_is_checked_before_training(go, words):
    result = go("--shards", str(words), "--split", "brief", "--frames", "64", "--hop-length", "45", "--name", "brief")
    assert result.exit_code == 2, result.output
    assert "every clip of part test is too short to count: the longest lasts 0.07 s" in result.output
    assert not (go.out / "brief").exists()


def test_clips_are_too_short_at_another_sample_rate_too(words, tmp_path):
    config = completed(shards=str(words), split="words", sample_rate=16_000)
    with pytest.raises(UserError, match=r"the longest lasts 0\.49 s"):
        Run(config, tmp_path, build=models.build)


def test_another_network_is_suggested_if_no_clip_has_a_crop(go, words):
    result = go("--shards", str(words), "--split", "words", "--model", "samplecnn")
    assert result.exit_code == 2, result.output
    assert "; choose another --model: samplecnn does not take crops as short as these clips" in result.output


def test_many_short_clips_give_a_warning_before_training(go, no_export, words):
    data = ["--shards", str(words), "--split", "words", "--name", "many-short"]
    sizes = ["--frames", "64", "--hop-length", "100"]  # half of a crop is 0.4 s
    result = go(*data, *sizes, "--steps", "1", "--augment", "none")
    assert result.exit_code == 0, result.output
    note = re.search(r"(\d+) of the 12 clips of part train are too short to count: half a crop of 64 .*", result.output)
    assert 1 < int(note[1]) < 12
    assert suggested_options(note[0]) == ["--hop-length", "45", "--frames", "64"]


def test_the_options_reach_the_features(words, tmp_path):
    config = completed(shards=str(words), split="words", hop_length=60, frames=64, n_mels=70, n_fft=300, f_max=3500.0)
    run = Run(config, tmp_path, build=models.build)
    expected = LogMel(sample_rate=8000, hop_length=60, frames=64, n_mels=70, n_fft=300, f_max=3500.0)
    assert run.train_loader.features.geometry == expected.geometry
    waveform = torch.randn(2, expected.geometry.read_length, generator=torch.Generator().manual_seed(0))
    assert torch.equal(run.train_loader.features(waveform), expected(waveform))
    run.step(next(iter(run.train_loader)))


def test_a_trainable_spectrogram_has_the_same_sizes(words, tmp_path):
    sizes = {"hop_length": 60, "frames": 64, "n_mels": 70, "n_fft": 300, "f_min": 50.0, "f_max": 3500.0}
    config = completed(shards=str(words), split="words", trainable_frontend=True, **sizes)
    inputs, frontend = build_features(config), build_frontend(config)
    fixed = LogMel(sample_rate=8000, **sizes)
    assert isinstance(inputs, Frames)
    assert inputs.geometry == fixed.geometry
    assert rows_of(inputs, frontend) == 70
    waveform = torch.randn(2, fixed.geometry.read_length, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(frontend(inputs(waveform)), fixed(waveform), rtol=0, atol=2e-3)
    run = Run(config, tmp_path, build=models.build)
    run.step(next(iter(run.train_loader)))
    assert build_frontend(completed(shards=str(words), split="words", **sizes)) is None


def test_a_waveform_has_the_sample_rate_of_the_shards(words):
    features = build_features(completed(shards=str(words), split="words", model="samplecnn", frames=4000))
    assert features.geometry == RawWaveform(sample_rate=8000, frames=4000).geometry


def test_a_setting_that_is_not_given_is_the_default_of_the_features(words, tiny):
    config = completed(shards=str(words), split="words")
    assert {name: getattr(config, name) for name in FEATURE_SETTINGS} == {
        **dict.fromkeys(FEATURE_SETTINGS),
        "sample_rate": 8000,
        "frames": 128,
    }
    assert build_features(config).geometry == LogMel(sample_rate=8000).geometry
    assert build_features(completed(shards=str(tiny))).geometry == LogMel().geometry


def test_every_setting_is_an_option_of_both_programs():
    import inspect

    from gtzan_stream.commands import examples

    fields = Config.__dataclass_fields__
    for name, (kind, text) in FEATURE_SETTINGS.items():
        assert fields[name].type == kind | None
        assert fields[name].metadata["help"] == text
        assert inspect.signature(examples.preview).parameters[name].annotation.__metadata__[0].help == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "samplecnn", "--n-mels", "40"],
            "--n-mels does not apply to the features waveform, which take --sample-rate, --frames",
        ),
        (["--model", "samplecnn", "--n-fft", "40", "--f-max", "9"], "--n-fft, --f-max do not apply to the features wa"),
        (["--features", "stft_frames", "--n-mels", "40"], "--n-mels does not apply to the features stft_frames, which"),
        (["--n-fft", "301"], "features logmel: n_fft must be even and at least 2, got 301"),
        (["--f-max", "9000"], "features logmel: expected 0 <= f_min < f_max <= 4000 Hz, got 0 and 9000"),
        (["--n-fft", "64"], "mel bands would hold no frequency bin: at n_fft = 64"),
        (["--trainable-frontend", "--n-mels", "0"], "error: n_mels must be at least 1, got 0"),
        (["--trainable-frontend", "--n-mels", "40", "--frames", "64"], "choose --n-mels 64 or more"),
        (
            ["--frames", "64", "--hop-length", "45", "--spec-augment", "65"],
            "--spec-augment 65 can hide all of a feature of 128 rows x 64 frames: choose 64 or less",
        ),
    ],
)
def test_a_wrong_size_is_an_error_of_one_line(go, words, arguments, message):
    result = go("--shards", str(words), "--split", "words", "--name", "wrong-size", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.count("\n") == 1


OWN = """
from gtzan_stream.features import LogMel

def at_a_rate(sample_rate): return LogMel(sample_rate=sample_rate, hop_length=45, frames=64)
def of_everything(**settings): return LogMel(**settings)
def of_frames(frames): return LogMel(sample_rate=8000, frames=frames)
def of_nothing(): return LogMel(sample_rate=8000, hop_length=45, frames=64)
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_sizes.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("own_sizes", None)
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def test_a_users_function_gets_the_settings_that_it_takes(words, own):
    def geometry(function: str, **settings: object) -> object:
        config = completed(shards=str(words), split="words", features=f"own_sizes:{function}", **settings)
        return build_features(config).geometry

    suited = LogMel(sample_rate=8000, hop_length=45, frames=64).geometry
    assert geometry("at_a_rate") == geometry("of_nothing") == suited
    assert geometry("of_everything", hop_length=45, frames=64) == suited
    with pytest.raises(UserError, match="--frames does not apply to the features own_sizes:at_a_rate, which take --sa"):
        geometry("at_a_rate", frames=64)
    with pytest.raises(UserError, match="--n-mels does not apply to the features own_sizes:of_nothing, which take no"):
        geometry("of_nothing", n_mels=64)


def test_no_hop_is_suggested_that_a_users_function_does_not_take(go, words, own):
    result = go("--shards", str(words), "--split", "words", "--features", "own_sizes:of_frames")
    assert result.exit_code == 2, result.output
    assert "; choose another --model: cnn2d does not take" in result.output


def test_the_help_of_every_setting_has_its_default_and_choices():
    import inspect

    import train

    parameters = inspect.signature(train.command).parameters
    for field in dataclasses.fields(Config):
        option = parameters[field.name].default
        assert field.default is None or option.help.endswith(f"(default: {field.default})")
        assert option.metavar == ("|".join(field.metadata["choices"]) or None)


def test_lines_are_printed_as_they_are_and_unprintable_characters_are_escaped(capsys, monkeypatch):
    import train

    train.print_line("runs/[bold]a " * 20)
    assert capsys.readouterr().out == "runs/[bold]a " * 20 + "\n"
    escaped: list[bool] = []
    monkeypatch.setattr(console, "escape_unprintable", lambda: escaped.append(True))
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(Path(train.__file__)), run_name="__main__")
    assert escaped
