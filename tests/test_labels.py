"""Labels: which level of folders holds them, in common layouts of music folders."""

from pathlib import Path

import pytest

from gtzan_stream.catalog import faults
from gtzan_stream.errors import UserError
from gtzan_stream.store.labels import FolderLevels, folder_levels, sorted_labels
from gtzan_stream.store.survey import survey
from tests.music_trees import keys_and_labels, touch

GTZAN = {"genres": "genres", "Kaggle's": "Data/genres_original", "mirdata's": "gtzan_genre/genres", "bare": ""}
LITTER = (
    "Data/images_original/jazz/jazz00000.png",
    "Data/features_30_sec.csv",
    "genres/blues/._blues.00001.wav",
    "genres/.DS_Store",
    "genres/bextract_single.mf",
    "__MACOSX/blues/blues.00007.wav",
    ".trash/a/b.wav",
)


@pytest.mark.parametrize("folder", GTZAN.values(), ids=GTZAN)
def test_the_keys_of_gtzan_are_the_same_in_every_layout(folder: str, tmp_path: Path) -> None:
    assert len(faults.CHECKSUMS) == 1000
    names = {key: key.replace("_", ".") for key in faults.CHECKSUMS}
    root = touch(
        tmp_path, *LITTER, *(f"{folder}/{name.split('.')[0]}/{name}.wav".lstrip("/") for name in names.values())
    )
    clips = survey(root).clips
    assert {clip.key: (clip.clip_id, clip.label) for clip in clips} == {
        key: (name, name.split(".")[0]) for key, name in names.items()
    }


