"""Clips of codecs that cannot seek are decoded once and cached; zeros from a hole in a shard are an error."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from gtzan_stream import audio
from gtzan_stream.errors import BadSample
from gtzan_stream.store.decoded import DecodedClips
from gtzan_stream.store.open_shards import OpenShard
from gtzan_stream.store.read import ClipReader
from tests.test_store_read import encoded, foreign, noise


def test_codecs_that_cannot_seek_are_decoded_once_for_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = foreign(tmp_path, {f"a_{i}.mp3": encoded(noise(), format="MP3") for i in range(2)})
    calls = []
    decode = audio.decode
    monkeypatch.setattr(audio, "decode", lambda data, rate: calls.append(len(data)) or decode(data, rate))
    reader = ClipReader(manifest)

    def read(job: tuple[int, int]) -> np.ndarray:
        clip, start = job
        out = np.empty(500, np.float32)
        reader.read(clip, start, out)
        return out

    jobs = [(clip, start) for start in range(0, 8000, 200) for clip in range(2)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, jobs))
    assert calls == manifest.member_size.tolist() or calls == manifest.member_size.tolist()[::-1]
    for (clip, start), out in zip(jobs, found, strict=True):
        with (tmp_path / "theirs.tar").open("rb") as file:
            file.seek(int(manifest.member_offset[clip]))
            whole, _ = decode(file.read(int(manifest.member_size[clip])))
        np.testing.assert_array_equal(out, whole[start : start + 500])


def test_a_clip_that_decodes_to_another_length_than_in_the_manifest_is_an_error(tmp_path: Path):
    manifest = foreign(tmp_path, {"a_1.mp3": encoded(noise(), format="MP3")})
    manifest.frames = manifest.frames + 1
    with pytest.raises(BadSample, match="9000 samples can be decoded, the manifest says 9001: index the set again"):
        ClipReader(manifest).read(0, 0, np.empty(10, np.float32))


def test_decoded_clips_are_kept_up_to_a_limit():
    decoded = []

    def decode(clip: int) -> np.ndarray:
        decoded.append(clip)
        return np.full(1000, clip, np.float32)

    cache = DecodedClips(2 * 4000)
    for clip in (0, 1, 0, 2, 0, 1, 2):
        assert (cache.get(clip, lambda clip=clip: decode(clip)) == clip).all()
    assert decoded == [0, 1, 2, 1, 2]  # 1 is dropped for 2, then 2 for 1, then 0 for 2
    for _ in range(2):  # larger than the limit: it is kept, without the others
        cache.get(3, lambda: decoded.append(3) or np.zeros(10_000, np.float32))
    assert decoded.pop() == 3
    cache.get(2, lambda: decode(2))
    assert decoded == [0, 1, 2, 1, 2, 2]
    cache.clear()
    for clip in (2, 1, 2, 1):  # the limit is still the same
        cache.get(clip, lambda clip=clip: decode(clip))
    assert decoded == [0, 1, 2, 1, 2, 2, 2, 1]


def test_two_clips_are_decoded_at_the_same_time():
    cache, both = DecodedClips(100), Barrier(2, timeout=60)

    def decode() -> np.ndarray:
        both.wait()  # breaks unless another thread decodes, too
        return np.zeros(5)

    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(lambda clip: cache.get(clip, decode), range(2)))) == 2


def test_zeros_from_a_hole_in_a_shard_are_an_error(tmp_path: Path):
    """A file system that lost a block reads it as zeros. Silence that was packed is still read as silence."""
    silent = np.zeros(9000, np.float32)
    silent[:100] = 0.1
    manifest = foreign(tmp_path, {"a_1.wav": encoded(noise()), "a_2.wav": encoded(silent)})
    with (tmp_path / "theirs.tar").open("r+b") as file:
        file.seek(int(manifest.data_offset[0]) + 2 * 2000)
        file.write(bytes(2 * 4000))
    reader = ClipReader(manifest)
    out = np.empty(1000, np.int16)
    reader.read(0, 500, out)  # before the hole
    reader.read(1, 3000, out)
    assert not out.any()
    with pytest.raises(BadSample, match=r"theirs\.tar, key a_1: the shard holds zeros where the clip does not"):
        reader.read(0, 3000, out)


def test_silence_in_a_clip_is_checked_against_its_sha256_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Single samples of zero need no check, so damage elsewhere in such a clip goes unnoticed."""
    silent, crossing = np.zeros(9000, np.float32), np.tile(np.float32([0, 0.1]), 5000)
    silent[:100] = 0.1
    manifest = foreign(tmp_path, {"a_1.wav": encoded(silent), "a_2.wav": encoded(crossing)})
    reads = []
    read = OpenShard.read
    monkeypatch.setattr(OpenShard, "read", lambda *args: reads.append(args[1:]) or read(*args))
    reader = ClipReader(manifest)
    out = np.empty(1001, np.int16)
    for start in (3000, 5000, 3000):
        reader.read(0, start, out)
        assert not out.any()
    assert reads == [(manifest.member_offset[0], manifest.member_size[0])]
    with (tmp_path / "theirs.tar").open("r+b") as file:
        file.seek(int(manifest.data_offset[1]) + 2 * 8000)
        file.write(b"damaged")
    reader.read(1, 0, out[:1001])
    assert out[[0, 500, 1000]].tolist() == [0, 0, 0]
    assert out.any()
    assert len(reads) == 1


def test_a_closed_reader_keeps_no_decoded_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reader = ClipReader(foreign(tmp_path, {"a_1.mp3": encoded(noise(), format="MP3")}))
    decoded = []
    decode = audio.decode

    def watched(data: bytes, rate: int) -> tuple[np.ndarray, int]:
        waveform, rate = decode(data, rate)
        decoded.append(weakref.ref(waveform))
        return waveform, rate

    monkeypatch.setattr(audio, "decode", watched)
    reader.read(0, 0, np.empty(10, np.float32))
    (waveform,) = decoded
    assert waveform() is not None
    reader.close()
    gc.collect()
    assert waveform() is None


@pytest.mark.parametrize(("rate", "more"), [(8000, -1), (11025, 1)])
def test_streams_of_two_sample_rates_have_the_length_in_the_manifest(rate: int, more: int, tmp_path: Path):
    """Each stream is resampled by itself and its length rounded, so the last sample may be repeated or left out."""
    parts = [encoded(noise(5001 + i), hz, "OGG") for i, hz in enumerate((22050, 44100))]
    manifest = foreign(tmp_path, {"a_1.ogg": b"".join(parts)}).resampled(rate)
    whole, _ = audio.decode(b"".join(parts), rate)
    frames = int(manifest.frames[0])
    assert len(whole) - frames == more
    out = np.empty(frames, np.float32)
    ClipReader(manifest).read(0, 0, out)
    np.testing.assert_array_equal(out, np.pad(whole[:frames], (0, max(0, -more)), mode="edge"))
