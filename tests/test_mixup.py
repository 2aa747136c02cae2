"""mixup: mixtures are pure functions of the example and its neighbour, the same for any number of ranks and workers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream import mixup
from gtzan_stream.augment.draw import Examples
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.plan import rows_of_rank
from tests.augment_cases import untyped

ALPHA = 0.8


def batches(shards: Path, world_size: int = 1, state: dict | None = None, **options):
    """Return features, targets and loss weights of the global batches, joined from all ranks."""
    options = {"batch_size": 8, "mixup": ALPHA, "seed": 3, "num_workers": 0, "crops_per_clip": 3} | options
    ranks = []
    for rank in range(world_size):
        with Loader(shards, rank=rank, world_size=world_size, **options) as loader:
            if state:
                loader.load_state_dict(state)
            ranks.append([(batch.features, batch.targets, batch.keys) for batch in loader])
    joined = []
    for parts in zip(*ranks, strict=True):
        features, targets, keys = zip(*parts, strict=True)
        joined.append((torch.cat(features), torch.cat(targets), [key for part in keys for key in part]))
    return joined


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one[2] == other[2]
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


@given(batch_size=st.integers(1, 200), n_groups=st.integers(1, 12))
def test_the_partner_is_the_next_row_inside_a_short_run(batch_size, n_groups):
    if batch_size % n_groups:
        return
    partner = mixup.partners(batch_size, n_groups)
    assert sorted(partner.tolist()) == list(range(batch_size))
    first = partner[np.argmax(partner < np.arange(batch_size))] if batch_size > 1 else 0
    assert first == 0
    length = int(np.argmax(partner < np.arange(batch_size))) + 1 if batch_size > 1 else 1
    assert batch_size == 1 or (length >= 2 and batch_size % length == 0)
    assert np.array_equal(partner // length, np.arange(batch_size) // length)
    lcm = np.lcm(8, n_groups)
    if batch_size % lcm == 0 and batch_size // lcm >= 2:
        assert length == batch_size // lcm
        for world_size in (1, 2, 4, 8):
            for rank in range(world_size):
                own = rows_of_rank(rank, world_size, batch_size)
                assert {int(partner[row]) for row in own} <= set(own)


def test_mixtures_are_of_a_row_and_its_partner(shards: Path):
    plain = batches(shards, mixup=0.0)
    partner = mixup.partners(8)
    for (features, labels, keys), (mixed, targets, mixed_keys) in zip(plain, batches(shards), strict=True):
        assert keys == mixed_keys
        share = torch.tensor([targets[row, labels[row]] for row in range(8)])
        share = torch.where(labels == labels[partner], torch.nan, share)
        for row in torch.isfinite(share).nonzero().flatten().tolist():
            expected = share[row] * features[row] + (1 - share[row]) * features[partner[row]]
            torch.testing.assert_close(mixed[row], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
        assert targets.argmax(1).tolist() == labels.tolist()


@pytest.mark.parametrize("world_size", [2, 3, 5, 8])
def test_mixtures_do_not_depend_on_the_number_of_ranks(shards: Path, world_size: int):
    """With 3 and 5 ranks, partners belong to other ranks, which make those rows too."""
    assert_equal(batches(shards, world_size), batches(shards))


def test_mixtures_do_not_depend_on_workers_or_a_resume(shards: Path):
    expected = batches(shards)
    assert_equal(batches(shards, num_workers=2), expected)
    with Loader(shards, batch_size=8, seed=3, crops_per_clip=3, num_workers=0) as loader:
        next(iter(loader))
        state = loader.state_dict()
    assert_equal(batches(shards, state=state), expected[1:])


def test_shares_follow_the_beta_distribution_and_the_example():
    keys = [f"k{number}" for number in range(4000)]
    examples = Examples.of(keys, seed=1, epoch=2)
    half = mixup.draw_shares(examples, 1.0)  # Beta(1, 1) is uniform, so its larger part is uniform in 0.5..1
    assert np.histogram(half, bins=5, range=(0.5, 1))[0] == pytest.approx([800] * 5, abs=120)
    assert mixup.draw_shares(examples, 0.05).mean() > 0.95
    assert mixup.draw_shares(examples, 20.0).mean() < 0.6
    assert np.array_equal(mixup.draw_shares(Examples.of(keys[7:8], seed=1, epoch=2), 1.0), half[7:8])
    assert not np.array_equal(mixup.draw_shares(Examples.of(keys, seed=1, epoch=3), 1.0), half)


def test_a_row_that_does_not_count_is_not_mixed_into_another(shards: Path, monkeypatch: pytest.MonkeyPatch):
    """The last batch has fillers: the row before one keeps its label alone."""
    with Loader(shards, batch_size=8, mixup=ALPHA, seed=3, crops_per_clip=1, num_workers=0) as loader:
        *_, last = loader
    assert 0 < last.weights.sum() < 8
    alone = last.weights[mixup.partners(8)] == 0
    assert alone.any()
    assert (last.targets.amax(1)[alone] == 1).all()
    assert (last.targets.amax(1)[~alone] < 1).any()


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_row_without_a_share_of_its_partner_stays_as_it_is(value: float):
    """A partner that does not count may hold anything; the logarithm of silence may be minus infinity."""
    values, partner = torch.tensor([[1.0, value], [2.0, 3.0]]), torch.full((2, 2), value)
    mixed = mixup.mix(values, partner, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(mixed, values, rtol=0, atol=0, equal_nan=True)


def test_an_evaluation_is_not_mixed(shards: Path):
    with Loader(shards, batch_size=8, mixup=ALPHA, num_workers=0) as loader:
        for batch in loader.evaluation():
            assert batch.targets.dtype == torch.int64


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), 10**400, "0.4", None, True])
def test_mixup_is_a_number_of_at_least_zero(shards: Path, value):
    with untyped(), pytest.raises(UserError, match="mixup must be a finite number of at least 0, got"):
        Loader(shards, mixup=value)
