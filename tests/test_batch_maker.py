"""Making a batch: the segments of its rows, its labels, and messages about rows that cannot be read."""

import logging
import threading
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset

from gtzan_stream import audio, cpu_rows, crops, device_rows
from gtzan_stream.augment import SpeedPerturb, TimeStretch, Transform
from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.dsp import random
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.loader import Loader
from gtzan_stream.store.index import index
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader
from tests.test_store_index import sound


@pytest.mark.parametrize("transform", [SpeedPerturb(1.5, 1.5), TimeStretch(0.7, 0.7), TimeStretch(0.8, 1.5)])
def test_starts_and_padding_follow_the_rate_of_each_row(shards: Path, transform: Transform):
    """A faster crop covers more of its clip, so it must start earlier if it is not to be padded."""
    loader = Loader(shards, augment=transform, seed=3, crops_per_clip=4, num_workers=0)
    geometry, padded = loader.features.geometry, 0
    lengths_of = dict(zip(loader.manifest.keys.to_pylist(), loader.manifest.frames.tolist(), strict=True))
    for batch in loader:
        rate, lengths = transform.rate(batch.draw), np.array([lengths_of[key] for key in batch.keys])
        hashes = random.hash_keys(batch.keys)
        uniform = random.uniform(random.rng(3, 0, "crop"), hashes, batch.crops)[:, 0]
        assert (batch.starts == crops.random_starts(uniform, lengths, geometry, rate)).all()
        assert (batch.valid_frames == crops.segments(batch.starts, lengths, geometry, rate).valid_frames).all()
        fits = geometry.frames_in(np.floor(lengths / rate).astype(np.int64)) > geometry.frames
        assert (batch.valid_frames[fits] >= geometry.frames - 1).all()
        padded += int((~fits).sum())
    assert padded


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_are_made_ahead_only_by_workers(shards: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int):
    make, makers = BatchMaker.make_batch, []

    def recorded(*arguments: Any, **options: Any) -> Any:
        makers.append(threading.get_ident())
        return make(*arguments, **options)

    monkeypatch.setattr(BatchMaker, "make_batch", recorded)
    loader = Loader(shards, batch_size=8, augment="none", num_workers=num_workers)
    for epochs in (loader, loader.evaluation()):
        makers.clear()
        next(iter(epochs))
        assert (set(makers) == {threading.get_ident()}) == (num_workers == 0)
        assert num_workers or len(makers) == 1


def test_labels_are_indices_into_the_labels_of_the_split(clips_folder: Path, tmp_path: Path):
    names = sorted(path.stem.replace(".", "_") for path in clips_folder.rglob("*.wav") if path.parent.name != "blues")
    (tmp_path / "some.csv").write_text("key,part\n" + "".join(f"{name},train\n" for name in names))
    pack(clips_folder, tmp_path / "shards", splits=tmp_path / "some.csv")
    loader = Loader(tmp_path / "shards", split="some", part="train")
    assert loader.labels == ["jazz", "metal"]
    for batch in loader:
        assert [loader.labels[label] for label in batch.labels] == [key.split("_")[0] for key in batch.keys]


