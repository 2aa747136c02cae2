"""`gtzan-stream replay` writes exactly what a network heard."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gtzan_stream import Loader
from gtzan_stream.cli import main
from gtzan_stream.features import LogMel
from gtzan_stream.training import stored


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs `gtzan-stream replay`, checks its exit code and returns its output."""

    def call(*arguments: object, code: int = 0):
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "replay", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed

    return call


def test_the_file_has_the_samples_of_the_features(run, shards: Path, tmp_path: Path):
    with Loader(shards, augment="strong", seed=2, batch_size=8) as loader:
        loader.set_epoch(3)
        batch = next(iter(loader))
        for row in np.flatnonzero(batch.weights).tolist()[:4]:
            out, untouched = tmp_path / f"new/{row}.wav", tmp_path / f"{row}-untouched.wav"
            printed = run(
                *(shards, "--key", batch.keys[row], "--crop", batch.crops[row], "--epoch", 3, "--seed", 2),
                *("--augment", "strong", "--out", out, "--untouched", untouched),
            ).out
            assert batch.draw.describe(row) in printed
            assert f"from {batch.starts[row] / 22050:.2f} s" in printed
            samples, sample_rate = soundfile.read(out, dtype="float32")
            assert (sample_rate, soundfile.info(out).subtype) == (22050, "FLOAT")
            valid = int(batch.valid_frames[row])
            features = LogMel()(torch.from_numpy(samples)[None])[0]
            torch.testing.assert_close(features, batch.features[row, :, :valid], rtol=0, atol=1e-6)
            plain = LogMel()(torch.from_numpy(soundfile.read(untouched, dtype="float32")[0])[None])[0]
            torch.testing.assert_close(plain, loader.unaugmented(batch)[row, :, :valid], rtol=0, atol=1e-6)


def test_samples_beyond_full_scale_are_kept(run, shards: Path, tmp_path: Path):
    with Loader(shards) as loader:
        key = loader.manifest.keys[0].as_py()
    run(shards, "--key", key, "--augment", "tests.test_replay:louder", "--out", tmp_path / "a.wav")
    assert np.abs(soundfile.read(tmp_path / "a.wav")[0]).max() > 1.5
    content = (tmp_path / "a.wav").read_bytes()
    assert content[content.index(b"PEAK") + 12 :][:4] == bytes(4)  # no time at which it was written


def louder():
    from gtzan_stream.augment import Gain

    return Gain(200.0, 200.0)


