"""Groups: clips that random splits keep in one part."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream.catalog import splits
from gtzan_stream.errors import UserError
from gtzan_stream.store.groups import group_names, merge_groups
from gtzan_stream.store.splits import add_validation_part, find_small_labels

PATHS = {"a": "rock/Ann/Hits/1.wav", "b": "jazz/Ann/2.wav", "c": "jazz/Bob/Cy - 3.wav", "d": "jazz/4.wav"}


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (2, {"a": "Ann", "b": "Ann", "c": "Bob"}),
        ("2", {"a": "Ann", "b": "Ann", "c": "Bob"}),
        (1, {"a": "rock", "b": "jazz", "c": "jazz", "d": "jazz"}),
        ("/([A-Z][a-z]+) - ", {"c": "Cy"}),
        (r"(\d)\.wav", {"a": "1", "b": "2", "c": "3", "d": "4"}),
    ],
)
def test_groups_are_named_by_a_folder_level_or_an_expression(group_by: int | str, expected: dict[str, str]) -> None:
    assert group_names(PATHS, group_by) == expected


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        (4, "--group-by 4: the levels of folders below SRC are 1 to 3 here"),
        (0, "--group-by 0: the levels"),
        ("artist", "expected one pair of parentheses"),
        ("(a)(b)", "expected one pair of parentheses"),
        ("(a", "is neither a level nor a regular expression"),
        ("(zzz)", "matches no path in SRC; the first path is rock/Ann/Hits/1.wav"),
    ],
)
def test_wrong_groups_are_user_errors(group_by: int | str, message: str) -> None:
    with pytest.raises(UserError) as error:
        group_names(PATHS, group_by)
    assert message in str(error.value)


def test_levels_without_folders_are_a_user_error() -> None:
    with pytest.raises(UserError, match="--group-by 1: there are no folders below SRC"):
        group_names({"a": "1.wav"}, 1)


relations = st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), max_size=3)


@given(relations)
def test_merge_groups_finds_the_connected_components(relations: list[dict[str, str]]) -> None:
    found = merge_groups(*relations)
    assert found.keys() == {key for relation in relations for key in relation}
    neighbours = {key: {other for r in relations if key in r for other in r if r[other] == r[key]} for key in found}
    for key in found:
        reached, waiting = {key}, [key]
        while waiting:
            new = neighbours[waiting.pop()] - reached
            reached |= new
            waiting += new
        assert {other for other in found if found[other] == found[key]} == reached


@pytest.mark.parametrize("seed", range(5))
def test_a_label_of_three_large_groups_has_one_in_each_part(seed: int) -> None:
    labels = {f"{label}_{group}_{i}": label for label in "ab" for group in "xyz" for i in range(10)}
    groups = {key: key[:3] for key in labels}
    made = [splits.stratified(labels, seed=seed, groups=groups), *splits.folds(labels, 3, seed=seed, groups=groups)]
    for split in made:
        for label in "ab":
            assert {part for key, part in split.items() if labels[key] == label} == {"train", "valid", "test"}
        sides = defaultdict(set)
        for key, part in split.items():
            sides[groups[key]].add(part)
        assert all(len(parts) == 1 for parts in sides.values())


def test_labels_of_too_few_clips_or_groups_are_named() -> None:
    labels = {**{f"a{i}": "a" for i in range(3)}, "b1": "b", **{f"c{i}": "c" for i in range(4)}}
    labels |= {f"enough{i}": "d" for i in range(5)}
    lines = find_small_labels(labels, {"c0": "Ann", "c1": "Ann", "c2": "Ann"})
    kinds = [(line.kind, line.key) for line in lines]
    assert kinds == [("few for folds", "a"), ("few clips", "b"), ("few clips", "c")]
    assert lines[0].detail == "a has 3 clips: the folds need 5, one each"
    assert lines[1].detail.startswith("b has 1 clip: random splits need 3")
    assert lines[2].detail.startswith("c has 4 clips in 2 groups that stay together")


def test_a_split_of_folders_gets_a_validation_part() -> None:
    labels = {f"{label}{i}": label for label in "ab" for i in range(40)}
    split = {key: "test" if int(key[1:]) < 10 else "train" for key in labels}
    groups = {key: f"{key[0]} {int(key[1:]) // 2}" for key in labels}
    made = add_validation_part(split | {"gone": "train"}, labels, groups)
    assert made.keys() == labels.keys()
    for label in "ab":
        valid = [key for key, part in made.items() if part == "valid" and labels[key] == label]
        assert 4 <= len(valid) <= 5  # 15 % of 30
    assert {key for key, part in made.items() if part == "test"} == {
        key for key, part in split.items() if part == "test"
    }
    for group in set(groups.values()):
        assert len({made[key] for key in labels if groups[key] == group}) == 1
    assert add_validation_part(split, labels, groups) == made
    assert add_validation_part(made, labels, groups) == made
    assert add_validation_part({"a1": "test"}, labels, groups) == {"a1": "test"}
