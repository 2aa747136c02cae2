"""On the CPU, each row is read and computed by one thread."""

import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.augment import Gain
from gtzan_stream.dsp.backend import force
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.loader import Loader
from gtzan_stream.store.open_shards import OpenShards
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import cores


@pytest.mark.parametrize("features", [LogMel, RawWaveform])
@pytest.mark.parametrize("augment", ["none", "study"])
def test_rows_computed_one_by_one_equal_those_of_a_whole_batch(features: type, augment: str, shards: Path):
    def batches() -> list[torch.Tensor]:
        with Loader(shards, augment=augment, features=features(), batch_size=10, num_workers=0) as loader:
            return [batch.features for batch in islice(loader, 2)]

    by_row = batches()
    with force("torch"):
        for one, other in zip(by_row, batches(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=3e-4)


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_more_workers_than_cores_read_at_the_same_time(path, shards: Path, monkeypatch: pytest.MonkeyPatch):
    n, read = cores() + 2, ClipReader.read
    waiting = threading.Barrier(n, timeout=30)

    def slow(reader: ClipReader, clip: int, start: int, out: np.ndarray) -> None:
        waiting.wait()
        read(reader, clip, start, out)

    monkeypatch.setattr(ClipReader, "read", slow)
    monkeypatch.setattr(ClipReader, "direct_rows", lambda *arguments: None)
    with force(path), Loader(shards, augment="none", batch_size=n, num_workers=n) as loader:
        clips = loader._plan(0).rows(0, range(n)).clips
        draw = loader.transform.draw(np.arange(n, dtype=np.uint64))
        features = loader._maker.compute_crops(clips, np.full(n, 4096), loader.transform, draw)
        assert features.isfinite().all()


@pytest.mark.parametrize("path", ["numba", "torch"])
def test_features_compute_one_batch_at_a_time(path: str, shards: Path):
    class Counting(RawWaveform):
        def __init__(self) -> None:
            super().__init__(frames=4096)
            self.running, self.most = 0, 0

        def forward(self, waveform: torch.Tensor) -> torch.Tensor:
            self.running += 1
            self.most = max(self.most, self.running)
            time.sleep(0.02)
            self.running -= 1
            return super().forward(waveform)

    features = Counting()
    with force(path), Loader(shards, augment="none", features=features, batch_size=4, num_workers=1) as loader:
        assert len(list(loader)) > 4
    assert features.most == 1


def test_shards_are_opened_before_the_rows_are_shared_out(shards: Path, monkeypatch: pytest.MonkeyPatch):
    """Else a download would keep the threads that all loaders share from their work."""
    calls, get = [], OpenShards.get

    def recorded(self: OpenShards, shard: int):
        calls.append((self, shard, threading.current_thread()))
        return get(self, shard)

    monkeypatch.setattr(OpenShards, "get", recorded)
    with Loader(shards, batch_size=30, num_workers=0) as loader:
        next(iter(loader))
        opened = {}
        for reader, shard, thread in calls:
            if reader is loader._maker._reader._shards:
                opened.setdefault(shard, thread)
        assert opened == dict.fromkeys(range(len(loader.manifest.shards)), threading.current_thread())


def test_the_rows_of_a_batch_may_have_other_lengths(shards: Path):
    """A row in scratch memory is exactly as long as its segment, so it equals the row of any other batch."""
    rows = {}
    for batch_size in (5, 9):
        with Loader(shards, augment="strong", batch_size=batch_size, num_workers=0, crops_per_clip=1) as loader:
            for batch in loader:
                for key, features, weight in zip(batch.keys, batch.features, batch.weights, strict=True):
                    if weight:
                        assert torch.equal(rows.setdefault(key, features), features)
    assert len(rows) >= 9


def test_an_unchanged_crop_equals_the_first_samples_of_an_amplified_one(shards: Path):
    """One is computed from int16, the other from float32."""
    with Loader(shards, augment=Gain(1.0, 1.0), num_workers=0) as changed, Loader(shards, augment="none") as unchanged:
        for one, other in zip(changed, unchanged, strict=True):
            torch.testing.assert_close(one.features, other.features, rtol=0, atol=1e-6)
