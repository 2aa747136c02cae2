"""Segments of clips: correct samples, reflected at the clip's ends, from any thread; and errors that name the clip."""

import io
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream import audio
from gtzan_stream.errors import BadSample
from gtzan_stream.loader import Loader
from gtzan_stream.store import read
from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader, reflected_indices


def whole_clips(root: Path, suffix: str = "wav", dtype: str = "int16") -> dict[str, np.ndarray]:
    """Decode every clip of a folder of shards without the project's reader. Returns them by key."""
    clips = {}
    for path in root.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(suffix):
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                    clips[member.name.partition(".")[0]] = soundfile.read(io.BytesIO(data), dtype=dtype)[0]
    return clips


def segment(whole: np.ndarray, start: int, length: int) -> np.ndarray:
    """Compute the same segment with numpy.pad."""
    if len(whole) == 1:
        return np.full(length, whole[0])
    before, after = max(0, -start), max(0, start + length - len(whole))
    return np.pad(whole, (before, after), mode="reflect")[start + before : start + before + length]


@given(
    frames=st.integers(1, 40), start=st.integers(-200, 200), length=st.integers(1, 300), seed=st.integers(0, 2**32 - 1)
)
def test_reflection_equals_numpys(frames: int, start: int, length: int, seed: int):
    whole = np.random.default_rng(seed).integers(-99, 99, frames)
    np.testing.assert_array_equal(whole[reflected_indices(start, length, frames)], segment(whole, start, length))


@pytest.mark.parametrize("codec", ["wav", "flac"])
def test_segments_equal_those_of_the_whole_clip(codec: str, clips_folder: Path, tmp_path: Path):
    manifest = pack(clips_folder, tmp_path, codec=codec, shard_mb=1)
    whole = whole_clips(tmp_path, codec)
    reader = ClipReader(manifest)
    assert reader.dtype == (np.int16 if codec == "wav" else np.float32)
    rng = np.random.default_rng(0)
    for clip in range(len(manifest)):
        key = manifest.keys[clip].as_py()
        frames = len(whole[key])
        for start, length in [(0, frames), (-512, 3000), (frames - 100, 3000), (-3 * frames, 7 * frames), (5, 1)]:
            check(reader, clip, start, length, whole[key])
        for _ in range(5):
            check(reader, clip, int(rng.integers(-frames, 2 * frames)), int(rng.integers(1, 70_000)), whole[key])
    reader.close()


def check(reader: ClipReader, clip: int, start: int, length: int, whole: np.ndarray) -> None:
    out = np.empty(length, reader.dtype)
    reader.read(clip, start, out)
    scale = 1 if reader.dtype == np.int16 else 32768
    np.testing.assert_array_equal(out * scale, segment(whole, start, length))


def test_an_empty_segment_can_be_read(shards: Path):
    ClipReader(Manifest.open(shards)).read(0, -5, np.empty(0, np.int16))


def test_many_threads_share_a_reader(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read, "MAX_OPEN_SHARDS", 1)  # so that shards are closed while others read them
    manifest = Manifest.open(shards)
    assert len(manifest.shards) > 1
    whole = whole_clips(shards)
    reader = ClipReader(manifest)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            clip = int(rng.integers(len(manifest)))
            check(reader, clip, int(rng.integers(-1000, 6000)), 2000, whole[manifest.keys[clip].as_py()])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_short_reads_are_continued(shards: Path, monkeypatch: pytest.MonkeyPatch):
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: preadv(file, [buffers[0][:999]], offset))
    manifest = Manifest.open(shards)
    key = manifest.keys[0].as_py()
    check(ClipReader(manifest), 0, 3, 5000, whole_clips(shards)[key])


# Shards of other programs


def foreign(folder: Path, members: dict[str, bytes]) -> Manifest:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "theirs.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return index(folder)


