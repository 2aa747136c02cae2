"""model.pt2 gives the same logits without the code of the networks, for any batch size; other files are refused."""

import copy
import json
import logging
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import models
from gtzan_stream.errors import UserError
from gtzan_stream.features import REGISTRY, Frames, LogMel, build
from gtzan_stream.inference import export
from gtzan_stream.normalization import Normalization
from gtzan_stream.training import checkpoints
from gtzan_stream.training.network import Classifier, TrainableLogMel
from gtzan_stream.training.sizes import fewest_frames
from tests.train_cases import DEEP_VGG, shapes_of, slow_if

LABELS = ["blues", "jazz", "metal"]


def features_of(model: str) -> nn.Module:
    spec = models.spec(model)
    return build(spec.features, frames=spec.frames)


def network_of(model: str, kind: str = "mel") -> nn.Sequential:
    """Build a network in training mode with the statistics of noise, and logits that differ by more than rounding."""
    torch.manual_seed(0)
    shape = models.spec(model).shape
    normalization = Normalization(kind, n_mels=shape[0])
    normalization.estimate([torch.rand(2, *shape)])
    network = nn.Sequential(normalization, models.build(model, len(LABELS)))
    with torch.no_grad():
        network(torch.randn(2, *shape))
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.weight *= 30
    return network.to(memory_format=torch.channels_last)


def written(folder: Path, model: str, kind: str = "mel") -> tuple[Path, nn.Module, nn.Module]:
    network, features = network_of(model, kind), features_of(model)
    path = folder / export.MODEL
    export.write(path, network, features, labels=LABELS, config={"model": model, "lr": 0.01})
    return path, network, features


@pytest.fixture(scope="module")
def cnn2d(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module, nn.Module]:
    """The exported file, its network and its features."""
    return written(tmp_path_factory.mktemp("cnn2d"), "cnn2d", "clip")


@pytest.mark.parametrize(
    ("model", "kind"),
    [("cnn1d", "mel"), ("cnn2d", "batch"), pytest.param("googlenet", "batch", marks=pytest.mark.slow)],
)
def test_the_program_gives_the_logits_of_the_network(tmp_path, model, kind):
    path, network, features = written(tmp_path, model, kind)
    assert network.training
    program = export.Model.load(path)
    for n in (1, 5):
        waveform = torch.rand(n, features.geometry.read_length) - 0.5
        with torch.no_grad():
            expected = copy.deepcopy(network).eval()(features(waveform))
        assert expected.std() > 0.01
        torch.testing.assert_close(program(waveform), expected, atol=1e-4, rtol=0)
    assert [path.name for path in tmp_path.iterdir()] == [export.MODEL]


