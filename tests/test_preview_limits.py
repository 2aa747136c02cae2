"""The preview of unusual sets: many labels, remote, silent, unreadable, or with very short crops."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream import Loader
from gtzan_stream.augment import Compose, Gain
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.geometry import Geometry
from gtzan_stream.inference import first_crops, preview, preview_page, set_facts
from gtzan_stream.store.levels import levels_db
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.training import report_page
from tests.test_preview_page import data_of


class Loudness(torch.nn.Module):
    """The level of frames of 64 samples: crops too short for the spectrogram of the pictures."""

    geometry = Geometry(sample_rate=22050, frame_length=64, step=32, context=0, frames=8, grid=32, silence=0.0)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return waveform.unfold(1, 64, 32).square().mean(2)[:, None]


@pytest.mark.parametrize("features", [Loudness(), RawWaveform()])
def test_other_features_are_shown_as_spectrograms(features, shards: Path, tmp_path: Path):
    with Loader(shards, split="three", part="train", features=features, batch_size=4) as loader:
        stages = []
        preview_page.write(tmp_path / "a.html", loader, augment="none", count=1, progress=lambda *of: stages.append(of))
        text = (tmp_path / "a.html").read_text()
        (clip,) = data_of(text)["clips"]
        assert clip["crops"]["untouched/"]["picture"].startswith("data:image/png")
        assert {stage for stage, _, _ in stages} == {"measuring levels", "computing crops"}
        assert sum(done == total for _, done, total in stages) == 2
        (pair,) = preview.pairs_of(loader, loader.batch_of([clip["key"]], clip["crop"]))
        shown = preview_page.picture_features(loader)
        torch.testing.assert_close(
            torch.from_numpy(pair.augmented), shown(loader.waveforms(loader.batch_of([pair.key], pair.crop)))[0]
        )
        assert len(pair.augmented) > 1
        key = loader.manifest.keys[int(loader.manifest.part("three", "test")[0])].as_py()
        sounds = report_page.most_wrong([{"key": key, "chunk": 0}], loader, loader.evaluation("test"))
        assert sounds["wrong"][0][2].picture.startswith("data:image/png")


def test_a_page_has_at_most_a_number_of_labels(shards: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(preview_page, "MOST_LABELS", 2)
    with Loader(shards) as loader:
        assert len(loader.labels) > 2
        assert preview_page.write(tmp_path / "a.html", loader, augment="none") == 2


def test_the_search_for_rare_labels_ends(shards: Path, monkeypatch):
    monkeypatch.setattr(first_crops, "MAX_BATCHES", 1)
    with Loader(shards, batch_size=2, crops_per_clip=1) as loader:
        assert len(first_crops.first_of_each_label(loader, 0, 100)) <= 2
    monkeypatch.setattr(first_crops.crops, "is_long_enough", lambda frames, geometry: np.zeros(len(frames), bool))
    with Loader(shards) as loader, pytest.raises(UserError, match="all clips are much shorter than a crop"):
        first_crops.first_of_each_label(loader, 0, 1)


def test_the_crops_of_an_epoch_are_shown_once(shards: Path):
    with Loader(shards, batch_size=7, crops_per_clip=1) as loader:  # the last batch has fillers
        assert len(loader.manifest) % 7
        assert sorted(first_crops.first_crops(loader, 0, 1000).keys) == sorted(loader.manifest.keys.to_pylist())


def test_crops_that_training_skips_are_not_shown(shards: Path, tmp_path: Path, monkeypatch):
    read, manifest = ClipReader.read, Manifest.open(shards)
    unreadable = set(np.flatnonzero(manifest.label == 0).tolist())

    def failing(self: ClipReader, clip: int, start: int, out: np.ndarray) -> None:
        if clip in unreadable:
            raise BadSample("broken")
        read(self, clip, start, out)

    monkeypatch.setattr(ClipReader, "read", failing)
    monkeypatch.setattr(ClipReader, "direct_rows", lambda *arguments: None)
    with Loader(shards, on_error="skip") as loader:
        assert preview_page.write(tmp_path / "a.html", loader, augment="none") == len(manifest.labels) - 1
        shown = data_of((tmp_path / "a.html").read_text())["clips"]
        assert [clip["label"] for clip in shown] == manifest.labels[1:]
        unreadable.update(range(len(manifest)))
        with pytest.raises(UserError, match="there is nothing to show, training skips these crops: broken"):
            preview_page.write(tmp_path / "a.html", loader, augment="none")


def test_equal_transforms_have_numbers(monkeypatch):
    twice = Compose([Gain(1.0, 2.0), Gain(3.0, 4.0)])
    monkeypatch.setattr(preview_page, "recipe", lambda name: twice)
    names = [name for group, name, _ in preview_page._menu("mine") if group == "transform"]
    assert names == ["Gain 1", "Gain 2"]


def test_a_histogram_of_equal_values_is_one_bar():
    assert set_facts._histogram(np.full(5, 3.0), "s") == {"counts": [5], "first": "3 s", "last": "3 s"}
    assert len(set_facts._histogram(np.arange(5.0), "s")["counts"]) == set_facts.N_BARS
    assert set_facts._histogram(np.empty(0), "s") is None


def test_levels_of_unreadable_clips_are_missing_and_counted(shards: Path, monkeypatch):
    manifest, read = Manifest.open(shards), ClipReader.read

    def failing(self: ClipReader, clip: int, start: int, out: np.ndarray) -> None:
        if clip == 1:
            raise BadSample(f"{manifest.location(clip)}: broken")
        read(self, clip, start, out)

    monkeypatch.setattr(ClipReader, "read", failing)
    levels = levels_db(manifest, np.arange(3))
    assert np.isnan(levels).tolist() == [False, True, False]
    facts = set_facts.set_facts(manifest, None)
    assert facts["n_unreadable"] == 1
    assert sum(facts["level_counts"]["counts"]) == len(manifest) - 1


def test_levels_of_float_clips_are_not_scaled_again(shards: Path, monkeypatch):
    manifest = Manifest.open(shards)
    expected = levels_db(manifest, np.arange(2))
    read = ClipReader.read

    def as_float(self: ClipReader, clip: int, start: int, out: np.ndarray) -> None:
        samples = np.empty(len(out), np.int16)
        read(self, clip, start, samples)
        out[:] = samples / 32768

    reader_init = ClipReader.__init__

    def float_reader(self: ClipReader, *arguments: object, **options: object) -> None:
        reader_init(self, *arguments, **options)
        self.dtype = np.dtype(np.float32)

    monkeypatch.setattr(ClipReader, "read", as_float)
    monkeypatch.setattr(ClipReader, "__init__", float_reader)
    np.testing.assert_allclose(levels_db(manifest, np.arange(2)), expected, atol=1e-4)


def test_the_levels_of_a_remote_set_are_not_measured(shards: Path, monkeypatch):
    manifest = Manifest.open(shards)
    monkeypatch.setattr(type(manifest.folder), "cache_state", lambda self: {"folder": "cache"})
    monkeypatch.setattr(set_facts, "levels_db", lambda *arguments, **options: pytest.fail("it downloads all shards"))
    facts = set_facts.set_facts(manifest, None)
    assert (facts["levels_of"], facts["level_counts"], facts["n_unreadable"]) == ("", None, 0)


def test_pictures_of_log_mels_are_those_of_the_loader(shards: Path):
    with Loader(shards, features=LogMel(n_mels=16)) as loader:
        assert preview_page.picture_features(loader) is loader.features
