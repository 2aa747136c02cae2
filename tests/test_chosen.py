"""Batches of chosen examples, and the waveforms that features were computed from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream import Loader
from gtzan_stream.augment import Gain, Transform, recipe
from gtzan_stream.dsp.backend import force
from gtzan_stream.errors import UserError
from gtzan_stream.features import RawWaveform


@pytest.fixture
def loader(shards: Path) -> Iterator[Loader]:
    with Loader(shards, batch_size=6, augment="strong", seed=3, num_workers=0) as loader:
        yield loader


def test_chosen_examples_are_those_of_training(loader: Loader):
    loader.set_epoch(4)
    batches = list(loader)
    rows = {}
    for batch in batches:
        for row, key in enumerate(batch.keys):
            rows[key, int(batch.crops[row])] = batch, row
    chosen = sorted(rows)[::5]
    found = loader.batch_of([key for key, _ in chosen], [crop for _, crop in chosen], epoch=4)
    assert [*zip(found.keys, found.crops.tolist(), strict=True)] == chosen
    for i, example in enumerate(chosen):
        batch, row = rows[example]
        assert torch.equal(found.features[i], batch.features[row])
        assert found.starts[i] == batch.starts[row]
        assert found.labels[i] == batch.labels[row]
        assert found.draw.describe(i) == batch.draw.describe(row)
    assert found.epoch == 4
    torch.testing.assert_close(found.loss_weights.sum(), torch.tensor(1.0))


def test_one_index_is_that_of_all_crops(loader: Loader):
    keys = loader.manifest.keys.to_pylist()[:3]
    found = loader.batch_of(keys, 2, epoch=1)
    assert found.crops.tolist() == [2, 2, 2]
    assert torch.equal(found.features, loader.batch_of(keys, [2, 2, 2], epoch=1).features)


def test_chosen_examples_are_not_mixed(shards: Path, loader: Loader):
    keys = loader.manifest.keys.to_pylist()[:3]
    with Loader(shards, batch_size=6, augment="strong", seed=3, num_workers=0, mixup=0.4) as mixing:
        assert torch.equal(mixing.batch_of(keys).features, loader.batch_of(keys).features)


def test_examples_that_do_not_exist_are_refused(loader: Loader):
    key = loader.manifest.keys[0].as_py()
    with pytest.raises(UserError, match=rf"has no clip with the key 'jaz': its keys are like '{key}'"):
        loader.batch_of([key, "jaz"])
    with pytest.raises(UserError, match="crops: expected one for each of 2 keys, got 1"):
        loader.batch_of([key, key], [1])
    with pytest.raises(UserError, match="crop must be at least 0, got -1"):
        loader.batch_of([key], -1)
    with pytest.raises(UserError, match="epoch must be at least 0, got -2"):
        loader.batch_of([key], epoch=-2)


def test_a_closed_loader_computes_nothing(loader: Loader):
    batch = next(iter(loader))
    loader.close()
    for call in (loader.waveforms, loader.unaugmented, lambda batch: loader.batch_of(batch.keys)):
        with pytest.raises(UserError, match="closed"):
            call(batch)


@pytest.mark.parametrize(
    ("augment", "path"),
    [
        *((name, "numba") for name in ("none", "study", "strong")),
        ("none", "torch"),
        pytest.param("study", "torch", marks=pytest.mark.slow),  # `strong` has all that it has
        ("strong", "torch"),
    ],
)
def test_features_of_the_waveforms_are_those_of_the_batch(shards: Path, augment: str, path: str):
    n = 16 if path == "numba" else 8
    with force(path), Loader(shards, batch_size=n, augment=augment, seed=5, num_workers=0) as loader:
        batch = next(iter(loader))
        heard = loader.waveforms(batch)
        assert heard.shape == (n, loader.features.geometry.read_length)
        assert heard.dtype == torch.float32
        again = loader.features(heard)
        whole = batch.valid_frames == 128
        assert whole.sum() > n / 2
        torch.testing.assert_close(again[whole], batch.features[whole], rtol=0, atol=1e-6)


def test_waveforms_are_those_of_raw_features(shards: Path):
    raw = RawWaveform(frames=30_000)
    with Loader(shards, batch_size=8, augment="strong", features=raw, num_workers=0) as loader:
        batch = next(iter(loader))
        inside = torch.from_numpy(np.arange(30_000) < batch.valid_frames[:, None])
        assert torch.equal(torch.where(inside, loader.waveforms(batch), 0), batch.features[:, 0])


def test_untouched_waveforms_are_samples_of_the_clip(loader: Loader):
    batch = next(iter(loader))
    untouched = loader.waveforms(batch, augmented=False)
    context = loader.features.geometry.context
    for row, key in enumerate(batch.keys):
        clip = loader.manifest.keys.index(key).as_py()
        whole = loader._maker._reader
        samples = np.empty(4000, whole.dtype)
        whole.read(clip, int(batch.starts[row]), samples)
        np.testing.assert_allclose(untouched[row, context : context + 4000], samples / 32768, atol=1e-7)


def test_another_transform_is_applied_at_the_same_place(loader: Loader):
    batch = next(iter(loader))
    twice: Transform = Gain(2.0, 2.0)
    other = replace(batch, transform=twice)
    untouched = loader.waveforms(batch, augmented=False)
    torch.testing.assert_close(loader.waveforms(other), 2 * untouched)
    features = loader.transformed(batch, twice)
    assert torch.equal(features, loader.transformed(other, twice))
    whole = batch.valid_frames == 128
    torch.testing.assert_close(loader.features(2 * untouched)[whole], features[whole], rtol=0, atol=1e-6)
    assert torch.equal(loader.transformed(batch, recipe("strong"))[whole], batch.features[whole])


def test_chunks_of_an_evaluation_can_be_heard(loader: Loader):
    batch = next(iter(loader.evaluation(chunks="all")))
    whole = batch.valid_frames == 128
    heard = loader.waveforms(batch)
    torch.testing.assert_close(loader.features(heard)[whole], batch.features[whole], rtol=0, atol=1e-6)


def test_waveforms_on_a_gpu_are_those_of_its_features(shards: Path, cuda: torch.device):
    with Loader(shards, batch_size=16, augment="strong", seed=5, num_workers=0, device=cuda) as loader:
        batch = next(iter(loader))
        heard = loader.waveforms(batch)
        assert heard.device.type == "cuda"
        whole = torch.from_numpy(batch.valid_frames == 128).to(cuda)
        torch.testing.assert_close(loader.features(heard)[whole], batch.features[whole], rtol=0, atol=1e-5)
        chosen = loader.batch_of(batch.keys, batch.crops.tolist())
        torch.testing.assert_close(chosen.features, batch.features, rtol=0, atol=1e-5)
