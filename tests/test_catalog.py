"""Genres, splits, checksums and known faults of GTZAN: compared with torchaudio, and for many seeds and folds."""

from collections import Counter
from pathlib import Path

import pytest
import torchaudio.datasets.gtzan as reference
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream.catalog import faults, genres, splits
from gtzan_stream.errors import UserError

LABELS = {key: genres.genre_of(key) for key in faults.CHECKSUMS}


def by_label(split: dict[str, str], part: str) -> Counter[str]:
    return Counter(genres.genre_of(key) for key, side in split.items() if side == part)


def test_genres_equal_those_of_torchaudio() -> None:
    assert list(genres.GENRES) == reference.gtzan_genres
    assert genres.STUDY_GENRES == ("classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae")


@pytest.mark.parametrize("part", splits.PARTS)
def test_the_filtered_split_equals_that_of_torchaudio(part: str) -> None:
    expected = [genres.key_of(clip) for clip in getattr(reference, f"filtered_{part}")]
    assert expected
    assert sorted(key for key, side in splits.filtered().items() if side == part) == sorted(expected)


def test_study_split_is_the_filtered_one_without_blues_and_rock() -> None:
    assert Counter(splits.study().values()) == {"train": 353, "valid": 150, "test": 227}
    assert {genres.genre_of(key) for key in splits.study()} == set(genres.STUDY_GENRES)


def test_there_is_a_checksum_for_every_clip() -> None:
    assert set(faults.CHECKSUMS) == {f"{genre}_{number:05d}" for genre in genres.GENRES for number in range(100)}
    assert all(len(bytes.fromhex(digest)) == 16 for digest in faults.CHECKSUMS.values())


def test_duplicates_are_the_known_pairs() -> None:
    expected = {("disco_00098", "disco_00099"), ("hiphop_00039", "hiphop_00045"), ("hiphop_00076", "hiphop_00078")}
    expected |= {("metal_00034", "metal_00094"), ("metal_00058", "rock_00016"), ("pop_00054", "pop_00060")}
    expected |= {("pop_00067", "pop_00071"), ("reggae_00081", "reggae_00082")}
    expected |= {(f"metal_000{i}", f"metal_000{i + 21}") for i in range(40, 46)}
    assert set(faults.DUPLICATES) == expected


def test_filtered_split_holds_one_of_each_pair_at_most() -> None:
    assert all(len(set(pair) & set(splits.filtered())) <= 1 for pair in faults.DUPLICATES)


def test_known_faults_name_the_other_clip() -> None:
    assert "rock_00016" in (faults.known("metal_00058") or "")
    assert "truncated" in (faults.known("jazz_00054") or "")
    assert "first seconds" in (faults.known("reggae_00086") or "")
    assert faults.known("jazz_00000") is None


@pytest.mark.parametrize("seed", range(5))
def test_stratified_divides_every_label_in_the_same_ratio(seed: int) -> None:
    split = splits.stratified(LABELS, seed=seed, groups=faults.CHECKSUMS)
    assert split.keys() == LABELS.keys()
    assert by_label(split, "train") == dict.fromkeys(genres.GENRES, 70)
    assert by_label(split, "test") == dict.fromkeys(genres.GENRES, 15)


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_are_never_in_two_parts(seed: int) -> None:
    made = [splits.stratified(LABELS, seed=seed, groups=faults.CHECKSUMS)]
    made += splits.folds(LABELS, seed=seed, groups=faults.CHECKSUMS)
    assert all(len({split[key] for key in pair}) == 1 for split in made for pair in faults.DUPLICATES)


def test_without_groups_some_duplicates_are_in_two_parts() -> None:
    split = splits.stratified(LABELS)
    assert any(len({split[key] for key in pair}) == 2 for pair in faults.DUPLICATES)


def test_splits_depend_on_the_seed_and_not_on_the_order_of_keys() -> None:
    reversed_labels = dict(reversed(LABELS.items()))
    assert splits.stratified(LABELS, seed=3) == splits.stratified(reversed_labels, seed=3)
    assert splits.folds(LABELS, seed=3) == splits.folds(reversed_labels, seed=3)
    assert splits.stratified(LABELS, seed=3) != splits.stratified(LABELS, seed=4)
    assert splits.folds(LABELS, seed=3) != splits.folds(LABELS, seed=4)


@pytest.mark.parametrize(
    ("clips", "counts"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (8, (6, 1, 1)), (20, (14, 3, 3))]
)
def test_labels_with_three_or_more_clips_are_in_every_part(clips: int, counts: tuple[int, ...]) -> None:
    split = splits.stratified({f"a_{i}": "a" for i in range(clips)})
    assert tuple(list(split.values()).count(part) for part in splits.PARTS) == counts


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 9))
def test_the_split_of_a_label_does_not_depend_on_other_labels(names: list[str], seed: int) -> None:
    """This holds if no group contains clips of several labels."""
    labels = {f"{name}_{i}": name for i, name in enumerate(names)}
    split = splits.stratified(labels, seed=seed)
    for label in set(names):
        alone = {key: name for key, name in labels.items() if name == label}
        assert splits.stratified(alone, seed=seed) == {key: split[key] for key in alone}


