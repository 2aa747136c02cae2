"""Finding audio files: links, loops of links, and names that are not UTF-8."""

import os
from pathlib import Path

import pytest

from gtzan_stream.store.find_audio import find_audio_files
from gtzan_stream.store.survey import survey
from tests.music_trees import touch


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.wav", "live/2.wav")
    src = touch(tmp_path / "src", "jazz/1.wav")
    (src / "rock").symlink_to(tmp_path / "elsewhere")
    assert find_audio_files(src) == (["jazz/1.wav", "rock/1.wav", "rock/live/2.wav"], [], 0)
    assert [clip.label for clip in survey(src).clips] == ["jazz", "rock", "rock"]


def test_loops_of_links_are_read_once(tmp_path: Path) -> None:
    src = touch(tmp_path / "src", "a/1.wav", "b/2.wav")
    (src / "a/up").symlink_to(src)
    (src / "a/b").symlink_to(src / "b")
    (src / "b/a").symlink_to(src / "a")
    (src / "b/itself").symlink_to("itself")
    paths, report, _ = find_audio_files(src)
    assert paths == ["a/1.wav", "b/2.wav"]
    assert {(line.kind, line.source): line.detail for line in report} == {
        ("link", "a/up"): "is the same folder as SRC, which was read already",
        ("link", "a/b"): "is the same folder as b, which was read already",
        ("link", "b/a"): "is the same folder as a, which was read already",
        ("link", "b/itself"): "leads to itself, which does not exist",
    }


def test_a_linked_folder_gets_its_real_path(tmp_path: Path) -> None:
    src = touch(tmp_path / "src", "z/1.wav")
    (src / "a").symlink_to(src / "z")
    assert find_audio_files(src)[0] == ["z/1.wav"]


def test_links_to_a_folder_and_to_its_subfolder(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "live/2.wav")
    src = touch(tmp_path / "src", "jazz/1.wav")
    (src / "rock").symlink_to(tmp_path / "elsewhere")
    (src / "again").symlink_to(tmp_path / "elsewhere/live")
    paths, report, _ = find_audio_files(src)
    assert paths == ["again/2.wav", "jazz/1.wav"]
    assert [(line.source, line.detail) for line in report] == [
        ("rock/live", "is the same folder as again, which was read already")
    ]


def test_of_several_links_to_one_folder_the_first_by_name_is_used(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.wav")
    src = touch(tmp_path / "src", "a/1.wav", "b/1.wav")
    for folder in ("a", "b"):
        (src / folder / "more").symlink_to(tmp_path / "elsewhere")
    assert find_audio_files(src)[0] == ["a/1.wav", "a/more/1.wav", "b/1.wav"]


def test_links_that_lead_nowhere_are_reported(tmp_path: Path) -> None:
    src = touch(tmp_path / "src", "jazz/1.wav", "jazz/2.wav")
    (src / "jazz/gone.wav").symlink_to("missing.wav")
    (src / "rock").symlink_to("/nowhere/rock")
    (src / "jazz/copy.wav").symlink_to("2.wav")
    paths, report, _ = find_audio_files(src)
    assert paths == ["jazz/1.wav", "jazz/2.wav", "jazz/copy.wav"]
    assert {line.source: line.detail for line in report} == {
        "jazz/gone.wav": "leads to missing.wav, which does not exist",
        "rock": "leads to /nowhere/rock, which does not exist",
    }


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = touch(tmp_path, "jazz/1.wav", "rock/2.wav")
    read = os.scandir

    def refuse(path):
        if Path(path).name == "rock":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(os, "scandir", refuse)
    paths, report, _ = find_audio_files(src)
    assert paths == ["jazz/1.wav"]
    assert [(line.kind, line.source, line.detail) for line in report] == [
        ("unreadable", "rock", "the folder cannot be read: Permission denied")
    ]


def test_names_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "src") + b"/caf\xe9"
    os.makedirs(folder)
    os.close(os.open(folder + b"/\xff\n.wav", os.O_CREAT))
    touch(tmp_path / "src", "rock/1.wav")
    clips = survey(tmp_path / "src").clips
    assert [(clip.key, clip.label, clip.name) for clip in clips] == [
        ("caf%E9_%FF%0A", "caf%E9", "caf%E9/%FF%0A.wav"),
        ("rock_1", "rock", "rock/1.wav"),
    ]
    assert all(clip.path.is_file() for clip in clips)
