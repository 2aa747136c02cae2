"""Making a batch: where its rows are read, what its labels count, and what is said of rows that cannot be read."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset

from gtzan_stream import crops
from gtzan_stream.augment import SpeedPerturb, TimeStretch, Transform
from gtzan_stream.dsp import random
from gtzan_stream.errors import BadSample
from gtzan_stream.features import LogMel
from gtzan_stream.loader import Loader
from gtzan_stream.store.index import index
from gtzan_stream.store.pack import pack
from tests.test_store_index import sound


@pytest.mark.parametrize("transform", [SpeedPerturb(1.5, 1.5), TimeStretch(0.7, 0.7), TimeStretch(0.8, 1.5)])
def test_starts_and_padding_follow_the_rate_of_each_row(shards: Path, transform: Transform):
    """A crop that is sped up covers more of its clip, so it must start earlier not to be padded."""
    loader = Loader(shards, augment=transform, seed=3, crops_per_clip=4, num_workers=0)
    geometry, padded = loader.features.geometry, 0
    lengths_of = dict(zip(loader.manifest.keys.to_pylist(), loader.manifest.frames.tolist(), strict=True))
    for batch in loader:
        rate, lengths = transform.rate(batch.draw), np.array([lengths_of[key] for key in batch.keys])
        hashes = random.hash_keys(batch.keys)
        uniform = random.uniform(random.rng(3, 0, "crop"), hashes, batch.crops)[:, 0]
        assert (batch.starts == crops.random_starts(uniform, lengths, geometry, rate)).all()
        assert (batch.valid_frames == crops.segments(batch.starts, lengths, geometry, rate).valid_frames).all()
        room = geometry.frames_in(np.floor(lengths / rate).astype(np.int64)) > geometry.frames
        assert (batch.valid_frames[room] >= geometry.frames - 1).all()
        padded += int((~room).sum())
    assert padded


def test_labels_count_the_classes_of_the_split(clips_folder: Path, tmp_path: Path):
    names = sorted(path.stem.replace(".", "_") for path in clips_folder.rglob("*.wav") if path.parent.name != "blues")
    (tmp_path / "some.csv").write_text("key,part\n" + "".join(f"{name},train\n" for name in names))
    pack(clips_folder, tmp_path / "shards", splits=tmp_path / "some.csv")
    loader = Loader(tmp_path / "shards", split="some", part="train")
    assert loader.labels == ["jazz", "metal"]
    for batch in loader:
        assert [loader.labels[label] for label in batch.labels] == [key.split("_")[0] for key in batch.keys]


class Weighted(Transform):
    """A transform that has something to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def compute(self, waveform, draw, length):
        return waveform[:, :length] * self.weight


def test_batches_need_no_gradients(shards: Path):
    loader = Loader(shards, augment=Weighted(), features=LogMel(trainable=True), batch_size=4, num_workers=0)
    batch = next(iter(loader))
    assert not batch.features.requires_grad
    assert not loader.untouched(batch).requires_grad


@pytest.fixture
def mixed_rates(tmp_path: Path) -> Path:
    """Shards of somebody else: clips 0 to 2 at 22,050 Hz and clip 3 at 8,000 Hz."""
    with webdataset.TarWriter(str(tmp_path / "x.tar"), encoder=False) as tar:
        for i, rate in enumerate((22050, 22050, 22050, 8000)):
            tar.write({"__key__": f"a_{i}", "wav": sound(i, rate=rate, frames=70_000)})
    (tmp_path / "two.csv").write_text("key,part\na_1,train\na_3,train\n")
    index(tmp_path, splits=tmp_path / "two.csv")
    return tmp_path


def test_the_clip_of_a_wrong_rate_is_named(mixed_rates: Path):
    with pytest.raises(BadSample, match="key a_3: expected 22050 Hz, got 8000"):
        Loader(mixed_rates, split="two", part="train")
    with pytest.raises(BadSample, match="key a_3: expected 22050 Hz, got 8000"):
        Loader(mixed_rates, on_error="skip", split="two", part="train")._maker.check_rate(np.array([1, 3]))


def test_an_evaluation_names_it_too(mixed_rates: Path):
    (mixed_rates / "two.csv").write_text("key,part\na_1,train\na_3,test\n")
    index(mixed_rates, splits=mixed_rates / "two.csv")
    with pytest.raises(BadSample, match="key a_3: expected 22050 Hz, got 8000"):
        Loader(mixed_rates, split="two", part="train").evaluation("test")


def test_skipped_rows_are_logged_in_their_order(mixed_rates: Path, caplog: pytest.LogCaptureFixture):
    loader = Loader(mixed_rates, on_error="skip", batch_size=16, crops_per_clip=4, num_workers=3)
    with caplog.at_level(logging.WARNING):
        (batch,) = loader
    rows = [row for row, key in enumerate(batch.keys) if key == "a_3"]
    assert len(rows) == 4
    assert batch.weights.tolist() == [float(row not in rows) for row in range(16)]
    assert [record.getMessage() for record in caplog.records] == [f"skipped: {text}" for text in batch.skipped]
    assert list(batch.skipped) == loader.skipped
    assert len(batch.skipped) == 4