def encoded(samples: np.ndarray, rate: int = 22050, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def noise(frames: int = 9000, channels: int = 1) -> np.ndarray:
    shape = (frames, channels) if channels > 1 else frames
    return (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def test_every_codec_gives_full_scale_floats(tmp_path: Path):
    stereo = noise(channels=2)
    manifest = foreign(
        tmp_path,
        {
            "rock_16.wav": encoded(noise()),
            "rock_24.wav": encoded(noise(), subtype="PCM_24"),
            "rock_stereo.wav": encoded(stereo),
            "rock_flac.flac": encoded(noise(), format="FLAC"),
            "rock_ogg.ogg": encoded(noise(), format="OGG"),
            "rock_mp3.mp3": encoded(noise(), format="MP3"),
        },
    )
    assert manifest.direct.tolist() == [True, False, False, False, False, False]
    reader = ClipReader(manifest)
    assert reader.dtype == np.float32
    tolerance = {"rock_ogg": 0.3, "rock_mp3": 0.3}  # noise is the worst case for lossy codecs
    for clip, key in enumerate(manifest.keys.to_pylist()):
        source = stereo.mean(axis=1) if key == "rock_stereo" else noise()
        out = np.empty(3000, np.float32)
        reader.read(clip, -1000, out)
        np.testing.assert_allclose(out, segment(source, -1000, 3000), atol=tolerance.get(key, 4e-5), err_msg=key)


@pytest.mark.parametrize("rate", [22050, 8000, 48000, 11025])
def test_clips_of_another_rate_are_resampled(rate: int, tmp_path: Path):
    data = {"a_1.wav": encoded(noise()), "a_2.wav": encoded(noise()), "a_3.flac": encoded(noise(9001), 8000, "FLAC")}
    native = foreign(tmp_path, data)
    manifest = native.resampled(rate)
    assert native.frames.tolist() == [9000, 9000, 24809]  # unchanged
    reader = ClipReader(manifest)
    assert reader.dtype == np.float32
    assert manifest.direct.tolist() == [rate == 22050, rate == 22050, False]
    for clip, name in enumerate(data):
        whole, _ = audio.decode(data[name], rate)
        assert manifest.frames[clip] == len(whole)
        out = np.empty(len(whole), np.float32)
        reader.read(clip, 0, out)
        np.testing.assert_array_equal(out, whole)
        reader.read(clip, len(whole) - 10, out[:20])
        np.testing.assert_array_equal(out[:20], segment(whole, len(whole) - 10, 20))


def test_a_sample_that_is_not_finite_is_named(tmp_path: Path):
    manifest = foreign(tmp_path, {"a_1.wav": encoded(noise(), subtype="FLOAT")})
    with (tmp_path / "theirs.tar").open("r+b") as file:
        file.seek(int(manifest.data_offset[0]) + 4 * 4321)
        file.write(np.float32(np.nan).tobytes())
    reader = ClipReader(manifest)
    reader.read(0, 0, np.empty(4321, np.float32))
    with pytest.raises(BadSample, match=r"theirs\.tar, key a_1: sample 4321 is not a finite number"):
        reader.read(0, 4000, np.empty(1000, np.float32))


@pytest.mark.parametrize(("bad", "message"), [(np.inf, "is not a finite number"), (1e30, r"is 1e\+30, where full")])
def test_a_loader_names_the_clip_with_an_impossible_sample(tmp_path: Path, bad: float, message: str):
    """The sample is in every crop."""
    waveforms = {"a_1.wav": noise(100_000), "a_2.wav": noise(100_000)}
    foreign(tmp_path, {name: encoded(samples, subtype="FLOAT") for name, samples in waveforms.items()})
    manifest = index(tmp_path)
    offset = int(manifest.data_offset[0]) + 4 * 50_000
    with (tmp_path / "theirs.tar").open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(bad).tobytes())
    for num_workers in (0, 1):
        with pytest.raises(BadSample, match=rf"theirs\.tar, key a_1: sample 50000 {message}"):
            list(Loader(tmp_path, augment="none", num_workers=num_workers))
    skipping = Loader(tmp_path, augment="none", on_error="skip", seed=1)
    batches = list(skipping)
    assert skipping.skipped
    assert all("key a_1: sample 50000" in reason for reason in skipping.skipped)
    assert all(batch.features.isfinite().all() for batch in batches)
    again = index(tmp_path)
    assert again.keys.to_pylist() == ["a_2"]
    assert any("a_1" in str(line) and "sample 50000" in line["detail"] for line in again.report)


def test_a_corrupt_member_is_named(tmp_path: Path):
    manifest = foreign(tmp_path, {"a_1.flac": encoded(noise(90_000), format="FLAC")})
    with (tmp_path / "theirs.tar").open("r+b") as file:
        file.seek(int(manifest.member_offset[0]))
        file.write(b"\0" * 4000)
    with pytest.raises(BadSample, match=r"theirs\.tar, key a_1: .* can(not)? decode it"):
        ClipReader(manifest).read(0, 0, np.empty(1000, np.float32))


@pytest.mark.parametrize("codec", ["wav", "flac"])
def test_a_truncated_shard_is_named(codec: str, clips_folder: Path, tmp_path: Path):
    manifest = pack(clips_folder, tmp_path, codec=codec)
    last = len(manifest) - 1
    shard = tmp_path / manifest.shards[0].name
    os.truncate(shard, int(manifest.data_offset[last] + manifest.data_size[last] // 2))
    reader = ClipReader(manifest)
    reader.read(0, 0, np.empty(1000, reader.dtype))
    with pytest.raises(
        BadSample, match=rf"{shard.name}, key {manifest.keys[last]}: .*the shard is truncated: it ends at byte"
    ):
        reader.read(last, 0, np.empty(int(manifest.frames[last]), reader.dtype))


def test_a_shard_that_was_removed_is_named(shards: Path, tmp_path: Path):
    shutil.copytree(shards, tmp_path / "shards")
    manifest = Manifest.open(tmp_path / "shards")
    (tmp_path / "shards" / manifest.shards[0].name).unlink()
    with pytest.raises(BadSample, match=rf"{manifest.shards[0].name}, key {manifest.keys[0]}: .*No such file"):
        ClipReader(manifest).read(0, 0, np.empty(10, np.int16))
