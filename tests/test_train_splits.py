"""Which split train.py takes, and what it says where one cannot be trained on."""

import json
import shutil
from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.tables import describe_file, write_splits
from tests.test_pack_labels import music
from tests.train_cases import completed


def test_too_few_clips_end_it_before_training(go, tmp_path: Path) -> None:
    pack(music(tmp_path / "src", "rock/1.wav", "rock/2.wav", "jazz/1.wav"), tmp_path / "out")
    result = go("--shards", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert "has no part 'valid'" in result.output
    assert "Too few clips: jazz has 1 clip: it takes 3 for one in train, valid and test" in result.output
    assert result.output.count("\n") == 1


def test_a_split_of_folders_is_taken_if_it_has_a_test_part(tmp_path: Path) -> None:
    for name, parts in {"whole": ("train", "test"), "no test": ("train", "val")}.items():
        paths = [f"{part}/{label}/{i}.wav" for part in parts for label in ("rock", "jazz") for i in range(4)]
        pack(music(tmp_path / name, *paths), tmp_path / f"{name} packed")
    assert completed(shards=str(tmp_path / "whole packed")).split == "folders"
    assert completed(shards=str(tmp_path / "no test packed")).split == "stratified"
    with pytest.raises(UserError, match=r"the split folders of .* has no part 'test': choose one of train, valid"):
        completed(shards=str(tmp_path / "no test packed"), split="folders")


def test_parts_that_lack_a_label_are_told(go, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "shards")
    manifest = Manifest.open(tiny)
    keys = manifest.keys.to_pylist()
    rows = [
        (key, part) for part in ("train", "valid", "test") for key in map(keys.__getitem__, manifest.part("demo", part))
    ]
    split = {key: part for key, part in rows if not (part == "test" and key.startswith(("blues", "jazz")))}
    counts = write_splits(tmp_path / "shards/splits.parquet", keys, {"demo": split})
    metadata = json.loads((tmp_path / "shards/manifest.json").read_text())
    metadata["splits"], metadata["tables"][1] = counts, describe_file(tmp_path / "shards/splits.parquet")
    (tmp_path / "shards/manifest.json").write_text(json.dumps(metadata))
    result = go("--shards", str(tmp_path / "shards"), "--steps", "1", "--name", "lacking")
    assert result.exit_code == 0, result.output
    assert "part test of split demo has no clip of blues, jazz: its results say nothing of them" in result.output


def test_an_unreadable_clip_ends_it_with_what_to_do(go, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "shards")
    manifest = Manifest.open(tmp_path / "shards")
    for shard in manifest.shards:
        path = tmp_path / "shards" / shard.name
        path.write_bytes(bytes(path.stat().st_size))
    result = go("--shards", str(tmp_path / "shards"), "--steps", "1", "--name", "unreadable")
    assert result.exit_code == 2, result.output
    assert "the shard holds zeros where the clip does not" in result.output
    assert "--on-error skip trains without it, and `gtzan-stream verify` names all that is bad" in result.output
