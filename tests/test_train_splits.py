"""The split and the settings that train.py chooses by default, and its errors for splits that cannot be used."""

import json
import shutil
from pathlib import Path

import pytest

from gtzan_stream.catalog.splits import PUBLISHED
from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.tables import describe_file, write_splits
from gtzan_stream.training import defaults
from gtzan_stream.training.config import Config
from tests.test_pack_labels import music
from tests.train_cases import SMALL, completed


def test_too_few_clips_are_an_error_before_training(go, tmp_path: Path) -> None:
    pack(music(tmp_path / "src", "rock/1.wav", "rock/2.wav", "jazz/1.wav"), tmp_path / "out")
    result = go("--shards", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert "has no part 'valid'" in result.output
    assert "Too few clips: jazz has 1 clip: random splits need 3, one each for train, valid and test" in result.output
    assert result.output.count("\n") == 1


def test_a_split_of_folders_is_chosen_if_it_has_a_test_part(tmp_path: Path) -> None:
    for name, parts in {"whole": ("train", "test"), "no test": ("train", "val")}.items():
        paths = [f"{part}/{label}/{i}.wav" for part in parts for label in ("rock", "jazz") for i in range(4)]
        pack(music(tmp_path / name, *paths), tmp_path / f"{name} packed")
    assert completed(shards=str(tmp_path / "whole packed")).split == "folders"
    assert completed(shards=str(tmp_path / "no test packed")).split == "stratified"
    with pytest.raises(UserError, match=r"the split folders of .* has no part 'test': choose one of train, valid"):
        completed(shards=str(tmp_path / "no test packed"), split="folders")


def test_a_users_split_is_chosen_but_not_one_that_pack_makes(tmp_path: Path, monkeypatch) -> None:
    keys = [f"{label}_{i}" for label in ("rock", "jazz") for i in range(6)]
    rows = [f"{key},{('train', 'valid', 'test')[i % 3]}\n" for i, key in enumerate(keys)]
    (tmp_path / "mine.csv").write_text("".join(rows))
    clips = music(tmp_path / "src", *(f"{key.replace('_', '/')}.wav" for key in keys))
    pack(clips, tmp_path / "out", splits=tmp_path / "mine.csv")
    assert completed(shards=str(tmp_path / "out")).split == "mine"
    monkeypatch.setitem(PUBLISHED, "mine", dict)
    assert completed(shards=str(tmp_path / "out")).split == "stratified"


def test_parts_without_clips_of_a_label_give_a_warning(go, no_export, tiny: Path, tmp_path: Path) -> None:
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
    result = go("--shards", str(tmp_path / "shards"), *SMALL, "--steps", "1", "--name", "lacking")
    assert result.exit_code == 0, result.output
    assert "part test of split demo has no clip of blues, jazz: its results say nothing about them" in result.output


def test_the_error_of_an_unreadable_clip_names_the_remedy(go, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "shards")
    manifest = Manifest.open(tmp_path / "shards")
    for shard in manifest.shards:
        path = tmp_path / "shards" / shard.name
        path.write_bytes(bytes(path.stat().st_size))
    result = go("--shards", str(tmp_path / "shards"), "--steps", "1", "--name", "unreadable")
    assert result.exit_code == 2, result.output
    assert "the shard holds zeros where the clip does not" in result.output
    assert "--on-error skip trains without it, and `gtzan-stream verify` names every clip" in result.output


def test_the_defaults_are_the_studys_and_those_of_the_demo_set(shards: Path, checkout: Path) -> None:
    study = {"model": "cnn2d", "augment": "study", "crops_per_clip": 8, "chunks": "study", "normalization": "global"}
    study |= {"optimizer": "sgd", "lr": 0.01, "weight_decay": 1e-6, "schedule": "plateau", "warmup_steps": None}
    study |= {"batch_size": 16, "frames": 128, "sample_rate": 22050, "mixup": 0.0, "label_smoothing": 0.0}
    config = completed(shards=str(shards))
    assert {name: getattr(config, name) for name in study} == study
    assert config.epochs > 26  # at which the study's best run had stopped
    assert completed(shards=str(shards), steps=3).epochs is None
    demo = completed(shards=str(checkout / "shards"))
    assert (demo.optimizer, demo.lr, demo.schedule, demo.epochs) == ("adamw", 1e-3, "cosine", 5)
    assert config.name.startswith("cnn2d-study-0-")
    assert completed(shards=str(shards), name="mine").name == "mine"
    one_dimensional = [completed(shards=str(shards), model=name) for name in ("cnn1d", "samplecnn")]
    assert [(config.batch_size, config.frames) for config in one_dimensional] == [(64, 1024), (16, 66_150)]


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (["study", "stratified", "filtered", "folds-0"], "filtered"),
        (["study", "stratified", "folds-0"], "stratified"),
        (["stratified", "mine"], "mine"),
        (["stratified", "mine", "other"], "stratified"),
    ],
)
def test_a_single_user_split_is_chosen_or_else_the_first_of_the_catalogue(splits: list[str], chosen: str) -> None:
    found = {name: ["train", "valid", "test"] for name in splits}
    assert defaults._split(Config(), found) == chosen
    assert defaults._split(Config(), found | {"half": ["train", "test"]}) == chosen
    assert defaults._split(Config(split="half"), found) == "half"
