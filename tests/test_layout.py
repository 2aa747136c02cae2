"""Groups of shards: each example is in one group, groups are balanced, and rows stay in the shards of their group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream.layout import Layout
from gtzan_stream.plan import EpochPlan
from tests.conftest import MANY
from tests.test_plan import make, rows


@settings(max_examples=50 * MANY, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=30),
    crops=st.integers(1, 3),
    rows_per_group=st.integers(1, 4),
    shuffle_shards=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 2**63 - 1),
    data=st.data(),
)
def test_a_group_reads_its_own_shards_and_the_stated_surplus(sizes, crops, rows_per_group, shuffle_shards, seed, data):
    """Each example is in one group; groups are balanced; rows of a group, fillers too, stay in its shards and block."""
    n_groups = data.draw(st.integers(2, len(sizes)))
    shards = np.repeat(np.arange(len(sizes)), sizes)
    layout = Layout.of_clips(
        np.arange(len(shards)),
        shards,
        crops=crops,
        batch_size=rows_per_group * n_groups,
        n_groups=n_groups,
        seed=seed,
    )
    pieces, slots = layout.pieces, layout.n_batches * rows_per_group
    covered = np.concatenate([np.arange(f, f + n) for f, n in zip(pieces.first, pieces.size, strict=True)])
    assert sorted(covered.tolist()) == list(range(layout.n_examples))
    assert layout.group_sizes.min() >= 1
    assert layout.group_sizes.max() <= slots
    own = [pieces.shard[pieces.bounds[g] : pieces.bounds[g + 1]].tolist() for g in range(n_groups)]
    assert sum(map(len, own)) - len(sizes) <= 2 * n_groups  # so many pieces of shards have moved at most
    epochs = [EpochPlan(layout, epoch, shuffle_shards=shuffle_shards) for epoch in range(2)]
    for plan in epochs:
        for batch in range(len(plan)):
            part = plan.rows(batch, range(layout.batch_size))
            for row, (clip, weight) in enumerate(zip(part.clips.tolist(), part.weights.tolist(), strict=True)):
                group = row // rows_per_group
                ((_, block),) = plan.blocks(batch, range(row, row + 1))
                assert shards[clip] in own[group]
                if weight and rows_per_group == 1:  # more rows may reach over a block that is shorter than they are
                    assert shards[clip] in plan.shards_of(group, block)


def test_groups_are_dealt_in_rounds_and_the_surplus_moves():
    """The example of the module's docstring."""
    shards = np.repeat(np.arange(5), [6, 5, 4, 3, 2])
    layout = Layout.of_clips(np.arange(20), shards, crops=1, batch_size=4, n_groups=2)
    pieces = layout.pieces
    assert pieces.bounds.tolist() == [0, 3, 6]
    assert pieces.shard.tolist() == [0, 3, 4, 1, 2, 4]
    assert pieces.first.tolist() == [0, 15, 18, 6, 11, 19]
    assert pieces.size.tolist() == [6, 3, 1, 5, 4, 1]


def test_equal_shards_are_dealt_by_the_seed_and_the_same_in_each_epoch():
    def groups(seed: int, epoch: int) -> list[list[int]]:
        plan = make(n_clips=64, n_shards=32, batch_size=8, n_groups=4, seed=seed, epoch=epoch)
        return [sorted(plan.shards_of(group, 0).tolist()) for group in range(4)]

    assert groups(1, 0) == groups(1, 5)
    assert groups(1, 0) != groups(2, 0)
    assert sorted(shard for group in groups(1, 0) for shard in group) == list(range(1, 64, 2))
    assert {len(group) for group in groups(1, 0)} == {8}


def test_groups_have_orders_of_their_own_that_differ_by_epoch():
    def positions(epoch: int) -> list[list[int]]:
        plan = make(n_clips=64, n_shards=4, crops=1, batch_size=4, n_groups=4, epoch=epoch)
        batches = [plan.rows(batch, range(4)).clips // 10 % 16 for batch in range(16)]
        return np.stack(batches, 1).tolist()

    orders = positions(0) + positions(1)
    assert len({tuple(order) for order in orders}) == 8


def test_unequal_groups_fill_their_last_batches():
    """With 2 groups of 5 and 3 clips and 4 slots each, one clip moves; a group that is short repeats its own clips."""
    shards = np.repeat([0, 1], [5, 3])
    whole = EpochPlan(Layout.of_clips(np.arange(8), shards, crops=1, batch_size=4, n_groups=2))
    found = [rows(whole, batch) for batch in range(2)]
    assert sorted(clip for batch in found for clip, *_ in batch) == list(range(8))
    short = EpochPlan(Layout.of_clips(np.arange(6), np.repeat([0, 1], [4, 2]), crops=1, batch_size=4, n_groups=2))
    assert [short.n_examples(batch) for batch in range(2)] == [4, 2]
    last = rows(short, 1)
    assert [weight for *_, weight in last] == [1, 1, 0, 0]
    assert sorted(clip for clip, *_ in last[2:]) == [4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": np.array([])}, "at least one clip"),
        ({"shards": np.zeros(2)}, "must hold the 3 clips, got 2"),
        ({"shards": np.zeros(4)}, "must hold the 3 clips, got 4"),
        ({"shards": np.array([0, 1, 0])}, "grouped by shard"),
        ({"crops": 0}, "crops must be at least 1 per clip, got 0"),
        ({"crops": np.array([1, 0, 2])}, "crops must be at least 1 per clip, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"n_groups": 2}, "shard_groups must be at most the 1 shards, got 2"),
        ({"n_groups": 0}, "shard_groups must be at most the 1 shards, got 0"),
        ({"n_groups": 2, "shards": np.arange(3), "batch_size": 3}, "shard_groups must divide batch_size 3, got 2"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    options = {"clips": np.arange(3), "shards": np.zeros(3), "crops": 1, "batch_size": 2} | change
    with pytest.raises(ValueError, match=message):
        Layout.of_clips(options.pop("clips"), options.pop("shards"), **options)
