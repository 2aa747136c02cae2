"""Transforms, features and batches can be copied and pickled, as trainers do; copies give equal results."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gtzan_stream.loader import Loader
from tests.augment_cases import REGISTRY, keys, music
from tests.feature_cases import FEATURES

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", REGISTRY)
def test_a_copied_transform_draws_and_computes_the_same(name: str, how: str):
    transform = REGISTRY[name](1.0)
    copied, waveform = COPIES[how](transform), music(2, 20_000)
    assert torch.equal(copied(waveform, keys(2), epoch=3), transform(waveform, keys(2), epoch=3))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", FEATURES)
def test_a_copied_feature_computes_the_same(name: str, how: str):
    features = FEATURES[name]
    copied, waveform = COPIES[how](features), music(2, 70_000)
    assert copied.geometry == features.geometry
    assert torch.equal(copied(waveform), features(waveform))


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_batch_holds_the_same(how: str, shards: Path):
    with Loader(shards, batch_size=4, num_workers=0) as loader:
        batch = next(iter(loader))
    copied = COPIES[how](batch)
    assert torch.equal(copied.features, batch.features)
    assert copied.keys == batch.keys
    assert copied.draw.describe(0) == batch.draw.describe(0)
