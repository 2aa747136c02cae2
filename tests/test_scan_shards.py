"""Shards of other programs: labels of all types, dots in names, unusable members. Everything left out is reported."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.verify import verify
from tests.audio_files import encoded, mp3, tone, wav, without_tag
from tests.test_store_index import lines, sound


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def labels(manifest: Manifest) -> dict[str, str]:
    codes = zip(manifest.keys.to_pylist(), manifest.label.tolist(), strict=True)
    return {key: manifest.labels[code] for key, code in codes}


def report(manifest: Manifest) -> list[tuple[str, str]]:
    return [(line["kind"], line["key"]) for line in lines(manifest)]


def test_null_counts_as_no_label_and_other_types_are_reported(tmp_path: Path):
    contents: dict[str, object] = {
        "a_null": {"label": None, "genre": "rock"},
        "a_empty": {"label": "", "genre": "pop"},
        "a_number": {"label": 7.5},
        "a_list": {"genre": ["rock", "pop"]},
        "a_dict": {"label": {"name": "rock"}},
        "a_bool": {"label": True},
        "a_text": {"label": "word " * 500},
        "a_lines": {"label": "one\ntwo"},
    }
    members = [
        (f"{key}.{suffix}", data)
        for i, (key, metadata) in enumerate(contents.items())
        for suffix, data in (("wav", sound(i)), ("json", json.dumps(metadata).encode()))
    ]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    assert labels(manifest) == {"a_null": "rock", "a_empty": "pop", "a_number": "7.5"}
    assert report(manifest) == [("no label", key) for key in ("a_bool", "a_dict", "a_lines", "a_list", "a_text")]
    details = {line["key"]: line["detail"] for line in lines(manifest)}
    assert details["a_list"] == "the genre in its .json is a list: expected a word or a number"
    assert manifest.left_out == 5


@pytest.mark.parametrize("bad", [b"[" * 200_000, b"{not json", b'{"label": "\xff"}'])
def test_a_json_that_cannot_be_read_is_reported(bad: bytes, tmp_path: Path):
    members = [("rock_1.wav", sound(1)), ("rock_1.json", bad), ("jazz_1.wav", sound(2))]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    assert labels(manifest) == {"jazz_1": "jazz"}
    assert report(manifest) == [("no label", "rock_1")]
    assert lines(manifest)[0]["detail"].startswith("its .json cannot be read: ")


def test_a_plain_tar_of_gtzan_has_all_clips(tmp_path: Path):
    names = [f"genres/{genre}/{genre}.0000{i}.wav" for genre in ("blues", "jazz") for i in (0, 1)]
    manifest = index(tar(tmp_path / "x.tar", [(name, sound(i)) for i, name in enumerate(names)]).parent)
    assert labels(manifest) == {
        "genres/blues/blues_00000": "blues",
        "genres/blues/blues_00001": "blues",
        "genres/jazz/jazz_00000": "jazz",
        "genres/jazz/jazz_00001": "jazz",
    }
    assert report(manifest) == [("dots", "genres/blues/blues"), ("dots", "genres/jazz/jazz")]
    assert manifest.left_out == 0
    assert verify(manifest) == []


def test_stems_of_one_song_share_its_label(tmp_path: Path):
    members = [(f"song1.{stem}.wav", sound(i)) for i, stem in enumerate(("drums", "vocals"))]
    manifest = index(tar(tmp_path / "x.tar", [*members, ("song1.cls", b"ska")]).parent)
    assert labels(manifest) == {"song1_drums": "ska", "song1_vocals": "ska"}


def test_two_audio_files_of_one_name_are_a_duplicate_key(tmp_path: Path):
    members = [("a_1.wav", sound(1)), ("a_1.flac", sound(2, "FLAC"))]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    assert manifest.column("encoding").to_pylist() == ["pcm16"]
    assert report(manifest) == [("duplicate key", "a_1")]
    assert manifest.left_out == 1


def test_members_that_are_not_adjacent_are_joined_and_reported(tmp_path: Path):
    members = [("1.wav", sound(1)), ("2.wav", sound(2)), ("2.cls", b"b"), ("1.cls", b"a")]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    assert labels(manifest) == {"1": "a", "2": "b"}
    assert report(manifest) == [("scattered", "1")]


def test_files_that_differ_only_in_tags_are_in_one_part(tmp_path: Path):
    """A WAV and a FLAC file of the same samples differ in their bytes."""
    members = []
    for i in range(40):
        samples = (20_000 * tone(3000, hz=200 + 5 * i)).astype(np.int16)
        plain, packed = wav(samples), encoded(samples, "FLAC", "PCM_16")
        members += [(f"rock_{i}.wav", plain), (f"rock_{i}b.flac", packed)]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    keys = manifest.keys.to_pylist()
    side = {keys[clip]: part for part in ("train", "valid", "test") for clip in manifest.part("stratified", part)}
    assert all(side[f"rock_{i}"] == side[f"rock_{i}b"] for i in range(40))
    assert [(kind, key) for kind, key in report(manifest) if kind == "duplicate"] == [
        ("duplicate", key) for key in sorted(f"rock_{i}b" for i in range(40))
    ]


def test_equal_samples_at_two_rates_are_two_clips(tmp_path: Path):
    members = [(f"rock_{rate}.wav", sound(1, rate=rate)) for rate in (22050, 44100)]
    manifest = index(tar(tmp_path / "x.tar", members).parent, name="Mine")
    assert lines(manifest) == []
    assert manifest.dataset == "Mine"


def test_labels_of_numbers_and_of_words_are_reported(tmp_path: Path):
    members = [(f"{label}_{i}.wav", sound(i)) for i, label in enumerate(("rock", "7", "jazz", "12"))]
    (line,) = lines(index(tar(tmp_path / "x.tar", members).parent))
    assert line["kind"] == "mixed labels"
    assert line["detail"].startswith("some labels are numbers (7, 12) and others words (jazz, rock)")


def test_equal_samples_with_two_labels_are_a_conflict(tmp_path: Path):
    manifest = index(tar(tmp_path / "x.tar", [("jazz_1.wav", sound(1)), ("rock_1.wav", sound(1))]).parent)
    (line,) = lines(manifest)
    assert (line["kind"], line["key"], line["source"]) == ("conflict", "rock_1", "x.tar")
    assert line["detail"] == "the same samples as jazz_1 (x.tar), but another label: rock here, jazz there"


def test_index_reports_the_same_issues_as_pack(tmp_path: Path):
    whole = encoded(tone(), "FLAC", "PCM_16")
    members = [
        ("a_cut.flac", whole[: len(whole) // 2]),
        ("a_short.wav", wav(20_000 * tone())[:-2000]),
        ("a_silent.wav", wav(np.zeros(5000))),
        ("a_loud.wav", wav(np.repeat([32767, -32768], 3000))),
        ("a_fine.mp3", without_tag(mp3("VARIABLE"))),
        ("a_1hz.wav", wav(tone(), rate=1)),
        ("a_song.m4a", b"no sound"),
    ]
    manifest = index(tar(tmp_path / "x.tar", members).parent)
    assert sorted(report(manifest)) == [
        ("clipped", "a_loud"),
        ("silent", "a_silent"),
        ("truncated", "a_cut"),
        ("truncated", "a_short"),
        ("unreadable", "a_1hz"),
        ("unreadable", "a_song"),
    ]
    assert manifest.left_out == 2
    assert verify(manifest) == []
    frames = dict(zip(manifest.keys.to_pylist(), manifest.frames.tolist(), strict=True))
    assert 0 < frames["a_cut"] < len(tone())
    seekable = {key for key, is_seekable in zip(frames, manifest.seekable, strict=True) if is_seekable}
    assert seekable == {"a_short", "a_silent", "a_loud"}
    assert frames["a_short"] == len(tone()) - 1000
    reader = ClipReader(manifest)
    for clip, key in enumerate(frames):  # a segment at the end equals the end of the whole clip
        whole_clip = np.empty(frames[key], np.float32)
        reader.read(clip, 0, whole_clip)
        end = np.empty(min(1000, frames[key]), np.float32)
        reader.read(clip, frames[key] - len(end), end)
        np.testing.assert_array_equal(end, whole_clip[-len(end) :])


def test_links_and_impossible_sizes_are_reported(tmp_path: Path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, data in (("a_1.wav", sound(1)), ("a_2.wav", sound(2)), ("a_3.wav", sound(3))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            link = tarfile.TarInfo(f"a_link{name[2]}.wav")
            link.type, link.linkname = tarfile.LNKTYPE, name
            archive.addfile(link)
    with tarfile.open(tmp_path / "x.tar") as archive:
        second = archive.getmember("a_2.wav")
    with (tmp_path / "x.tar").open("r+b") as file:  # the second clip's header states 2**62 bytes
        second.size = 2**62
        file.seek(second.offset)
        file.write(second.tobuf(tarfile.GNU_FORMAT))
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_1", "a_3"]
    found = {line["key"]: line["detail"] for line in lines(manifest)}
    assert found["a_link1"] == "it is a link to a_1.wav in the tar file: pack the file itself"
    assert "of the 4611686018427387904 bytes that its tar header states" in found["a_2"]
    assert {"a_link2", "a_link3"} <= found.keys()
    assert manifest.left_out == 4


def test_a_label_file_of_an_impossible_size_is_not_read(tmp_path: Path):
    path = tar(tmp_path / "x.tar", [("rock_1.wav", sound(1)), ("rock_1.json", b'{"label": "jazz"}')])
    with tarfile.open(path) as archive:
        member = archive.getmember("rock_1.json")
    with path.open("r+b") as file:
        member.size = 2**62
        file.seek(member.offset)
        file.write(member.tobuf(tarfile.GNU_FORMAT))
    manifest = index(tmp_path)
    assert labels(manifest) == {"rock_1": "rock"}  # by its key
    assert report(manifest) == [("truncated", "")]


def test_suffixes_may_be_in_upper_case(tmp_path: Path):
    members = [("1.WAV", sound(1)), ("1.JSON", b'{"label": "rock"}'), ("2.Flac", sound(2, "FLAC")), ("2.Cls", b"jazz")]
    assert labels(index(tar(tmp_path / "x.tar", members).parent)) == {"1": "rock", "2": "jazz"}


def test_macos_resource_forks_are_ignored(tmp_path: Path):
    manifest = index(tar(tmp_path / "x.tar", [("a/._rock_1.wav", b"\0\5\x16\7"), ("a/rock_1.wav", sound())]).parent)
    assert report(manifest) == []
    assert manifest.left_out == 0


def test_samples_without_sound_are_counted(tmp_path: Path):
    pictures = [(f"picture_{i}.jpg", b"a picture") for i in range(5)]
    manifest = index(tar(tmp_path / "x.tar", [("a_1.wav", sound()), *pictures]).parent)
    (line,) = lines(manifest)
    assert (line["kind"], line["source"]) == ("no sound", "x.tar")
    assert line["detail"] == "5 WebDataset samples without audio: picture_0, picture_1, picture_2, ..."