class Weighted(Transform):
    """A transform with a parameter that requires gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def compute(self, waveform, draw, length):
        return waveform[:, :length] * self.weight


def test_batches_do_not_require_gradients(shards: Path):
    loader = Loader(shards, augment=Weighted(), features=LogMel(trainable=True), batch_size=4, num_workers=0)
    batch = next(iter(loader))
    assert not batch.features.requires_grad
    assert not loader.unaugmented(batch).requires_grad


@pytest.fixture
def one_unreadable(tmp_path: Path) -> Path:
    """Shards from elsewhere with four clips, the last of which was damaged after indexing."""
    with webdataset.TarWriter(str(tmp_path / "x.tar"), encoder=False) as tar:
        for i, suffix in enumerate(("wav", "wav", "wav", "flac")):
            tar.write({"__key__": f"a_{i}", suffix: sound(i, suffix.upper(), frames=70_000)})
    manifest = index(tmp_path)
    with (tmp_path / "x.tar").open("r+b") as file:
        file.seek(int(manifest.member_offset[3]))
        file.write(bytes(5000))
    return tmp_path


def test_skipped_rows_are_logged_in_order(one_unreadable: Path, caplog: pytest.LogCaptureFixture):
    loader = Loader(one_unreadable, on_error="skip", batch_size=16, crops_per_clip=4, num_workers=3)
    with caplog.at_level(logging.WARNING):
        (batch,) = loader
    rows = [row for row, key in enumerate(batch.keys) if key == "a_3"]
    assert len(rows) == 4
    assert batch.weights.tolist() == [float(row not in rows) for row in range(16)]
    assert [record.getMessage() for record in caplog.records] == [f"skipped: {text}" for text in batch.skipped]
    assert list(batch.skipped) == loader.skipped
    assert len(batch.skipped) == 4


def test_skipped_rows_are_in_the_order_of_the_batch(shards: Path, monkeypatch: pytest.MonkeyPatch):
    """They are not in the order in which threads fail to read them. Here the first row fails last."""
    calls, last = count(1), threading.Event()

    def read(reader: ClipReader, clip: int, start: int, out: np.ndarray) -> None:
        number = next(calls)
        if number == 1:
            last.wait(60)
        elif number == 8:
            last.set()
        raise BadSample(f"clip {clip}")

    monkeypatch.setattr(ClipReader, "read", read)
    monkeypatch.setattr(ClipReader, "direct_rows", lambda *arguments: None)
    with Loader(shards, augment="none", on_error="skip", batch_size=8, num_workers=2) as loader:
        batch = next(iter(loader))
        keys = loader.manifest.keys.to_pylist()
    assert list(batch.skipped) == [f"clip {keys.index(key)}" for key in batch.keys]


def test_features_do_not_depend_on_the_old_contents_of_a_buffer(
    one_unreadable: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
):
    """Old contents of a buffer do not matter, neither after the end of a short row nor in a row that cannot be read."""

    enter = borrowed.__enter__

    def features(folder: Path, old_value: float) -> torch.Tensor:
        def filled(shape: tuple[int, ...], dtype: torch.dtype, **_: bool) -> torch.Tensor:
            return torch.full(shape, old_value, dtype=dtype)

        def borrow(scratch: borrowed) -> np.ndarray:
            array = enter(scratch)
            array[:] = old_value
            return array

        for module in (cpu_rows, device_rows):
            monkeypatch.setattr(module, "uninitialized", filled)
        monkeypatch.setattr(borrowed, "__enter__", borrow)
        augment = TimeStretch(0.8, 1.5)
        with Loader(folder, augment=augment, on_error="skip", crops_per_clip=2, num_workers=0) as loader:
            return torch.cat([batch.features for batch in loader])

    for folder in (one_unreadable, shards):
        assert torch.equal(features(folder, 7), features(folder, -9))


@pytest.fixture
def mixed_rates(tmp_path: Path) -> Path:
    """Shards from elsewhere, with clips 0 to 2 at 22,050 Hz and clip 3 at 8,000 Hz."""
    with webdataset.TarWriter(str(tmp_path / "x.tar"), encoder=False) as tar:
        for i, rate in enumerate((22050, 22050, 22050, 8000)):
            tar.write({"__key__": f"a_{i}", "wav": sound(i, rate=rate, frames=40_001 if rate == 8000 else 70_000)})
    index(tmp_path)
    return tmp_path


@pytest.mark.parametrize("rate", [22050, 16_000, 44_100])
def test_clips_of_other_rates_are_resampled(rate: int, mixed_rates: Path, caplog: pytest.LogCaptureFixture):
    """Each row equals that part of the whole clip, resampled by soxr; one warning is logged."""
    with caplog.at_level(logging.WARNING):
        loader = Loader(mixed_rates, augment="none", features=RawWaveform(sample_rate=rate, frames=8192), num_workers=2)
    n_other = 1 if rate == 22050 else 4
    assert caplog.messages[0].startswith(f"{n_other} of 4 clips have another sample rate than the features' {rate} Hz")
    for batch in loader:
        for row, key in enumerate(batch.keys):
            i = int(key[-1])
            data = sound(i, rate=8000 if i == 3 else 22050, frames=40_001 if i == 3 else 70_000)
            whole, _ = audio.decode(data, rate)
            clip = loader.manifest.keys.to_pylist().index(key)
            assert loader.manifest.frames[clip] == len(whole)
            start = int(batch.starts[row])
            np.testing.assert_allclose(batch.features[row, 0], whole[start : start + 8192], atol=1e-6)
        assert batch.weights.all()
    rows = (row for batch in loader.evaluation(chunks="all") for row in zip(batch.keys, batch.weights, strict=True))
    lengths = zip(loader.manifest.keys.to_pylist(), loader.manifest.frames.tolist(), strict=True)
    assert Counter(key for key, weight in rows if weight) == {key: (n + 4096) // 8192 for key, n in lengths}
    assert len(caplog.messages) == 1


def test_shards_at_the_features_rate_log_no_warning(shards: Path, caplog: pytest.LogCaptureFixture):
    Loader(shards).close()
    assert caplog.messages == []


def test_a_rate_that_needs_more_than_memory_holds_is_refused(shards: Path):
    loader = Loader(shards, augment=SpeedPerturb(1e6, 1e6), num_workers=0)
    with loader, pytest.raises(UserError, match=r"SpeedPerturb: a crop would read [\d,]+ samples of its clip, and"):
        next(iter(loader))