def test_a_run_is_replayed_with_its_own_settings(run, unbroken: Path, tmp_path: Path):
    config = json.loads((unbroken / "config.json").read_text())
    features = LogMel(n_mels=config["n_mels"], frames=config["frames"])
    with Loader(
        *(config["shards"],), split=config["split"], part="train", features=features, crops_per_clip=1, batch_size=5
    ) as loader:
        loader.set_epoch(1)
        batch = next(iter(loader))
    run(unbroken, "--key", batch.keys[0], "--epoch", 1, "--out", tmp_path / "a.wav")
    samples = torch.from_numpy(soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
    torch.testing.assert_close(features(samples[None])[0], batch.features[0], rtol=0, atol=1e-6)


def test_a_run_says_what_it_did_not_hear(run, unbroken: Path, tmp_path: Path):
    out = ["--out", tmp_path / "a.wav"]
    assert "an epoch of " in (err := run(unbroken, "--key", "x", "--crop", 1, *out, code=2).err)
    assert "has crops 0 to 0 of each clip" in err
    config = json.loads((unbroken / "config.json").read_text())
    with Loader(config["shards"], split=config["split"], part="test") as loader:
        other = loader.batch_of([loader.manifest.keys[int(loader.manifest.part(config["split"], "test")[0])].as_py()])
        heard = loader.manifest.keys[int(loader.manifest.part(config["split"], "train")[0])].as_py()
    assert "was not trained on this clip" in run(unbroken, "--key", other.keys[0], *out, code=2).err
    assert "has begun epochs 0 to 1" in run(unbroken, "--key", heard, "--epoch", 2, *out, code=2).err
    run(unbroken, "--key", heard, "--epoch", 1, *out)
    assert "--seed, --frames: the run in " in run(unbroken, "--key", "x", "--seed", 1, "--frames", 9, *out, code=2).err


def test_a_run_whose_shards_were_moved(run, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "moved"
    folder.mkdir()
    config = json.loads((unbroken / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "shards": str(tmp_path / "gone")}))
    with Loader(config["shards"]) as loader:
        key = loader.manifest.keys[int(loader.manifest.part(config["split"], "train")[0])].as_py()
    out = ["--key", key, "--out", tmp_path / "a.wav"]
    assert "gone, which is not here: name its place with --shards" in run(folder, *out, code=2).err
    run(folder, *out, "--shards", config["shards"])
    one = (tmp_path / "a.wav").read_bytes()
    run(unbroken, *out)
    assert (tmp_path / "a.wav").read_bytes() == one
    (folder / "config.json").write_text("{")
    assert "config.json does not hold the settings of a run" in run(folder, *out, code=2).err
    shutil.rmtree(folder)
    assert "moved does not exist" in run(folder, *out, code=2).err


def test_a_run_on_remote_shards_is_opened_there(unbroken: Path, monkeypatch):
    opened = []
    with Loader(json.loads((unbroken / "config.json").read_text())["shards"]) as loader:
        monkeypatch.setattr(stored.clips, "open_loader", lambda config, *_: opened.append(config.shards) or loader)
        stored.open_training_loader(unbroken, shards="https://example.org/shards")
    assert opened == ["https://example.org/shards"]


def test_an_example_that_training_skips_is_not_replayed(run, unbroken: Path, tmp_path: Path):
    config = json.loads((unbroken / "config.json").read_text())
    shutil.copytree(config["shards"], tmp_path / "shards")
    with Loader(tmp_path / "shards") as loader:
        clip = int(loader.manifest.part(config["split"], "train")[0])
        key = loader.manifest.keys[clip].as_py()
        path = tmp_path / "shards" / loader.manifest.shards[int(loader.manifest.shard[clip])].name
    path.write_bytes(bytes(path.stat().st_size))
    changed = {**config, "shards": str(tmp_path / "shards"), "on_error": "skip"}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    refused = run(tmp_path, "--key", key, "--out", tmp_path / "a.wav", code=2).err
    assert "the network heard nothing of it, training skips it: " in refused
    assert f"key {key}" in refused
    assert not (tmp_path / "a.wav").exists()


def test_a_mixed_example_is_said_to_be_mixed(run, unbroken: Path, tmp_path: Path):
    config = json.loads((unbroken / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "mixup": 0.4}))
    with Loader(config["shards"]) as loader:
        key = loader.manifest.keys[int(loader.manifest.part(config["split"], "train")[0])].as_py()
    assert "mixup then mixed its features" in run(tmp_path, "--key", key, "--out", tmp_path / "a.wav").out
    assert "mixup" not in run(unbroken, "--key", key, "--out", tmp_path / "a.wav").out


def test_a_program_can_read_what_was_written(run, shards: Path, tmp_path: Path):
    with Loader(shards, augment="study") as loader:
        key = loader.manifest.keys[0].as_py()
        batch = loader.batch_of([key], 3, epoch=2)
    out = tmp_path / "a.wav"
    written = json.loads(run(shards, "--key", key, "--crop", 3, "--epoch", 2, "--out", out, "--json").out)
    assert written == {
        "file": str(out),
        "key": key,
        "crop": 3,
        "epoch": 2,
        "start_s": round(batch.starts[0] / 22050, 4),
        "augmentation": batch.draw.describe(0),
        "seconds": round(len(soundfile.read(out)[0]) / 22050, 4),
        "sample_rate": 22050,
        "mixup": False,
    }


def test_wrong_requests_are_refused(run, shards: Path, tmp_path: Path):
    assert "has no clip with the key 'x'" in run(shards, "--key", "x", "--out", tmp_path / "a.wav", code=2).err
    assert "a replay is a WAV file" in run(shards, "--key", "x", "--out", tmp_path / "a.mp3", code=2).err
    refused = run(shards, "--key", "x", "--out", tmp_path / "a.wav", "--untouched", tmp_path / "b.flac", code=2)
    assert "--untouched" in refused.err
    same = ["--out", tmp_path / "a.wav", "--untouched", tmp_path / "a.wav"]
    assert "is also the file of --out" in run(shards, "--key", "x", *same, code=2).err
    only_runs = run(shards, "--key", "x", "--out", tmp_path / "a.wav", "--shards", "y", code=2)
    assert "--shards goes with the folder of a run" in only_runs.err
    assert not list(tmp_path.iterdir())
