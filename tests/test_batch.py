"""A batch: its metadata, and how trainers move and copy it."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch

from gtzan_stream.augment import Compose, Gain, TimeShift
from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader

TENSORS = ("features", "labels", "targets", "weights", "loss_weights")


@pytest.fixture
def loader(shards) -> Loader:
    return Loader(shards, batch_size=6, augment="strong", seed=3, num_workers=0)


@pytest.fixture
def batch(loader) -> Batch:
    return next(iter(loader))


def test_a_batch_is_an_ordinary_dataclass(batch):
    """Lightning and other trainers replace the fields of a copy."""
    assert dataclasses.is_dataclass(batch)
    batch.features = batch.features + 1
    assert dataclasses.replace(batch, labels=batch.labels).labels is batch.labels


def test_a_batch_unpacks_as_features_and_labels(batch):
    features, labels = batch
    assert features is batch.features
    assert labels is batch.labels
    assert len(batch) == len(batch.keys) == 6


def test_the_repr_is_one_short_line(batch):
    assert repr(batch) == "Batch(6 rows of epoch 0: features [6, 128, 128] float32 on cpu)"


def test_to_moves_the_tensors_and_nothing_else(batch):
    moved = batch.to("meta", non_blocking=True)
    assert moved.labels is moved.targets  # moved once
    for name in TENSORS:
        assert getattr(moved, name).device.type == "meta"
        assert getattr(batch, name).device.type == "cpu"
        assert getattr(moved, name).shape == getattr(batch, name).shape
    assert moved.keys is batch.keys
    assert (moved.epoch, moved.seed, moved.transform) == (batch.epoch, batch.seed, batch.transform)


def test_to_passes_non_blocking_to_every_tensor(batch, monkeypatch):
    passed = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *args, **kwargs: passed.append(kwargs) or tensor)
    batch.to("cpu", non_blocking=True)
    assert passed == [{"non_blocking": True}] * 4  # the labels are the targets


def test_pin_memory_pins_every_tensor(batch, cuda):
    pinned = batch.pin_memory()
    assert all(getattr(pinned, name).is_pinned() for name in TENSORS)


def test_pin_memory_is_called_for_every_tensor(batch, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    pinned = batch.pin_memory()
    assert all(torch.equal(getattr(pinned, name), getattr(batch, name) + 1) for name in TENSORS)


def test_the_draw_of_a_batch_has_the_parameters_of_its_rows(loader):
    for _ in range(2):
        for batch in loader:
            draw = loader.transform.draw(batch.keys, seed=3, epoch=batch.epoch, crops=batch.crops)
            assert [batch.draw.describe(row) for row in range(6)] == [draw.describe(row) for row in range(6)]
            assert (batch.draw.key_hash == draw.key_hash).all()
    assert batch.epoch == 1


def test_the_crops_of_a_clip_have_different_draws(shards):
    gains: dict[str, list[float]] = {}
    for batch in Loader(shards, augment=Gain(0.5, 2.0), batch_size=8):
        values = batch.draw.values["gain"][batch.weights.numpy() > 0].tolist()
        for key, gain in zip(np.array(batch.keys)[batch.weights.numpy() > 0], values, strict=True):
            gains.setdefault(key, []).append(gain)
    assert gains
    assert all(len(set(values)) == len(values) == 8 for values in gains.values())


def test_the_draw_and_the_starts_reproduce_the_features(shards):
    """Read each clip, apply the transform and compute the features, as the loader does."""
    from gtzan_stream.store.read import ClipReader

    transform = Compose([Gain(0.5, 2.0), TimeShift(-700, 700)])
    loader = Loader(shards, batch_size=6, augment=transform, seed=3, num_workers=0)
    geometry, reader = loader.features.geometry, ClipReader(loader.manifest)
    batch = next(iter(loader))
    source = batch.transform.source(geometry.read_length, batch.draw)
    keys = loader.manifest.keys.to_pylist()
    for row in np.flatnonzero(batch.valid_frames == geometry.frames):
        samples = np.empty(source.length[row], reader.dtype)
        reader.read(
            keys.index(batch.keys[row]), int(batch.starts[row] - geometry.context - source.before[row]), samples
        )
        waveform = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        out = batch.transform.apply(waveform, batch.draw[row : row + 1], geometry.read_length)
        torch.testing.assert_close(loader.features(out)[0], batch.features[row], rtol=0, atol=1e-6)


def test_chunks_of_an_evaluation_start_one_stride_apart(loader):
    for batch in loader.evaluation(chunks="all"):
        assert batch.starts.tolist() == (batch.crops * 128 * 512).tolist()
        assert batch.epoch == 0


def test_unaugmented_is_the_crop_without_augmentation(loader, shards):
    batch = next(iter(loader))
    unaugmented = loader.unaugmented(batch)
    assert unaugmented.shape == batch.features.shape
    assert not torch.equal(unaugmented, batch.features)
    plain = Loader(shards, batch_size=6, augment="none", seed=3, num_workers=0)
    other = next(iter(plain))
    assert other.keys == batch.keys
    assert torch.equal(plain.unaugmented(other), other.features)


def test_unaugmented_needs_a_batch_of_this_loader(loader, batch):
    with pytest.raises(UserError, match="has no clip with the key 'another_key': its keys are like '"):
        loader.unaugmented(dataclasses.replace(batch, keys=["another_key", *batch.keys[1:]]))
    with torch.inference_mode():
        assert not loader.unaugmented(batch).is_inference()


def test_a_batch_can_be_pickled_and_copied(batch):
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        assert torch.equal(other.features, batch.features)
        assert other.draw.describe(0) == batch.draw.describe(0)
