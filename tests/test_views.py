"""Views: several augmentations of each example, the first of which is that of a loader with one view."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.augment import Compose, Gain, TimeStretch
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from tests.augment_cases import untyped

OPTIONS = {"batch_size": 8, "seed": 3, "crops_per_clip": 3, "num_workers": 0}


def test_the_first_view_is_that_of_a_loader_with_one(shards: Path):
    with Loader(shards, **OPTIONS) as one, Loader(shards, views=3, **OPTIONS) as three:
        for single, several in zip(one, three, strict=True):
            assert several.features.shape == (8, 3, 128, 128)
            assert torch.equal(several.features[:, 0], single.features)
            assert several.keys == single.keys
            assert torch.equal(several.labels, single.labels)
            assert np.array_equal(several.starts, single.starts)


def test_views_differ_in_their_draws_and_not_in_their_place(shards: Path):
    augment = Compose([Gain(0.5, 2.0), TimeStretch(0.9, 1.1, p=0.5)])
    with Loader(shards, views=2, augment=augment, **OPTIONS) as loader:
        batch = next(iter(loader))
        first, second = batch.draws
        assert (first.children[0].values["gain"] != second.children[0].values["gain"]).all()
        assert batch.draw.describe(0) == first.describe(0)
    with Loader(shards, views=2, augment="none", **OPTIONS) as loader:
        for batch in loader:
            assert torch.equal(batch.features[:, 0], batch.features[:, 1])


@pytest.mark.parametrize("world_size", [2, 3])
def test_views_do_not_depend_on_the_number_of_ranks(shards: Path, world_size: int):
    def features(rank: int, world_size: int) -> list[torch.Tensor]:
        with Loader(shards, views=2, mixup=0.4, rank=rank, world_size=world_size, **OPTIONS) as loader:
            return [batch.features for batch in loader]

    ranks = [features(rank, world_size) for rank in range(world_size)]
    for alone, *parts in zip(features(0, 1), *ranks, strict=True):
        assert torch.equal(torch.cat(parts), alone)


def test_an_evaluation_has_one_view(shards: Path):
    with Loader(shards, views=2, **OPTIONS) as loader:
        assert next(iter(loader.evaluation())).features.shape == (8, 128, 128)


@pytest.mark.parametrize("views", [0, -1, 65, 1.5, "2", True])
def test_the_number_of_views_is_checked(shards: Path, views):
    with untyped(), pytest.raises(UserError, match="views must be"):
        Loader(shards, views=views)
