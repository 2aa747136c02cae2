"""The preview page holds the crops of training, each transform alone, and what is in the set."""

import io
import json
import re
import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gtzan_stream import Loader
from gtzan_stream.augment import Gain, TimeShift, recipe
from gtzan_stream.cli import main
from gtzan_stream.inference import preview_page
from gtzan_stream.inference.first_crops import first_crops, first_of_each_label
from gtzan_stream.inference.set_facts import set_facts
from gtzan_stream.inference.strengths import leaves, strengths_of
from gtzan_stream.store.levels import SILENT_DB, levels_db
from gtzan_stream.store.manifest import Manifest


def data_of(page: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def sound(uri: str) -> np.ndarray:
    return soundfile.read(io.BytesIO(b64decode(uri.partition(",")[2])))[0]


@pytest.fixture
def page(shards: Path, tmp_path: Path) -> tuple[dict, Loader, str]:
    out = tmp_path / "new/preview.html"
    with Loader(shards, split="three", part="train", augment="study", seed=1) as loader:
        n = preview_page.write(out, loader, augment="study", epoch=2, count=3)
        data = data_of(out.read_text())
        assert n == len(data["clips"]) == 3
        yield data, loader, out.read_text()


def test_crops_are_heard_as_in_training(page):
    data, loader, _ = page
    geometry, seen = loader.features.geometry, set()
    for clip in data["clips"]:
        batch = loader.batch_of([clip["key"]], clip["crop"], epoch=2)
        assert clip["label"] == loader.labels[int(batch.labels[0])]
        assert clip["start_s"] == round(batch.starts[0] / 22050, 2)
        untouched = loader.waveforms(batch, augmented=False)[0].numpy()
        end = geometry.span(int(batch.valid_frames[0]))
        gain = sound(clip["crops"]["untouched/"]["sound"])[:end] @ untouched[:end] / (untouched[:end] @ untouched[:end])
        words = batch.draw.describe(0)
        if words == "unchanged":
            assert "study/" not in clip["crops"]
        else:
            crop = clip["crops"]["study/"]
            assert crop["words"] == words
            heard = loader.waveforms(batch)[0].numpy()[:end]
            np.testing.assert_allclose(sound(crop["sound"])[:end], np.clip(gain * heard, -1, 1), atol=2e-4)
            seen.add(words)
        assert max(np.abs(sound(crop["sound"])).max() for crop in clip["crops"].values()) > 0.99
    assert seen


def test_the_menu_has_recipes_and_each_transform_of_the_first(page):
    data, _, _ = page
    names = [(entry["group"], entry["name"]) for entry in data["menu"]]
    transforms = [type(member).__name__ for member in recipe("study").members[1:]]
    assert names == [("recipe", "study"), ("recipe", "strong"), *(("transform", name) for name in transforms)]
    strengths = {entry["name"]: entry["strengths"] for entry in data["menu"]}
    assert strengths["TimeStretch"] == ["low", "middle", "high"]
    assert strengths["Percussive"] == strengths["GaussianNoise"] == strengths["TimeShift"] == ["middle"]
    for clip in data["clips"]:
        assert clip["crops"]["TimeStretch/low"]["words"] == "TimeStretch(rate=0.9)"
        assert clip["crops"]["TimeStretch/high"]["words"] == "TimeStretch(rate=1.1)"


def test_the_page_needs_nothing_else(page):
    _, _, text = page
    outside = re.sub(r"data:[a-z]+/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert "http://" not in outside
    assert "https://" not in outside
    assert "default-src 'none'" in outside
    assert set(re.findall(r"<(?:script|link|img|audio)[^>]*(?:src|href)=\"([^\"]*)\"", outside)) <= {"data:,", ""}


def test_names_are_escaped(shards: Path, tmp_path: Path):
    manifest = Manifest.open(shards)
    manifest.dataset = "<b>&</script>"
    with Loader(shards) as loader:
        loader.manifest.dataset = manifest.dataset
        preview_page.write(tmp_path / "a.html", loader, augment="none", count=1)
    assert "<b>&" not in (tmp_path / "a.html").read_text()
    assert "&lt;b&gt;&amp;&lt;/script&gt;: what a network hears" in (tmp_path / "a.html").read_text()


def test_the_facts_are_those_of_the_set(page, shards: Path):
    manifest = Manifest.open(shards)
    facts = set_facts(manifest, "three")
    assert facts["parts"] == [part for part in ("train", "valid", "test") if part in manifest.split_counts["three"]]
    for label, counts in facts["rows"]:
        number = manifest.labels.index(label)
        assert counts[0] == (manifest.label == number).sum()
        of_parts = [manifest.label[manifest.part("three", part)] for part in facts["parts"]]
        assert counts[1:] == [(labels == number).sum() for labels in of_parts]
    assert sum(facts["durations"]["counts"]) == len(manifest)
    assert facts["n_issues"] == len(manifest.report)
    assert sum(facts["level_counts"]["counts"]) + facts["n_unreadable"] == len(manifest)
    _, _, text = page
    assert "Clips by label and part of three" in text


def test_a_sine_has_minus_three_decibels(tmp_path: Path):
    from gtzan_stream.store.pack import pack

    for name, samples in {
        "sine": np.sin(np.arange(22050) * 2 * np.pi * 441 / 22050),
        "quiet": 0.01 * np.sin(np.arange(22050) * 2 * np.pi * 441 / 22050),
        "silent": np.zeros(22050),
    }.items():
        (tmp_path / "music" / name).mkdir(parents=True)
        soundfile.write(tmp_path / f"music/{name}/a.wav", samples, 22050)
    manifest = pack(tmp_path / "music", tmp_path / "shards")
    done = []
    levels = levels_db(manifest, np.arange(3), progress=lambda *numbers: done.append(numbers))
    by_label = dict(zip([manifest.labels[i] for i in manifest.label], levels, strict=True))
    assert by_label["sine"] == pytest.approx(-3.01, abs=0.01)
    assert by_label["quiet"] == pytest.approx(-43.01, abs=0.05)
    assert by_label["silent"] == SILENT_DB
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_a_strength_is_a_place_in_the_range():
    gains = {name: at.draw(["a", "b"]).children[0] for name, at in strengths_of(Gain(1, 3, p=0.0)).items()}
    drawn = {name: draw.values["gain"].tolist() for name, draw in gains.items()}
    assert drawn == {"low": [1, 1], "middle": [2, 2], "high": [3, 3]}
    assert all(draw.chosen.all() for draw in gains.values())
    shifts = strengths_of(TimeShift(1600, 1602)).values()
    assert [at.draw(["a"]).children[0].values["shift"] for at in shifts] == [1600, 1601, 1602]


def test_the_leaves_of_a_recipe_are_its_transforms():
    assert [type(leaf).__name__ for leaf in leaves(recipe("strong"))] == [
        *("TimeShift", "TimeStretch", "PitchShift", "SpeedPerturb", "Percussive", "Gain", "GaussianNoise")
    ]
    assert leaves(recipe("none")) == []


def test_the_first_crops_are_those_of_the_epoch(shards: Path):
    with Loader(shards, batch_size=7, seed=4) as loader:
        loader.set_epoch(1)
        expected = [(key, crop) for batch in loader for key, crop in zip(batch.keys, batch.crops.tolist(), strict=True)]
        found = first_crops(loader, 1, 10)
        assert [*zip(found.keys, found.crops.tolist(), strict=True)] == expected[:10]
        by_label = first_of_each_label(loader, 1, 2 * len(loader.labels))
        assert by_label.labels.tolist() == np.repeat(np.arange(len(loader.labels)), 2).tolist()
        shown = [*zip(by_label.keys, by_label.crops.tolist(), strict=True)]
        label_of = dict(zip(loader.manifest.keys.to_pylist(), loader.manifest.label.tolist(), strict=True))
        for label, own in enumerate(zip(shown[::2], shown[1::2], strict=True)):
            assert [example for example in expected if label_of[example[0]] == label and example in own] == [*own]
            first = next(example for example in expected if label_of[example[0]] == label)
            assert own[0] == first or float(loader.batch_of([first[0]], first[1], epoch=1).valid_frames[0]) < 128


def test_a_page_is_written_of_a_run(unbroken: Path, tmp_path: Path, monkeypatch, capsys):
    out = tmp_path / "a.html"
    monkeypatch.setattr(sys, "argv", ["gtzan-stream", "preview", str(unbroken), "--out", str(out), "--count", "2"])
    with pytest.raises(SystemExit):
        main()
    assert "2 crops of epoch 0, augmentation study" in capsys.readouterr().out
    data = data_of(out.read_text())
    config = json.loads((unbroken / "config.json").read_text())
    assert len(data["clips"]) == 2
    length = len(sound(data["clips"][0]["crops"]["untouched/"]["sound"]))
    assert length == 512 * (config["frames"] - 1) + 1024


def test_another_suffix_is_refused(shards: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gtzan-stream", "preview", str(shards), "--out", str(tmp_path / "a.jpg")])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "a preview is a page, .html, or a picture, .png" in capsys.readouterr().err
