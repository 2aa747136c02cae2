"""`gtzan-stream classify` gives any audio file the predictions of the checkpoint for the same clip in shards."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import models
from gtzan_stream import console
from gtzan_stream.cli import main
from gtzan_stream.features import LogMel, RawWaveform, whole_clips
from gtzan_stream.inference import export
from gtzan_stream.inference.classify import classify
from gtzan_stream.loader import Loader
from gtzan_stream.normalization import Normalization
from gtzan_stream.store.pack import pack
from gtzan_stream.training import metrics

LABELS = ["blues", "jazz", "metal"]
NETWORKS = {
    "cnn2d": lambda: models.build("cnn2d", len(LABELS)),
    "of waveforms": lambda: nn.Sequential(nn.AdaptiveMaxPool1d(32), nn.Flatten(), nn.Linear(32, len(LABELS))),
}


@torch.no_grad()
def trained(folder: Path, model: str, features: nn.Module, shards: Path) -> tuple[nn.Module, export.Model]:
    """Build a network with logits of standard deviation 1 over the chunks, and export it."""
    torch.manual_seed(0)
    network = nn.Sequential(Normalization("clip"), NETWORKS[model]())
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = 1.0  # take the statistics from the next batch alone
    batch = next(iter(Loader(shards, features=features, num_workers=0).evaluation(chunks="all")))
    network(batch.features)
    std, mean = torch.std_mean(network.eval()(batch.features), dim=0)
    last = list(network.modules())[-1]
    last.weight /= std[:, None]
    last.bias.copy_((last.bias - mean) / std)
    export.write(folder / export.MODEL, network, features, labels=LABELS, config={"model": model})
    return network, export.Model.load(folder / export.MODEL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def cnn2d(folder: Path, shards: Path) -> tuple[nn.Module, export.Model]:
    return trained(folder, "cnn2d", LogMel(), shards)


@pytest.fixture(scope="module")
def music(clips_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the shared clips, and a stereo clip at another sample rate with samples beyond full scale."""
    root = tmp_path_factory.mktemp("music") / "genres"
    shutil.copytree(clips_folder, root, ignore=shutil.ignore_patterns("blues.0000[23].*", "metal.0000[13].*"))
    time = np.arange(int(5.3 * 44100)) / 44100
    stereo = np.stack([1.2 * np.sin(2 * np.pi * 440 * time), 1.1 * np.sin(2 * np.pi * 660 * time)], 1)
    soundfile.write(root / "jazz/jazz.00009.wav", stereo, 44100, subtype="FLOAT")
    return root


@torch.no_grad()
def expected(network: nn.Module, features: nn.Module, shards: Path) -> dict[str, metrics.Predictions]:
    """Return the probabilities of each chunk of an evaluation, by clip."""
    collector = metrics.Collector()
    for batch in Loader(shards, features=features, num_workers=0).evaluation(chunks="all"):
        collector.add(network(batch.features), batch.labels, batch.weights, batch.keys, batch.crops)
    found = collector.result()
    return {
        key: found.probabilities[[row for row, name in enumerate(found.keys) if name == key]]
        for key in dict.fromkeys(found.keys)
    }


@pytest.mark.parametrize("model", NETWORKS)
def test_predictions_equal_those_of_the_checkpoint(model, cnn2d, shards, music, tmp_path):
    pack(music, tmp_path / "shards")
    features = LogMel() if model == "cnn2d" else RawWaveform()
    network, exported = cnn2d if model == "cnn2d" else trained(tmp_path, model, features, shards)
    tracks = expected(network, features, tmp_path / "shards")
    assert len(tracks) == 6  # no chunk of the two other clips is long enough to count
    assert {len(chunks) for chunks in tracks.values()} == {1, 2, 3}
    assert torch.cat(list(tracks.values())).std(dim=0).min() > 0.1
    for key, chunks in tracks.items():
        track = classify(exported, music / key.split("_")[0] / f"{key.replace('_', '.')}.wav")
        np.testing.assert_allclose(track.chunk_probabilities, chunks, atol=1e-4)
        np.testing.assert_allclose(track.probabilities, chunks.mean(0), atol=1e-4)


def test_a_clip_shorter_than_a_chunk_is_padded(cnn2d, tmp_path):
    samples = (np.random.default_rng(0).standard_normal(900) * 3000).astype(np.int16)
    soundfile.write(tmp_path / "short.wav", samples, 22050)
    track = classify(cnn2d[1], tmp_path / "short.wav")
    assert track.chunk_probabilities.shape == (1, 3)
    frames = whole_clips(LogMel(), torch.from_numpy(samples / np.float32(32768))[None])  # two frames
    with torch.no_grad():
        logits = cnn2d[0](torch.nn.functional.pad(frames, (0, 128 - frames.shape[2])))
    np.testing.assert_allclose(track.chunk_probabilities, logits.softmax(1), atol=1e-4)


