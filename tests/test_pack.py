"""Packing: keys, samples, shards, splits, the report, and the same bytes every time."""

import gc
import io
import json
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.verify import verify

RATE = 22050


def noise(frames: int = RATE, seed: int = 0) -> np.ndarray:
    return (3000 * np.random.default_rng(seed).standard_normal(frames)).astype(np.int16)


def put(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def members(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    return found


def kinds(manifest: Manifest) -> dict[str, str]:
    return {line["key"]: line["kind"] for line in manifest.report}


def test_packing_a_folder_without_audio_is_an_error(tmp_path: Path):
    (tmp_path / "src").mkdir()
    with pytest.raises(UserError, match="holds no audio file: expected <label>/<clip>"):
        pack(tmp_path / "src", tmp_path / "out")
    with pytest.raises(UserError, match="is not a folder"):
        pack(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Packing


def test_the_bytes_depend_only_on_the_music(clips_folder: Path, tmp_path: Path):
    for name, num_workers in [("one", 1), ("three", 3), ("again", None)]:
        pack(clips_folder, tmp_path / name, shard_mb=1, num_workers=num_workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "three") == contents(tmp_path / "again")
    assert len(list((tmp_path / "one").glob("*.tar"))) > 1


@pytest.mark.parametrize("codec", ["wav", "flac"])
def test_packing_keeps_the_samples(codec: str, tmp_path: Path):
    samples = {f"rock_{i}": noise(seed=i) for i in range(3)}
    for key, format in zip(samples, ["wav", "flac", "au"], strict=True):
        put(tmp_path / f"src/rock/{key}.{format}", samples[key], subtype="PCM_16")
    manifest = pack(tmp_path / "src", tmp_path / "out", codec=codec)
    found = members(tmp_path / "out")
    for key, expected in samples.items():
        np.testing.assert_array_equal(soundfile.read(io.BytesIO(found[f"{key}.{codec}"]), dtype="int16")[0], expected)
        described = json.loads(found[f"{key}.json"])
        assert (described["label"], described["sample_rate"], described["frames"]) == ("rock", RATE, RATE)
    assert manifest.direct.all() == (codec == "wav")
    assert {line["kind"] for line in manifest.report} == {"few for folds"}


def test_stereo_at_another_rate(tmp_path: Path):
    time = np.arange(2 * 44100) / 44100
    left = 0.5 * np.sin(2 * np.pi * 440 * time)
    put(tmp_path / "src/rock/tone.wav", np.stack([left, 0 * left], axis=1), 44100, subtype="PCM_24")
    manifest = pack(tmp_path / "src", tmp_path / "out")
    assert manifest.frames.tolist() == [2 * RATE]
    waveform, rate = soundfile.read(io.BytesIO(members(tmp_path / "out")["rock_tone.wav"]))
    assert rate == RATE
    spectrum = np.abs(np.fft.rfft(waveform))
    assert spectrum.argmax() == 880  # 2 s: bins of 0.5 Hz
    assert np.sqrt(2) * waveform[1000:-1000].std() == pytest.approx(0.25, rel=1e-2)


def test_issues_of_clips_are_reported(tmp_path: Path):
    src = tmp_path / "src/rock"
    put(src / "fine.wav", noise())
    put(src / "same.wav", noise())
    put(src / "silent.wav", np.zeros(RATE, np.int16))
    put(src / "empty.wav", np.zeros(0, np.int16))
    put(src / "clipped.wav", np.clip(noise(seed=1).astype(int) * 20, -32768, 32767).astype(np.int16))
    put(src / "loud.wav", noise(seed=2) / 6000.0, subtype="FLOAT")
    put(src / "nan.wav", np.array([0.1, np.nan, 0.2]), subtype="FLOAT")
    put(src / "cut.wav", noise(seed=3))
    (src / "cut.wav").write_bytes((src / "cut.wav").read_bytes()[:-2000])
    put(src / "cut2.flac", noise(seed=4))
    (src / "cut2.flac").write_bytes((src / "cut2.flac").read_bytes()[:-9000])
    (src / "text.mp3").write_text("no audio")
    (src / "other.m4a").write_bytes(b"\0" * 100)
    manifest = pack(tmp_path / "src", tmp_path / "out")
    found = kinds(manifest)
    assert found.pop("rock_cut2") in ("truncated", "unreadable")
    assert found == {
        "rock_same": "duplicate",
        "rock_silent": "silent",
        "rock_empty": "empty",
        "rock_clipped": "clipped",
        "rock_loud": "clipped",
        "rock_nan": "unreadable",
        "rock_cut": "truncated",
        "rock_text": "unreadable",
        "rock_other": "unreadable",
    }
    assert {"rock_cut", "rock_loud"} <= set(manifest.keys.to_pylist())
    assert not {"rock_nan", "rock_empty", "rock_text", "rock_other"} & set(manifest.keys.to_pylist())
    assert manifest.frames[manifest.keys.to_pylist().index("rock_cut")] == RATE - 1000
    assert json.loads((tmp_path / "out/manifest.json").read_text())["report"] == manifest.report
    assert verify(manifest) == []  # the report already lists every issue of the shards


def test_the_size_of_shards_counts_the_resampled_clips(tmp_path: Path):
    """Each clip has two seconds at 44,100 Hz; packed at 22,050 Hz it has 88,200 bytes."""
    for i in range(4):
        put(tmp_path / f"src/rock/{i}.wav", noise(88_200, seed=i), 44100)
    for shard_mb, n_shards in ((0.353, 1), (0.352, 2), (0.0883, 4)):
        assert len(pack(tmp_path / "src", tmp_path / "out", shard_mb=shard_mb).shards) == n_shards


@pytest.mark.parametrize("name", ["text.wav", "empty.wav"])
def test_on_error_fail_names_the_file(name: str, tmp_path: Path):
    put(tmp_path / "src/rock/fine.wav", noise())
    put(tmp_path / "src/rock/empty.wav", np.zeros(0, np.int16))
    if name == "text.wav":
        (tmp_path / "src/rock/empty.wav").rename(tmp_path / "src/rock/text.wav").write_text("no audio")
    with pytest.raises(UserError, match=f"src/rock/{name} cannot be packed: .*--on-error skip"):
        pack(tmp_path / "src", tmp_path / "out", on_error="fail")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_usable_clips_is_an_error(tmp_path: Path):
    (tmp_path / "src/rock").mkdir(parents=True)
    (tmp_path / "src/rock/a.wav").write_text("no audio")
    with pytest.raises(UserError, match=r"none of the 1 files .* rock/a\.wav"):
        pack(tmp_path / "src", tmp_path / "out")


def test_shards_without_readable_clips_leave_no_gap_in_the_numbers(tmp_path: Path):
    """Clips are assigned to shards by their headers, before any of them turns out to be unreadable."""
    for i in range(9):
        samples = 0.1 * np.random.default_rng(i).standard_normal(3000)
        samples[5] = np.nan if i % 3 else 0
        put(tmp_path / f"src/rock/{i}.wav", samples, subtype="FLOAT")
    manifest = pack(tmp_path / "src", tmp_path / "out", shard_mb=0.006, name="x")
    assert set(manifest.keys.to_pylist()) == {"rock_0", "rock_3", "rock_6"}
    assert [shard.name for shard in manifest.shards] == [f"x-{number:06d}.tar" for number in range(3)]
    tables = {"manifest.json", "samples.parquet", "splits.parquet"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == tables | {shard.name for shard in manifest.shards}


OPTIONS = {"codec": "mp3", "sample_rate": 0, "shard_mb": 0.0, "num_workers": 0, "on_error": "ignore"}


@pytest.mark.parametrize("option", OPTIONS)
def test_wrong_options_of_pack_are_user_errors(option: str, clips_folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=f"{option}|unknown codec 'mp3': choose one of wav, flac"):
        pack(clips_folder, tmp_path, **{option: OPTIONS[option]})


# WebDataset


def test_webdataset_reads_the_shards(shards: Path):
    import webdataset

    names = sorted(str(path) for path in shards.glob("*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves its shards open
        samples = list(webdataset.WebDataset(names, shardshuffle=False))
        gc.collect()
    manifest = Manifest.open(shards)
    assert [sample["__key__"] for sample in samples] == manifest.keys.to_pylist()
    for sample, frames in zip(samples, manifest.frames, strict=True):
        assert len(soundfile.read(io.BytesIO(sample["wav"]))[0]) == frames
        assert json.loads(sample["json"])["label"] == sample["__key__"].split("_")[0]


def test_real_clips_keep_their_samples(gtzan_root: Path, tmp_path: Path):
    manifest = pack(gtzan_root, tmp_path, shard_mb=16)
    found = members(tmp_path)
    sources = {path.stem.replace(".", "_"): path for path in gtzan_root.rglob("*.wav")}
    assert sorted(manifest.keys.to_pylist()) == sorted(sources)
    for key in list(sources)[::7]:
        packed = soundfile.read(io.BytesIO(found[f"{key}.wav"]), dtype="int16")[0]
        np.testing.assert_array_equal(packed, soundfile.read(sources[key], dtype="int16")[0])
