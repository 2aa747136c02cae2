"""Labels and groups from a CSV file."""

from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.lookup import Lookup
from gtzan_stream.store.survey import survey
from tests.music_trees import touch

CLIPS = ("a.wav", "b/c.d.wav", "b/e.mp3", "b/e.wav", "f/g.wav")


def write(root: Path, text: str) -> Path:
    file = root / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return file


def labels_of(root: Path, text: str) -> dict[str, str]:
    found = survey(touch(root / "src", *CLIPS), labels=write(root, text))
    return {clip.name: clip.label for clip in found.clips}


@pytest.mark.parametrize(
    "text",
    [
        "a.wav,rock\nb/c.d.wav,jazz\nf/g.wav,rock\n",
        "path,label\na.wav,rock\nb/c.d.wav,jazz\nf/g.wav,rock\n",
        "\ufeffpath,label,group\n\n./a.wav, rock ,Ann\nb/c.d,jazz,\nf/g,rock,Bob\n",
        "Label,fold,Filename\nrock,1,a\njazz,2,c.d.wav\nrock,3,g\n",
        "key,genre\na,rock\nb_c_d,jazz\nf_g,rock\n",
        'path,label\n"a.wav","rock"\n"b/c.d.wav","jazz"\n"f/g.wav","rock"\n',
    ],
)
def test_rows_identify_clips_by_path_file_name_or_key(text: str, tmp_path: Path) -> None:
    assert labels_of(tmp_path, text) == {"a.wav": "rock", "b/c.d.wav": "jazz", "f/g.wav": "rock"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.wav,rock\nb/e,jazz\n", r"labels\.csv, line 2: b/e could be b/e\.mp3 or b/e\.wav: give the path"),
        ("a.wav,rock\na,jazz\n", r"labels\.csv, line 2: a is the clip a, which has a row already"),
        ("a.wav,rock\n\nf/g.wav\n", r"labels\.csv, line 3: expected path,label .* got \['f/g\.wav'\]"),
        ("a.wav,\n", r"line 1: expected path,label"),
        ("a.wav,rock,Ann,1\n", r"line 1: expected path,label"),
        ("path,label\na.wav\n", r"line 2: expected path,label"),
        (
            "x.wav,rock\ny.wav,jazz\n",
            r"labels\.csv: none of its 2 rows names a clip of SRC: the first is 'x\.wav'",
        ),
        ("", r"labels\.csv: none of its 0 rows names a clip"),
        ("a," + "x" * 200_000, r"labels\.csv: cannot be read as a file of path,label rows"),
    ],
)
def test_mistakes_name_file_and_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        labels_of(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path / "src", *CLIPS)
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9.wav,rock\n")
    for file in (tmp_path / "none.csv", tmp_path, tmp_path / "latin.csv"):
        with pytest.raises(UserError, match="cannot be read as a file of path,label rows in UTF-8"):
            survey(tmp_path / "src", labels=file)


def test_unmatched_rows_and_clips_are_reported(tmp_path: Path) -> None:
    root = touch(tmp_path / "src", *CLIPS)
    found = survey(root, labels=write(tmp_path, "a.wav,rock\nf/g.wav,jazz\nnone.wav,jazz\n"))
    details = {line.kind: line.detail for line in found.report}
    assert details["no label"].startswith("left out: 3 clips that ")
    assert details["no label"].endswith("labels.csv does not name: b/c.d.wav, b/e.mp3, b/e.wav")
    assert details["no such clip"].endswith("labels.csv without a clip in SRC: none.wav")
    assert {f"warning: {detail}" for detail in details.values()} <= set(found.describe())
    assert found.describe()[1] == f"labels are those of {tmp_path / 'labels.csv'}"


def test_labels_from_a_file_do_not_change_keys(tmp_path: Path) -> None:
    gtzan = touch(tmp_path / "src", "metal/metal.00058.wav", "rock/rock.00001.wav")
    clips = survey(gtzan, labels=write(tmp_path, "metal_00058,rock\nrock.00001,rock\n")).clips
    assert [(clip.key, clip.label) for clip in clips] == [("metal_00058", "rock"), ("rock_00001", "rock")]


def test_keys_of_a_flat_folder_are_the_names_of_its_files(tmp_path: Path) -> None:
    flat = touch(tmp_path / "src", "blues.00000.wav", "b c.wav")
    clips = survey(flat, labels=write(tmp_path, "blues.00000.wav,blues\nb c.wav,rock\n")).clips
    assert [(clip.key, clip.label) for clip in clips] == [("b_c", "rock"), ("blues_00000", "blues")]


def test_files_above_the_labels_folders_can_be_labelled(tmp_path: Path) -> None:
    assert labels_of(tmp_path, "a.wav,rock\nf/g.wav,jazz\n") == {"a.wav": "rock", "f/g.wav": "jazz"}


def test_groups_come_from_the_file_unless_another_way_is_chosen(tmp_path: Path) -> None:
    root = touch(tmp_path / "src", *CLIPS)
    file = write(tmp_path, "a.wav,rock,Ann\nb/c.d.wav,jazz,\nf/g.wav,rock,Bob\n")
    found = survey(root, labels=file)
    assert found.groups == {"a": "Ann", "f_g": "Bob"}
    assert f"groups: 2, by the column group of {file}, such as Ann, Bob; 1 clip in none" in found.describe()
    assert survey(root, labels=file, group_by=1).groups == {"b_c_d": "b", "f_g": "f"}


def test_a_path_comes_before_a_key_and_a_key_before_a_bare_name() -> None:
    lookup = Lookup({"x": "a/y.wav", "y_wav": "x.wav", "b_x": "b/x.wav"})
    assert [lookup.find(name) for name in ("x.wav", "x", "b/x", "y.wav")] == ["y_wav", "x", "b_x", "y_wav"]
    with pytest.raises(UserError, match=r"z could be a/z\.wav or b/z\.wav"):
        Lookup({"a_z": "a/z.wav", "b_z": "b/z.wav"}).find("z")