TREES = {
    "ESC-10": {
        "001 - Dog bark/1-30226-A.ogg": ("001_-_Dog_bark_1-30226-A", "001 - Dog bark"),
        "002 - Rain/1-17367-A.ogg": ("002_-_Rain_1-17367-A", "002 - Rain"),
    },
    "a library": {
        "rock/Ann/Greatest Hits/01.mp3": ("rock_Ann_Greatest_Hits_01", "rock"),
        "rock/Bob/Greatest Hits/01.mp3": ("rock_Bob_Greatest_Hits_01", "rock"),
        "rock/Bob/Live/01.flac": ("rock_Bob_Live_01", "rock"),
        "jazz/Cy/Solo/a.b.ogg": ("jazz_Cy_Solo_a_b", "jazz"),
    },
    "train and test above": {
        "train/rock/1.wav": ("rock_1_train", "rock"),
        "test/rock/1.wav": ("rock_1_test", "rock"),
        "train/jazz/2.wav": ("jazz_2", "jazz"),
    },
    "train and test below": {
        "rock/train/1.wav": ("rock_train_1", "rock"),
        "rock/test/1.wav": ("rock_test_1", "rock"),
        "jazz/train/1.wav": ("jazz_train_1", "jazz"),
    },
    "one genre": {"music/rock/1.wav": ("rock_1", "rock"), "music/rock/rock.2.wav": ("rock_2", "rock")},
    "one genre and more below": {"rock/1.wav": ("rock_1", "rock"), "rock/live/1.wav": ("live_1", "live")},
    "one genre, two albums": {"rock/A/1.wav": ("A_1", "A"), "rock/B/1.wav": ("B_1", "B")},
    "flat": {"a.wav": ("src_a", "src"), "src.2.wav": ("src_2", "src")},
    "flat, with parts": {"train/a.wav": ("src_train_a", "src"), "test/a.wav": ("src_test_a", "src")},
    "x.mp3 beside x.wav": {"rock/x.mp3": ("rock_x_mp3", "rock"), "rock/x.wav": ("rock_x_wav", "rock")},
    "digits": {"0/0_ann_0.wav": ("0_ann_0", "0"), "1/10.wav": ("1_10", "1"), "10/10.wav": ("10", "10")},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_labels_and_keys(tree: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    assert keys_and_labels(touch(tmp_path / "src", *tree)) == tree


@pytest.mark.parametrize(
    ("paths", "depth", "expected"),
    [
        (["a/x/1.wav", "b/x/1.wav"], None, FolderLevels(1, ())),
        (["top/a/1.wav", "top/b/1.wav", "top/2.wav"], None, FolderLevels(2, ())),
        (["Train/a/1.wav", "VALIDATION/b/1.wav"], None, FolderLevels(2, (1,))),
        (["a/dev/1.wav", "b/test/1.wav"], None, FolderLevels(1, (2,))),
        (["a/x/train/1.wav", "a/y/val/1.wav"], None, FolderLevels(2, (3,))),
        (["train/a/1.wav", "train/b/1.wav"], None, FolderLevels(2, ())),  # a single part is not a split
        (["val/a/1.wav", "dev/b/1.wav"], None, FolderLevels(1, ())),
        (["train/1.wav", "extra/1.wav"], None, FolderLevels(1, ())),  # only one of them is named like a part
        (["train/a/1.wav", "test/a/1.wav"], 1, FolderLevels(1, ())),
        (["train/a/1.wav", "test/a/1.wav"], 2, FolderLevels(2, (1,))),
        (["a/1.wav"], None, FolderLevels(None, ())),
        (["1.wav"], None, FolderLevels(None, ())),
    ],
)
def test_the_level_of_the_labels_is_found(paths: list[str], depth: int | None, expected: FolderLevels) -> None:
    assert folder_levels(paths, depth) == expected


def test_the_level_can_be_chosen(tmp_path: Path) -> None:
    root = touch(tmp_path, "Ann/rock/1.wav", "Bob/rock/1.wav", "Bob/jazz/2.wav", "Bob/3.wav")
    assert keys_and_labels(root, label_depth=2) == {
        "Ann/rock/1.wav": ("rock_1_Ann", "rock"),
        "Bob/rock/1.wav": ("rock_1_Bob", "rock"),
        "Bob/jazz/2.wav": ("jazz_2", "jazz"),
    }
    for depth in (0, 3):
        with pytest.raises(UserError, match=rf"--label-depth is 1 for the first level .* at most 2 here; got {depth}"):
            survey(root, label_depth=depth)
    with pytest.raises(UserError, match="--label-depth 1: there are no folders below SRC"):
        survey(root / "Ann/rock", label_depth=1)


def test_files_above_the_labels_are_left_out_and_named(tmp_path: Path) -> None:
    root = touch(tmp_path, "rock/1.wav", "jazz/1.wav", "jazz_1.wav")
    found = survey(root)
    assert [clip.key for clip in found.clips] == ["jazz_1", "rock_1"]  # files left out do not compete for keys
    assert [(line.kind, line.source) for line in found.report] == [("no label", "jazz_1.wav")]
    assert "jazz_1.wav: left out: it lies above the folders of labels, which are at level 1" in "\n".join(
        found.describe()
    )


def test_the_decisions_are_described(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"train/rock/Ann/{i}.wav" for i in range(3)), "test/jazz/Bob/1.wav", "test/2.wav")
    lines = survey(root, group_by=3).describe()
    assert lines[:3] == [
        f"{root}: 4 clips of 2 labels",
        "labels are the folders of level 2 below SRC, the first level with more than one",
        "split folders: train 3, test 1 clips, by the folders of level 1; 15 % of train will be valid",
    ]
    assert lines[3] == "groups: 2, by --group-by 3, such as Bob, Ann"
    assert lines[4] == "labels: jazz 1, rock 3"
    assert "jazz_Bob_1 (test/jazz/Bob/1.wav)" in lines[5]
    assert "as --label-depth says" in survey(root, label_depth=2).describe()[1]
    assert "each clip's own folder is its label" in survey(root / "train/rock/Ann").describe()[1]


WARNINGS = {
    "there is a single label, rock": ["rock/1.wav", "rock/2.wav"],
    "the labels are numbers, such as 0": ["0/1.wav", "1/1.wav"],
    "the label train is named like the part of a split": ["train/1.wav", "more/1.wav"],
    "the labels Rock and rock differ in upper and lower case": ["train/Rock/1.wav", "test/rock/2.wav"],
    "rock has 2 clips: random splits need 3": ["rock/1.wav", "rock/2.wav"],
    "and 1 more like these": ["a/1.wav", "b/1.wav", *(f"{i}.wav" for i in range(11))],
}


@pytest.mark.parametrize("warning", WARNINGS)
def test_suspicious_labels_give_warnings(warning: str, tmp_path: Path) -> None:
    assert any(
        line.startswith(f"warning: {warning}") for line in survey(touch(tmp_path, *WARNINGS[warning])).describe()
    )


def test_an_ordinary_set_gives_no_warnings(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"{label}/{i}.wav" for label in ("rock", "jazz") for i in range(5)))
    assert survey(root).warnings() == []


def test_many_labels_are_not_all_listed(tmp_path: Path) -> None:
    lines = survey(touch(tmp_path, *(f"label {i:02d}/1.wav" for i in range(50)))).describe()
    assert lines[2].endswith("label 39 1, and 10 more")


def test_numeric_labels_are_sorted_as_numbers() -> None:
    assert sorted_labels(["10", "9", "10"]) == ["9", "10"]
    assert sorted_labels(["10", "9", "a"]) == ["10", "9", "a"]