class Level(nn.Module):
    """A program that returns three samples of each chunk as logits, and records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[torch.Tensor] = []

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        self.inputs.append(waveforms)
        return 4 * waveforms[:, 1000:1300:100]


def model_of(program: Level) -> export.Model:
    """Build a model with a chunk every 16,384 samples."""
    return export.Model(
        export.Metadata(model="level", labels=LABELS, geometry=LogMel(frames=32).geometry, config={}), program
    )


def test_a_long_file_is_cut_into_all_its_chunks(tmp_path):
    """There are more chunks than the study evaluates, and more than fit into one batch of the model."""
    samples = (np.random.default_rng(0).standard_normal(25 * 22050) * 3000).astype(np.int16)
    soundfile.write(tmp_path / "long.wav", samples, 22050)
    program = Level()
    calls: list[tuple[int, int]] = []
    track = classify(model_of(program), tmp_path / "long.wav", progress=lambda *call: calls.append(call))
    assert calls == [(16, 34), (32, 34), (34, 34)]
    assert (len(track.chunk_probabilities), track.chunk_s, track.duration_s, track.damage) == (
        34,
        16384 / 22050,
        25,
        "",
    )
    np.testing.assert_allclose(track.starts_s, np.arange(34) * 16384 / 22050)
    inputs = torch.cat(program.inputs).numpy()
    assert max(map(len, program.inputs)) <= 16
    whole = np.pad(samples, 512, mode="reflect") / np.float32(32768)  # half an STFT window before and after
    for number, waveform in enumerate(inputs):
        frames = min(32, 1 + (len(samples) - number * 16384) // 512)  # frames centred inside the file
        read = whole[number * 16384 :][: (frames - 1) * 512 + 1024]
        assert np.array_equal(waveform[: len(read)], read), number
        assert np.isnan(waveform[len(read) :]).all()
    exponentials = np.exp(4 * inputs[:, 1000:1300:100])
    np.testing.assert_allclose(
        track.chunk_probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_a_truncated_file_is_classified_and_reported_as_damaged(run, tmp_path):
    soundfile.write(tmp_path / "cut.wav", np.ones(40_000, np.int16), 22050)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:60_000])
    track = classify(model_of(Level()), tmp_path / "cut.wav")
    assert track.damage
    assert track.to_dict()["damage"] == track.damage
    message = run(tmp_path / "cut.wav").err
    assert message == f"gtzan-stream: {tmp_path}/cut.wav: {track.damage}; the rest was classified\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, cnn2d):
    """Return a function that runs `gtzan-stream classify`, checks its exit code, and returns what it printed."""

    def call(*arguments: object, code: int = 0, model: Path = folder / export.MODEL):
        monkeypatch.setattr(console.out, "width", 200)
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "classify", str(model), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed

    return call


def test_a_table_and_pictures_are_made(run, music, tmp_path):
    (tmp_path / "music").mkdir()
    twin = shutil.copy(music / "blues/blues.00000.wav", tmp_path / "music/blues.00000.wav")
    files = [music / "blues/blues.00000.wav", music / "metal/metal.00002.wav", twin]
    printed = run(*files, "--plot", tmp_path / "plots")
    tracks = json.loads(run(*files, "--json").out)
    for file, track in zip(files, tracks, strict=True):
        line = next(line for line in printed.out.splitlines() if str(file) in line)
        assert f" {track['label']} " in line
        assert f" {track['probabilities'][track['label']]:.0%} " in line
    names = ["blues.00000-2.png", "blues.00000.png", "metal.00002.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == names


def test_json_has_all_results(run, music, tmp_path):
    (track,) = json.loads(run(music / "blues/blues.00000.wav", "--json", "--plot", tmp_path / "one.png").out)
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]
    assert track["duration_s"] == 9.0
    assert list(track["probabilities"].values()) == sorted(track["probabilities"].values(), reverse=True)
    assert track["label"] == next(iter(track["probabilities"]))
    assert [chunk["start_s"] for chunk in track["chunks"]] == [i * 65536 / 22050 for i in range(3)]
    for label in LABELS:
        mean = np.mean([chunk["probabilities"][label] for chunk in track["chunks"]])
        assert track["probabilities"][label] == pytest.approx(mean, abs=1e-6)


def test_each_unreadable_file_gives_one_line(run, music, tmp_path):
    (tmp_path / "[notes].txt").write_text("no audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.int16), 22050)
    good = music / "jazz/jazz.00000.wav"
    printed = run(tmp_path / "[notes].txt", good, tmp_path / "empty.wav", tmp_path / "none.mp3", code=2)
    assert str(good) in printed.out
    assert printed.err.splitlines() == [
        f"gtzan-stream: {tmp_path}/[notes].txt: neither soundfile nor FFmpeg can decode it: Format not recognised",
        f"gtzan-stream: {tmp_path}/empty.wav: it holds no samples",
        f"gtzan-stream: {tmp_path}/none.mp3: there is no such file",
    ]


def test_wrong_options_give_one_line(run, music, tmp_path):
    clip = music / "jazz/jazz.00000.wav"
    (tmp_path / "best.pt").write_bytes(b"PK")
    message = run(clip, model=tmp_path / "best.pt", code=2).err
    assert message.count("\n") == 1
    assert "best.pt is a checkpoint, which needs the network's code: expected the model.pt2" in message
    message = run(clip, clip, "--plot", "a.png", code=2).err
    assert message == "gtzan-stream: --plot a.png is one picture for 2 files: name a folder\n"
