"""Unusual file names and files are packed or indexed under a readable name, or reported."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.index import index
from gtzan_stream.store.labels import sorted_labels
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.swap import INCOMING
from gtzan_stream.store.verify import verify
from tests.audio_files import encoded, tone, wav
from tests.test_pack import noise, put
from tests.test_scan_shards import labels, report, tar
from tests.test_store_index import sound


def test_a_pipe_and_a_device_are_reported_not_waited_for(tmp_path: Path):
    put(tmp_path / "src/rock/fine.wav", noise(5000))
    os.mkfifo(tmp_path / "src/rock/pipe.mp3")
    (tmp_path / "src/rock/zero.wav").symlink_to("/dev/zero")
    manifest = pack(tmp_path / "src", tmp_path / "out")
    found = {line["source"]: line["detail"] for line in manifest.report if line["kind"] == "unreadable"}
    assert found == dict.fromkeys(
        ("rock/pipe.mp3", "rock/zero.wav"), "it is not a file but a device, a pipe or a socket"
    )


def test_hidden_music_is_counted(tmp_path: Path):
    put(tmp_path / "src/rock/fine.wav", noise(5000))
    put(tmp_path / "src/rock/...Baby.wav", noise(5000))
    put(tmp_path / "src/rock/.38 Special/1.wav", noise(5000))
    put(tmp_path / "src/rock/.38 Special/live/2.wav", noise(5000))
    put(tmp_path / "src/rock/._fine.wav", noise(5000))
    (tmp_path / "src/.DS_Store").write_text("litter")
    manifest = pack(tmp_path / "src", tmp_path / "out")
    assert manifest.keys.to_pylist() == ["rock_fine"]
    assert manifest.left_out == 3
    found = {line["source"]: line["detail"] for line in manifest.report if line["kind"] == "hidden"}
    assert found.keys() == {"rock/...Baby.wav", "rock/.38 Special"}
    assert found["rock/.38 Special"].startswith("2 audio files left out: the name begins with a dot")


def test_hidden_members_of_a_shard_are_counted(tmp_path: Path):
    manifest = index(tar(tmp_path / "x.tar", [("a/...b.wav", sound()), ("a/rock_1.wav", sound(1))]).parent)
    assert report(manifest) == [("hidden", "")]
    assert manifest.left_out == 1


def test_member_names_and_labels_that_are_not_utf8_are_escaped(tmp_path: Path):
    members = [
        ("rock_caf\udce9.wav", sound(1)),
        ("rock_bad\udce9.wav", b"no sound"),
        ("2.wav", sound(2)),
        ("2.json", b'{"label": "\\ud800x\\u0000"}'),
    ]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    assert labels(manifest) == {"rock_caf%E9": "rock", "2": "%ED%A0%80x%00"}
    assert report(manifest) == [("unreadable", "rock_bad%E9")]
    assert json.loads((tmp_path / "manifest.json").read_text())["report"] == manifest.report
    assert verify(manifest) == []


def test_a_folder_name_that_is_not_utf8_is_refused(tmp_path: Path):
    put(tmp_path / "src/rock/fine.wav", noise(5000))
    with pytest.raises(UserError, match="the folder's name is not UTF-8, which its tables need: choose another"):
        pack(tmp_path / "src", Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xe9")))


def test_long_labels_verify(tmp_path: Path):
    put(tmp_path / "src" / ("x" * 250) / "1.wav", noise(5000))
    put(tmp_path / "src/rock/1.wav", noise(5000))
    assert verify(pack(tmp_path / "src", tmp_path / "out")) == []


def test_labels_with_equal_numbers_have_one_order():
    assert sorted_labels(["2", "01", "1", "1"]) == ["01", "1", "2"]
    assert sorted_labels(["b", "10", "9"]) == ["10", "9", "b"]


@pytest.mark.parametrize("shard_mb", [float("inf"), float("nan"), 1e-9, -1.0])
def test_impossible_sizes_of_shards_are_refused(shard_mb: float, tmp_path: Path):
    put(tmp_path / "src/rock/fine.wav", noise(5000))
    with pytest.raises(UserError, match=r"shard_mb must be 0\.001 to 1,000,000 megabytes"):
        pack(tmp_path / "src", tmp_path / "out", shard_mb=shard_mb)


def test_members_with_dots_may_differ_in_case_only(tmp_path: Path):
    manifest = index(tar(tmp_path / "x.tar", [("rock.A.b.wav", sound(1)), ("rock.a.b.WAV", sound(2))]).parent)
    assert manifest.keys.to_pylist() == ["rock_A_b", "rock_a_b"]


@pytest.mark.parametrize("pax", [{"GNU.sparse.size": "abc"}, {"GNU.sparse.map": "1,b"}, {"size": "-5"}])
def test_wrong_extended_headers_lose_at_most_one_clip(pax: dict[str, str], tmp_path: Path):
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for i in range(3):
            info, data = tarfile.TarInfo(f"rock_{i}.wav"), sound(i)
            info.size, info.pax_headers = len(data), pax if i == 1 else {}
            with (tmp_path / "data").open("wb+") as file:
                file.write(data)
                file.seek(0)
                archive.addfile(info, file)
    manifest = index(tmp_path)
    assert {"rock_0", "rock_2"} <= set(manifest.keys.to_pylist())
    assert manifest.left_out >= 1 or "rock_1" in manifest.keys.to_pylist()
    assert verify(manifest) == []


def test_a_flac_without_a_length_can_be_read_from_any_position(tmp_path: Path):
    """FFmpeg writes such files to a pipe."""
    data = bytearray(encoded(tone(), "FLAC", "PCM_16"))
    start = data.index(b"fLaC") + 8
    data[start + 13] &= 0xF0
    data[start + 14 : start + 18] = bytes(4)
    manifest = index(
        tar(tmp_path / "x.tar", [("rock_1.flac", bytes(data)), ("rock_2.flac", encoded(tone(), "FLAC"))]).parent
    )
    assert manifest.frames.tolist() == [len(tone())] * 2
    assert manifest.seekable.tolist() == [False, True]
    reader, out = ClipReader(manifest), np.empty((2, 5000), np.float32)
    for clip in range(2):
        reader.read(clip, 20_000, out[clip])
    np.testing.assert_allclose(out[0], tone()[20_000:25_000], atol=1e-4)
    np.testing.assert_array_equal(out[0], out[1])


@pytest.mark.parametrize("frames", [480, 800, 16_160, 69_520])
def test_clips_are_read_however_the_resampler_rounds_their_length(frames: int, tmp_path: Path):
    members = [
        ("a_1.wav", wav(20_000 * tone(frames), rate=48_000)),
        ("a_2.wav", wav(20_000 * tone(frames), rate=24_000)),
    ]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    for rate in (22_050, 44_100):
        resampled = manifest.resampled(rate)
        reader = ClipReader(resampled)
        for clip in range(2):
            out = np.empty(int(resampled.frames[clip]), np.float32)
            reader.read(clip, 0, out)
            assert np.abs(out).max() > 0.1


def test_index_reads_the_new_set_of_an_interrupted_pack(tmp_path: Path):
    """A pack was killed between its two renames: its shards are indexed, not the old ones beside them."""
    for i in range(4):
        put(tmp_path / f"old/rock/{i}.wav", noise(5000, seed=i))
        put(tmp_path / f"new/rock/{i}.wav", noise(9000, seed=10 + i))
    root = tmp_path / "shards"
    pack(tmp_path / "old", root, name="s")
    pack(tmp_path / "new", tmp_path / "other", name="s")
    (tmp_path / "other").rename(root / INCOMING)
    manifest = index(root)
    assert manifest.frames.tolist() == [9000] * 4
    assert verify(Manifest.open(root)) == []
