"""Packing folders of various layouts: labels, keys, splits and groups of the packed set."""

import json
import os
from pathlib import Path

import pytest

import gtzan_stream.store.pack as pack_module
from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from tests.test_pack import kinds, members, noise, put


def music(root: Path, *paths: str) -> Path:
    """Write clips of noise, all different."""
    for i, path in enumerate(paths):
        put(root / path, noise(200, seed=i))
    return root


def parts_by_key(manifest: Manifest, split: str) -> dict[str, str]:
    """Return the part of each clip by its key."""
    keys = manifest.keys.to_pylist()
    return {keys[clip]: part for part in manifest.parts_by_split()[split] for clip in manifest.part(split, part)}


def test_a_tree_of_train_and_test(tmp_path: Path):
    paths = [f"{part}/{label}/{i}.wav" for part in ("train", "test") for label in ("rock", "jazz") for i in range(8)]
    manifest = pack(music(tmp_path / "src", *paths), tmp_path / "out")
    assert manifest.labels == ["jazz", "rock"]
    parts = parts_by_key(manifest, "folders")
    assert {key for key, part in parts.items() if part == "test"} == {
        f"{label}_{i}_test" for label in ("rock", "jazz") for i in range(8)
    }
    assert manifest.split_counts["folders"] == {"train": 14, "valid": 2, "test": 16}
    assert manifest.report == []


def test_a_tree_with_a_validation_part(tmp_path: Path):
    paths = [f"{part}/{label}/{part}.wav" for part in ("train", "dev", "test") for label in ("rock", "jazz")]
    manifest = pack(music(tmp_path / "src", *paths), tmp_path / "out")
    assert parts_by_key(manifest, "folders")["rock_dev"] == "valid"
    (tmp_path / "folders.csv").write_text("rock_dev,test\n")
    with pytest.raises(UserError, match="make a split named folders: rename the split file"):
        pack(tmp_path / "src", tmp_path / "out", splits=tmp_path / "folders.csv")


def test_labels_are_in_the_order_of_their_numbers(tmp_path: Path):
    manifest = pack(music(tmp_path / "src", "10/a.wav", "9/a.wav"), tmp_path / "out")
    assert manifest.labels == ["9", "10"]
    assert set(manifest.keys.to_pylist()) == {"9_a", "10_a"}


def test_a_flat_folder_with_a_file_of_labels(tmp_path: Path):
    music(tmp_path / "src", "a.wav", "b.wav", "c.wav")
    (tmp_path / "labels.csv").write_text("a.wav,rock\nb,jazz\n")
    manifest = pack(tmp_path / "src", tmp_path / "out", labels=tmp_path / "labels.csv")
    assert dict(zip(manifest.keys.to_pylist(), manifest.label.tolist(), strict=True)) == {"a": 1, "b": 0}
    detail = next(line["detail"] for line in manifest.report if line["kind"] == "no label")
    assert detail.endswith("labels.csv does not name: c.wav")


@pytest.mark.parametrize("how", ["level", "file"])
def test_random_splits_keep_groups_and_equal_samples_together(how: str, tmp_path: Path):
    paths = [f"{label}/{artist}/{i}.wav" for label in ("rock", "jazz") for artist in "abcdefgh" for i in range(3)]
    src = music(tmp_path / "src", *paths)
    put(src / "rock/a/0.wav", noise(200, seed=99))
    put(src / "jazz/h/0.wav", noise(200, seed=99))
    (tmp_path / "labels.csv").write_text("".join(f"{path},{path[:4]},{path[5]}\n" for path in paths))
    options = {"group_by": 2} if how == "level" else {"labels": tmp_path / "labels.csv"}
    manifest = pack(src, tmp_path / "out", **options)
    assert kinds(manifest)["rock_a_0"] == "conflict"
    for split in manifest.parts_by_split():
        parts = parts_by_key(manifest, split)
        for artist in "abcdefgh":  # an artist is one group, also under two labels
            assert len({parts[f"{label}_{artist}_{i}"] for label in ("rock", "jazz") for i in range(3)}) == 1
        assert parts["rock_a_1"] == parts["jazz_h_2"], "artists a and h share a clip, so they are one group"
        assert set(parts.values()) == {"train", "valid", "test"}


def test_the_file_of_a_duplicate_is_named(tmp_path: Path):
    src = music(tmp_path / "src", "rock/Ann/1.wav", "jazz/2.wav")
    put(src / "rock/Bob/3.wav", noise(200, seed=0))
    put(src / "jazz/4.wav", noise(200, seed=0))
    found = {line["key"]: line for line in pack(src, tmp_path / "out").report}
    assert (found["rock_Ann_1"]["kind"], found["rock_Ann_1"]["source"]) == ("conflict", "rock/Ann/1.wav")
    assert (
        found["rock_Ann_1"]["detail"]
        == "the same samples as jazz_4 (jazz/4.wav), but another label: rock here, jazz there"
    )
    assert found["rock_Bob_3"]["source"] == "rock/Bob/3.wav"