@pytest.mark.parametrize("part", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", slow_if({*DEEP_VGG, "densenet"}, models.names()))  # googlenet has all that it has
def test_every_network_can_be_exported(model, part):
    """Also for an eighth of its frames, if it takes so few, because each step of a recurrent layer is traced."""
    rows, frames = models.spec(model).shape
    shape = (rows, max(frames // part, fewest_frames(shapes_of(model, 3), rows)))
    network = models.build(model, 3).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the weights of a GRU, as in export.write
        traced = torch.export.export(
            network, (torch.zeros(2, *shape),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    program = traced.module()
    features = torch.randn(3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(program(features), network(features), atol=1e-5, rtol=1e-4)


def test_a_learnt_spectrogram_is_in_the_program(tmp_path):
    torch.manual_seed(0)
    frontend = TrainableLogMel(LogMel(trainable=True))
    with torch.no_grad():
        for weights in frontend.parameters():
            weights *= 1.1  # as training might have left them
    network = Classifier(models.build("cnn2d", len(LABELS)), Normalization("clip"), frontend=frontend)
    features = Frames(frames=128)
    export.write(tmp_path / export.MODEL, network, features, labels=LABELS, config={"model": "cnn2d"})
    waveform = torch.rand(2, features.geometry.read_length) - 0.5
    with torch.no_grad():
        expected = network.eval()(features(waveform))
    torch.testing.assert_close(export.Model.load(tmp_path / export.MODEL)(waveform), expected, atol=1e-4, rtol=0)


def test_missing_samples_are_frames_of_zero(cnn2d):
    path, network, features = cnn2d
    waveform = torch.rand(1, features.geometry.read_length) - 0.5
    valid = features.geometry.frames * 5 // 8
    expected = features(waveform)
    expected[:, :, valid:] = 0
    with torch.no_grad():
        logits = copy.deepcopy(network).eval()(expected)
    waveform[:, features.geometry.span(valid) :] = torch.nan
    torch.testing.assert_close(export.Model.load(path)(waveform), logits, atol=1e-4, rtol=0)


def test_the_file_loads_without_gtzan_stream(tmp_path, cnn2d):
    path, network, features = cnn2d
    waveform = torch.rand(3, features.geometry.read_length) - 0.5
    torch.save(waveform, tmp_path / "waveform.pt")
    code = f"""if True:
        import json, sys
        sys.modules.update(dict.fromkeys(["gtzan_stream", "models", "nnAudio", "nnAudio2", "numba"]))  # absent
        import torch
        extra_files = {{"gtzan_stream.json": ""}}
        model = torch.export.load({str(path)!r}, extra_files=extra_files).module()
        metadata = json.loads(extra_files["gtzan_stream.json"])
        geometry = metadata["geometry"]
        read_length = (geometry["frames"] - 1) * geometry["step"] + geometry["frame_length"]
        assert metadata["labels"] == {LABELS} and read_length == {features.geometry.read_length}, metadata
        torch.save(model(torch.load("waveform.pt")), "logits.pt")
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(features(waveform))
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, atol=1e-4, rtol=0)


def test_the_file_has_its_metadata(cnn2d):
    path, network, features = cnn2d
    metadata = export.read_metadata(path)
    assert (metadata.model, metadata.labels, metadata.config["lr"]) == ("cnn2d", LABELS, 0.01)
    assert metadata.geometry == LogMel().geometry
    assert metadata.torch == torch.__version__
    assert network[1][1][0].weight.is_contiguous(memory_format=torch.channels_last)  # the network was not changed
    portable = export._portable(export.Program(features, network)).state_dict()
    assert all(tensor.is_contiguous() for tensor in portable.values())


@pytest.mark.parametrize(
    "features", [*(build(name, frames=6) for name in REGISTRY), LogMel(compression="db", frames=6)]
)
def test_frames_after_the_end_are_silence(features):
    """This is the same as in a batch of a loader, for every feature."""
    geometry = features.geometry
    waveform = torch.rand(2, geometry.read_length) - 0.5
    expected = features(waveform).clone()
    expected[1, :, 4:] = geometry.silence
    waveform[1, geometry.span(4) :] = torch.nan
    torch.testing.assert_close(export.Program(features, nn.Identity())(waveform), expected, rtol=1e-5, atol=1e-5)


class PeakNormalized(Frames):
    """Features of a user that depend on every sample of the waveform."""

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return super().forward(waveform / waveform.abs().amax(dim=1, keepdim=True))


def test_missing_samples_do_not_reach_the_features():
    features = PeakNormalized(frames=6)
    waveform = torch.rand(1, features.geometry.read_length)
    waveform[:, features.geometry.span(4) :] = torch.nan
    assert export.Program(features, nn.Identity())(waveform).isfinite().all()


class Untraceable(nn.Module):
    """A network with control flow that depends on values, which cannot be traced."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(dim=2) if features.sum() > 0 else features.sum(dim=2)


class Wrong(nn.Module):
    """A network with a mistake."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return {}[features.ndim]


@pytest.mark.parametrize("network", [Untraceable(), Wrong()])
def test_a_network_that_cannot_be_traced_is_a_warning(tmp_path, caplog, network):
    with caplog.at_level(logging.WARNING):
        export.write(tmp_path / "model.pt2", network, LogMel(), labels=LABELS, config={"model": "own"})
    assert not logging.getLogger("torch.export").disabled
    assert "model.pt2 was not written: torch.export cannot trace this network" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_error_for_another_file_says_what_it_is(tmp_path):
    checkpoints.save(tmp_path / "best.pt", {"network": nn.Linear(1, 1)})
    (tmp_path / "notes.txt").write_text("no model")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("archive/extra/gtzan_stream.json", json.dumps({"model": "cnn2d"}))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.pt2").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder/model.pt2").mkdir(parents=True)
    messages = {
        "best.pt": "is a checkpoint, which needs the network's code: expected the model.pt2 that train.py writes",
        "notes.txt": "is not a model of gtzan-stream: expected the model.pt2",
        "archive.zip": "is not a model of gtzan-stream: expected the model.pt2",
        "nowhere.pt2": "does not exist: expected the model.pt2",
        "run": f"{tmp_path}/run/model.pt2 is not a model of gtzan-stream: expected the model.pt2",
        "empty": f"{tmp_path}/empty/model.pt2 does not exist: expected the model.pt2 that train.py writes into",
        "folder": f"{tmp_path}/folder/model.pt2 is a folder: expected the model.pt2",
    }
    for name, message in messages.items():
        with pytest.raises(UserError) as caught:
            export.Model.load(tmp_path / name)
        assert message in f"{caught.value}\n"


def test_the_error_for_a_program_of_another_torch_names_the_version(tmp_path, cnn2d):
    path, *_ = cnn2d
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    broken = tmp_path / "broken.pt2"
    with zipfile.ZipFile(broken, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"{}" if name.endswith("models/model.json") else content)
    with pytest.raises(UserError, match=r"was written with torch .* cannot be loaded"):
        export.Model.load(broken)
