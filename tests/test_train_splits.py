"""Which split train.py takes, and what it says where one cannot be trained on."""

from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.pack import pack
from tests.test_pack_labels import music
from tests.train_cases import completed


def test_too_few_clips_end_it_before_training(go, tmp_path: Path) -> None:
    pack(music(tmp_path / "src", "rock/1.wav", "rock/2.wav", "jazz/1.wav"), tmp_path / "out")
    result = go("--shards", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert "has no part 'valid'" in result.output
    assert "Too few clips: jazz has 1 clip: it takes 3 to have one in train, valid and test" in result.output
    assert result.output.count("\n") == 1


def test_a_split_of_folders_is_taken_if_it_has_a_test_part(tmp_path: Path) -> None:
    for name, parts in {"whole": ("train", "test"), "no test": ("train", "val")}.items():
        paths = [f"{part}/{label}/{i}.wav" for part in parts for label in ("rock", "jazz") for i in range(4)]
        pack(music(tmp_path / name, *paths), tmp_path / f"{name} packed")
    assert completed(shards=str(tmp_path / "whole packed")).split == "folders"
    assert completed(shards=str(tmp_path / "no test packed")).split == "stratified"
    with pytest.raises(UserError, match=r"the split folders of .* has no part 'test': choose one of train, valid"):
        completed(shards=str(tmp_path / "no test packed"), split="folders")