@pytest.mark.parametrize("form", ["{key}", "{path}.wav", "{path}", "./{path}.wav", "{name}.wav", "{name}"])
def test_split_files_name_keys_or_paths(form: str, tmp_path: Path):
    src = music(tmp_path / "src", "rock/a.b.wav", "rock/c.wav", "jazz/d.wav")
    rows = {"rock_a_b": "train", "rock_c": "valid", "jazz_d": "test"}
    names = {"rock_a_b": "rock/a.b", "rock_c": "rock/c", "jazz_d": "jazz/d"}
    lines = [f"{form.format(key=k, path=names[k], name=names[k][5:])},{part}" for k, part in rows.items()]
    (tmp_path / "mine.csv").write_text("path,part\n" + "\n".join(lines))
    assert parts_by_key(pack(src, tmp_path / "out", splits=tmp_path / "mine.csv"), "mine") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x.wav,train\ny.wav,test\n",
            r"mine\.csv: none of its 2 rows names a clip of SRC: the first is 'x_wav'; "
            r"expected keys such as \w+ or paths relative to SRC such as \w+/1\.wav",
        ),
        ("rock/1.wav,train\nrock_1,test\n", r"mine\.csv, line 2: key rock_1 was given before"),
        ("rock/1.wav,train\n1.wav,test\n", r"mine\.csv, line 2: 1\.wav could be jazz/1\.wav or rock/1\.wav"),
    ],
)
def test_a_wrong_split_file_is_an_error_before_packing(text: str, message: str, tmp_path: Path):
    src = music(tmp_path / "src", "rock/1.wav", "jazz/1.wav")
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        pack(src, tmp_path / "out", splits=tmp_path / "mine.csv")
    assert not (tmp_path / "out").exists()


def test_labels_with_too_few_clips_are_reported_and_named_in_errors(tmp_path: Path):
    manifest = pack(music(tmp_path / "src", "rock/1.wav", "rock/2.wav", "jazz/1.wav"), tmp_path / "out")
    assert {key for key, kind in kinds(manifest).items() if kind == "few clips"} == {"rock", "jazz"}
    with pytest.raises(
        UserError, match=r"no part 'valid': .* Too few clips: jazz has 1 clip: random splits need 3.*; rock has 2 cl"
    ):
        manifest.part("stratified", "valid")
    manifest.report.clear()  # as in shards that were indexed
    with pytest.raises(UserError, match=r"no part 'valid': .* Too few clips: jazz has 1 clip"):
        manifest.part("stratified", "valid")


def test_a_file_name_that_is_not_utf8_is_packed_under_an_escaped_key(tmp_path: Path):
    src = music(tmp_path / "src", "rock/fine.wav", "rock/new\nline.wav", "rock/other.wav")
    os.rename(src / "rock/other.wav", os.fsencode(src) + b"/rock/caf\xe9.wav")
    Path(os.fsdecode(os.fsencode(src) + b"/rock/\xe9.wav")).write_text("no audio")
    manifest = pack(src, tmp_path / "out")
    keys = set(manifest.keys.to_pylist())
    assert keys == {"rock_fine", "rock_new%0Aline", "rock_caf%E9"}
    packed = {json.loads(data)["source"] for name, data in members(tmp_path / "out").items() if name.endswith(".json")}
    assert packed == {"rock/fine.wav", "rock/new%0Aline.wav", "rock/caf%E9.wav"}
    assert {line["source"] for line in manifest.report if line["kind"] == "unreadable"} == {"rock/%E9.wav"}
    with pytest.raises(UserError, match=r"rock/.*%E9\.wav cannot be packed"):
        pack(src, tmp_path / "out", on_error="fail")


def test_file_names_in_errors_of_decoders_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(source, sample_rate):
        if "bad" in str(source):
            raise ValueError("cannot open caf\udce9\n.wav")
        return decode(source, sample_rate)

    decode = pack_module.audio.decode_pcm16
    monkeypatch.setattr(pack_module.audio, "decode_pcm16", fail)
    manifest = pack(music(tmp_path / "src", "rock/fine.wav", "rock/bad.wav"), tmp_path / "out")
    assert manifest.report[0]["detail"] == "cannot open caf%E9%0A.wav"


def test_links_are_in_the_report(tmp_path: Path):
    src = music(tmp_path / "src", "rock/1.wav", "rock/2.wav", "rock/3.wav")
    (src / "rock/loop").symlink_to(src)
    lines = pack(src, tmp_path / "out").report
    assert [(line["kind"], line["source"]) for line in lines] == [("few for folds", ""), ("link", "rock/loop")]


@pytest.mark.parametrize(
    ("src", "dst", "message"),
    [
        ("music", "music", "is the folder of the music"),
        ("music", "music/shards", "lies in .*music, the folder of the music: choose a folder beside it"),
        ("music", ".", "holds .*music, the folder of the music"),
        ("link", "music/shards", "lies in .*link, the folder of the music"),
    ],
)
def test_overlapping_folders_of_music_and_shards_are_refused(src: str, dst: str, message: str, tmp_path: Path):
    music(tmp_path / "music", "rock/1.wav")
    (tmp_path / "link").symlink_to(tmp_path / "music")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        pack(tmp_path / src, tmp_path / dst)
    assert sorted(tmp_path.rglob("*")) == before
    pack(tmp_path / src, tmp_path / "music-shards")


def test_the_survey_is_announced_before_the_first_clip_and_each_stage_is_named(tmp_path: Path):
    calls: list[str] = []
    pack(
        music(tmp_path / "src", "rock/1.wav", "jazz/1.wav"),
        tmp_path / "out",
        announce=lambda survey: calls.extend(survey.describe()),
        progress=lambda stage, done, total: calls.append(f"{stage} {done} of {total}"),
    )
    assert calls[:2] == ["looking for audio 0 of None", f"{tmp_path / 'src'}: 2 clips of 2 labels"]
    assert calls[-6:] == [
        *(f"{stage} {done} of 2" for stage in ("reading headers", "packing") for done in (1, 2)),
        "writing tables 0 of None",
        "moving the set into place 0 of None",
    ]
