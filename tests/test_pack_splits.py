"""Splits of a packed set: GTZAN's own, stratified ones, folds, and those of split files."""

from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.catalog import splits
from gtzan_stream.catalog.faults import CHECKSUMS
from gtzan_stream.errors import UserError
from gtzan_stream.store.index import index
from gtzan_stream.store.pack import pack
from tests.test_pack import kinds, noise, put
from tests.test_store_index import sound, write


def test_a_packed_gtzan_has_its_splits_and_known_faults(tmp_path: Path):
    for i, clip_id in enumerate(["jazz.00054", "blues.00029", "metal.00058", "rock.00016", "jazz.00001"]):
        put(tmp_path / "src" / clip_id.split(".")[0] / f"{clip_id}.wav", noise(2000, seed=i))
    manifest = pack(tmp_path / "src", tmp_path / "out")
    assert manifest.dataset == "gtzan"
    assert [shard.name for shard in manifest.shards] == ["gtzan-000000.tar"]
    found = kinds(manifest)
    assert {key for key, kind in found.items() if kind == "known fault"} == {"jazz_00054", "metal_00058", "rock_00016"}
    assert set(manifest.parts_by_split()) <= {*splits.PUBLISHED, *splits.SEEDED}
    assert {"filtered", "study", "stratified", "folds-0", "folds-4"} <= set(manifest.parts_by_split())
    keys = np.array(manifest.keys.to_pylist())
    expected = {key for key, part in splits.filtered().items() if part == "train"} & set(keys)
    assert set(keys[manifest.part("filtered", "train")]) == expected
    assert "blues_00029" in expected
    assert found["filtered"] == "incomplete split"
    mine = pack(tmp_path / "src", tmp_path / "out", name="mine")
    assert "known fault" not in kinds(mine).values()
    assert "filtered" not in mine.parts_by_split()


@pytest.mark.parametrize("key", ["jazz_00001", "jazz_00101"])
def test_a_set_is_gtzan_if_all_of_its_clips_are(key: str, tmp_path: Path):
    samples = [{"__key__": name, "wav": sound(i)} for i, name in enumerate(("blues_00029", key))]
    write(tmp_path / "foreign/x.tar", samples)
    for sample in samples:
        path = tmp_path / f"music/{sample['__key__'][:-6]}/{sample['__key__']}.wav"
        path.parent.mkdir(parents=True)
        path.write_bytes(sample["wav"])
    for manifest in (index(tmp_path / "foreign"), pack(tmp_path / "music", tmp_path / "packed")):
        is_gtzan = key == "jazz_00001"
        assert (manifest.dataset == "gtzan") == is_gtzan
        assert ("filtered" in manifest.parts_by_split()) == is_gtzan


def test_an_unreadable_clip_is_missing_from_its_splits(clips_folder: Path, tmp_path: Path):
    (tmp_path / "src/blues").mkdir(parents=True)
    for name in ["blues.00000.wav", "blues.00001.wav"]:
        (tmp_path / "src/blues" / name).symlink_to(clips_folder / "blues" / name)
    (tmp_path / "src/blues/blues.00002.wav").write_text("no audio")
    (tmp_path / "mine.csv").write_text("key,part\nblues_00000,train\nblues.00001,test\nblues_00002,train\n")
    manifest = pack(tmp_path / "src", tmp_path / "out", splits=tmp_path / "mine.csv", name="Mine!")
    assert manifest.dataset == "mine"
    assert manifest.split_counts["mine"] == {"train": 1, "test": 1}
    assert "filtered" not in manifest.parts_by_split()
    line = next(line for line in manifest.report if line["kind"] == "incomplete split")
    assert (line["key"], line["detail"]) == ("mine", "1 of 3 clips are not in this set: blues_00002")


def test_duplicates_are_in_one_part_of_random_splits(tmp_path: Path):
    for i in range(40):
        put(tmp_path / f"src/rock/{i}.wav", noise(500, seed=i // 2))
    manifest = pack(tmp_path / "src", tmp_path / "out")
    keys = manifest.keys.to_pylist()
    for name, parts in manifest.parts_by_split().items():
        part_of = {keys[clip]: part for part in parts for clip in manifest.part(name, part)}
        assert all(part_of[f"rock_{2 * i}"] == part_of[f"rock_{2 * i + 1}"] for i in range(20)), name


@pytest.mark.parametrize("name", [*splits.PUBLISHED, *splits.SEEDED])
def test_a_split_file_named_like_a_built_in_split_is_refused(name: str, clips_folder: Path, tmp_path: Path):
    (tmp_path / f"{name}.csv").write_text("blues_00000,train\n")
    with pytest.raises(UserError, match=rf"{name}\.csv would make a split named {name}.*rename"):
        pack(clips_folder, tmp_path / "out", splits=tmp_path / f"{name}.csv")


def test_a_seeded_split_divides_every_clip():
    labels = {f"{label}_{i}": label for label in ("jazz", "rock") for i in range(20)}
    made = splits.seeded(labels)
    assert tuple(made) == splits.SEEDED
    assert all(split.keys() == labels.keys() for split in made.values())
    assert all(set(split.values()) == set(splits.PARTS) for split in made.values())


@pytest.mark.parametrize("name", splits.PUBLISHED)
def test_a_published_split_names_clips_of_gtzan(name: str):
    split = splits.PUBLISHED[name]()
    assert set(split.values()) == set(splits.PARTS)
    assert split.keys() <= CHECKSUMS.keys()