def test_a_share_of_zero_gets_nothing() -> None:
    split = splits.stratified({f"a_{i}": "a" for i in range(7)}, fractions=(0.8, 0.0, 0.2))
    assert Counter(split.values()) == {"train": 6, "test": 1}


def test_a_large_group_stays_together() -> None:
    keys = [f"a_{i}" for i in range(10)]
    split = splits.stratified(dict.fromkeys(keys, "a"), groups=dict.fromkeys(keys[:6], "same"))
    assert len({split[key] for key in keys[:6]}) == 1


@pytest.mark.parametrize("k", [3, 5, 7])
def test_every_clip_is_tested_in_one_fold_and_folds_are_balanced(k: int) -> None:
    made = splits.folds(LABELS, k, seed=1, groups=faults.CHECKSUMS)
    assert len(made) == k
    assert Counter(key for split in made for key, part in split.items() if part == "test") == Counter(LABELS.keys())
    assert Counter(key for split in made for key, part in split.items() if part == "valid") == Counter(LABELS.keys())
    for split in made:
        assert all(abs(count - 100 / k) < 1 for count in by_label(split, "test").values())
    sizes = [sum(by_label(split, "test").values()) for split in made]
    assert max(sizes) - min(sizes) <= 1


def test_the_fold_after_the_test_fold_is_for_validation() -> None:
    made = splits.folds(LABELS, 5)
    for i, split in enumerate(made):
        after = {key for key, part in made[(i + 1) % 5].items() if part == "test"}
        assert {key for key, part in split.items() if part == "valid"} == after


def test_impossible_requests_name_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        splits.folds(LABELS, 2)
    with pytest.raises(ValueError, match="sum to 1"):
        splits.stratified(LABELS, fractions=(0.5, 0.2, 0.2))
    with pytest.raises(ValueError, match="sum to 1"):
        splits.stratified(LABELS, fractions=(1.2, 0.0, -0.2))


def test_split_file_takes_clip_ids_headers_and_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(b"\xef\xbb\xbfkey,part\r\nblues.00000,train\r\n\r\n blues_00001 , test\r\n")
    assert splits.from_file(file) == {"blues_00000": "train", "blues_00001": "test"}


def test_parts_of_a_split_file_may_have_other_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    for header in ("key,part\n", "filename,set\n", "path,Split\n", ""):
        file.write_text(header + "a,Train\nb,val\nc,dev\nd,validation\ne,TEST\n")
        parts = {"a": "train", "b": "valid", "c": "valid", "d": "valid", "e": "test"}
        assert splits.from_file(file) == parts


@pytest.mark.parametrize("sizes", [(3, 3, 3, 3), (12, 6, 4, 2, 1, 1), (5, 5, 5, 5, 5)])
def test_groups_are_distributed_evenly_over_the_folds(sizes: tuple[int, ...]) -> None:
    """If labels have fewer groups than there are folds, each fold lacks at most one label."""
    groups = {
        f"{label}{artist}_{i}": f"{label}{artist}"
        for label in "abcd"
        for artist, n in enumerate(sizes)
        for i in range(n)
    }
    labels = {key: key[0] for key in groups}
    tests = [[key for key, part in fold.items() if part == "test"] for fold in splits.folds(labels, groups=groups)]
    assert sorted(key for keys in tests for key in keys) == sorted(labels)
    assert max(map(len, tests)) <= 1.5 * min(map(len, tests))
    assert min(len({key[0] for key in keys}) for keys in tests) >= (3 if len(sizes) == 4 else 4)
    side = {groups[key]: number for number, keys in enumerate(tests) for key in keys}
    assert all(side[groups[key]] == number for number, keys in enumerate(tests) for key in keys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,train\nb,extra\n", r"mine\.csv, line 2: part is one of train, valid, test; got 'extra'"),
        ("a,train\n\nb\n", r"mine\.csv, line 3: expected key,part .* got 'b'"),
        ("a,train,0\n", r"line 1: expected key,part"),
        (",train\n", r"line 1: expected key,part"),
        ("a.0,train\na_0,test\n", r"line 2: key a_0 was given before"),
        ("key,part\n", r"mine\.csv: no rows"),
        ("", r"mine\.csv: no rows"),
        ("a," + "x" * 200_000, r"mine\.csv: cannot be read as a split file"),
    ],
)
def test_malformed_split_files_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        splits.from_file(file)


def test_unreadable_split_files_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.csv", tmp_path, tmp_path / "binary.csv"):
        with pytest.raises(UserError, match="cannot be read as a split file"):
            splits.from_file(path)
