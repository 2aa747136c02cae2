"""SpecAugment: one range of bands and one of frames in each example, as pure functions of it."""

from pathlib import Path

import pytest
import torch

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.spec_augment import spec_augment_mask


def masks(shards: Path, widest: int, **options) -> torch.Tensor:
    """Return the masks of an epoch: bool [example, mel, frame]."""
    with Loader(shards, num_workers=0, seed=3, **options) as loader:
        return torch.cat([spec_augment_mask(batch, widest) for batch in loader])


def test_one_range_of_bands_and_one_of_frames_is_hidden(shards: Path):
    hidden = masks(shards, 24, crops_per_clip=20, batch_size=20)
    bands, frames = hidden.all(dim=2), hidden.all(dim=1)
    assert torch.equal(hidden, bands[:, :, None] | frames[:, None])
    for mask in (bands, frames):
        widths = mask.sum(dim=1)
        edges = mask.int().diff(dim=1, prepend=torch.zeros(len(mask), 1, dtype=torch.int)) == 1
        assert edges.sum(dim=1).max() == 1  # one range
        assert (widths.min(), widths.max()) == (0, 24)
        assert 10.5 < widths.float().mean() < 13.5  # 12 expected, deviation 0.4
        assert mask[:, 0].any()
        assert mask[:, -1].any()
        assert len(mask.unique(dim=0)) > len(mask) // 2


def test_masks_are_pure_functions_of_the_example(shards: Path):
    options = {"batch_size": 8, "crops_per_clip": 3}
    alone = masks(shards, 24, **options)
    ranks = [masks(shards, 24, rank=rank, world_size=2, **options) for rank in range(2)]
    joined = torch.cat([part for pair in zip(*(rank.split(4) for rank in ranks), strict=True) for part in pair])
    assert torch.equal(joined, alone)
    with Loader(shards, num_workers=0, seed=3, **options) as loader:
        first, second = (next(iter(loader)) for _ in range(2))
        assert torch.equal(spec_augment_mask(first, 24), spec_augment_mask(second, 24))
        loader.set_epoch(1)
        assert not torch.equal(spec_augment_mask(next(iter(loader)), 24), spec_augment_mask(first, 24))


def test_masks_can_have_the_size_of_other_features(shards: Path):
    with Loader(shards, num_workers=0) as loader:
        batch = next(iter(loader))
    hidden = spec_augment_mask(batch, 8, n_rows=40, n_frames=20)
    assert hidden.shape == (16, 40, 20)
    assert hidden.any()
    with pytest.raises(UserError, match="the widest mask must be at most 20, got 21"):
        spec_augment_mask(batch, 21, n_rows=40, n_frames=20)


def test_each_view_has_a_mask_of_its_own(shards: Path):
    with Loader(shards, num_workers=0, views=2) as loader:
        hidden = spec_augment_mask(next(iter(loader)), 64)
    assert hidden.shape == (16, 2, 128, 128)
    assert not torch.equal(hidden[:, 0], hidden[:, 1])
