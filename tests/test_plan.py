"""The order of an epoch: a permutation, equal for any number of ranks, different every epoch, and local to blocks."""

from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream.plan import EpochPlan


def make(n_clips=23, n_shards=4, crops=3, batch_size=8, **options) -> EpochPlan:
    """Some clips of a set that has more of them, in some of its shards, which hold different numbers of clips."""
    shards = 1 + 2 * np.sort(np.arange(n_clips) % n_shards)
    return EpochPlan(clips=np.arange(n_clips) * 10, shards=shards, crops=crops, batch_size=batch_size, **options)


def examples(plan: EpochPlan, world_size: int = 1) -> list[tuple[int, int]]:
    """List the examples of weight 1 in the order of the global batches, merged from all ranks."""
    out = []
    for batch in range(len(plan)):
        parts = [plan.rows(batch, rank, world_size) for rank in range(world_size)]
        for row in range(plan.batch_size // world_size):
            for part in parts:
                if part.weights[row]:
                    out.append((int(part.clips[row]), int(part.crops[row])))
    return out


@settings(max_examples=60, deadline=None)
@given(
    n_clips=st.integers(1, 40),
    n_shards=st.integers(1, 7),
    crops=st.integers(1, 5),
    batch_size=st.sampled_from([1, 4, 12]),
    shuffle_shards=st.sampled_from([None, 1, 2, 3]),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
)
def test_an_epoch_is_a_permutation_on_any_number_of_ranks(
    n_clips, n_shards, crops, batch_size, shuffle_shards, seed, epoch
):
    plan = make(n_clips, n_shards, crops, batch_size, seed=seed, epoch=epoch, shuffle_shards=shuffle_shards)
    order = examples(plan)
    assert sorted(order) == [(10 * clip, crop) for clip in range(n_clips) for crop in range(crops)]
    assert len(plan) == -(-len(order) // batch_size)
    for world_size in (2, 4):
        if batch_size % world_size == 0:
            assert examples(plan, world_size) == order


def test_epochs_and_seeds_differ():
    orders = [examples(make(seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])
    assert examples(make(seed=1, epoch=2)) != examples(make(seed=2, epoch=1))  # not a function of their sum


@settings(max_examples=100, deadline=None)
@given(
    crops=st.one_of(st.integers(1, 5), st.lists(st.integers(1, 5), min_size=30, max_size=30)),
    n_clips=st.integers(1, 30),
    n_shards=st.integers(1, 7),
    batch_size=st.sampled_from([1, 4, 12]),
    shuffle_shards=st.sampled_from([None, 1, 2, 3, 7]),
    shuffle=st.booleans(),
)
def test_blocks_of_shards_follow_one_another(crops, n_clips, n_shards, batch_size, shuffle_shards, shuffle):
    """Every example is in a shard of the block at its position in the epoch; without shuffling, all are in order."""
    crops = crops if isinstance(crops, int) else np.array(crops[:n_clips])
    plan = make(n_clips, n_shards, crops, batch_size, shuffle=shuffle, shuffle_shards=shuffle_shards)
    blocks = [shards.tolist() for shards in takewhile(len, map(plan.shards_of, range(n_shards + 1)))]
    everything = np.unique(plan.shards).tolist()
    assert sorted(shard for block in blocks for shard in block) == everything
    assert {len(block) for block in blocks[:-1]} <= {shuffle_shards}
    assert len(blocks[-1]) <= (shuffle_shards or len(everything))
    shard_of = dict(zip(plan.clips.tolist(), plan.shards.tolist(), strict=True))
    n_examples = np.broadcast_to(crops, n_clips)
    block_at = [
        number for number, block in enumerate(blocks) for _ in range(n_examples[np.isin(plan.shards, block)].sum())
    ]
    order = examples(plan)
    in_order = [(clip, crop) for clip, n in zip(plan.clips.tolist(), n_examples, strict=True) for crop in range(n)]
    assert (sorted(order) if shuffle else order) == in_order
    assert all(shard_of[clip] in blocks[block] for (clip, _), block in zip(order, block_at, strict=True))
    assert [plan.block_of(batch) for batch in range(len(plan))] == block_at[::batch_size]


def test_order_looks_uniform():
    """Over many epochs each example has each position about equally often: chi-square, 14 x 14 degrees of freedom."""
    n, epochs = 15, 1500
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        plan = make(n_clips=5, n_shards=1, crops=3, batch_size=n, epoch=epoch)
        rows = plan.rows(0)
        counts[np.arange(n), rows.clips // 10 * 3 + rows.crops] += 1
    expected = epochs / n
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert 120 < chi2 < 290  # 196 expected, standard deviation 20


def test_any_batch_of_ten_million_clips_can_be_computed_alone():
    n = 10_000_000
    plan = EpochPlan(
        clips=np.arange(n),
        shards=np.arange(n, dtype=np.int32) // 1000,
        crops=8,
        batch_size=64,
        seed=1,
        shuffle_shards=16,
    )
    assert len(plan) == n * 8 // 64
    assert len(set(plan.rows(len(plan) - 1).clips.tolist())) > 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": np.array([])}, "at least one clip"),
        ({"shards": np.zeros(2)}, "a shard for each of 3 clips, got 2"),
        ({"shards": np.zeros(4)}, "a shard for each of 3 clips, got 4"),
        ({"shards": np.array([0, 1, 0])}, "grouped by shard"),
        ({"crops": 0}, "crops must be at least 1 per clip, got 0"),
        ({"crops": np.array([1, 0, 2])}, "crops must be at least 1 per clip, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"shuffle_shards": 0}, "shuffle_shards must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    options = {"clips": np.arange(3), "shards": np.zeros(3), "crops": 1, "batch_size": 2} | change
    with pytest.raises(ValueError, match=message):
        EpochPlan(**options)


def test_fillers_repeat_the_last_examples():
    rows = make(n_clips=5, n_shards=5, crops=1, batch_size=4, shuffle_shards=1, seed=2).rows(1)
    assert rows.weights.tolist() == [1, 0, 0, 0]
    assert rows.clips[0] == rows.clips[1]
    tiny = make(n_clips=1, n_shards=1, crops=1, batch_size=4).rows(0)
    assert tiny.clips.tolist() == [0, 0, 0, 0]


def shard_order(plan: EpochPlan) -> list[int]:
    """List the shards in the order in which they are first read."""
    shard_of = {int(clip): int(shard) for clip, shard in zip(plan.clips, plan.shards, strict=True)}
    return list(dict.fromkeys(shard_of[clip] for clip, _ in examples(plan)))


def test_the_order_of_shards_differs_by_epoch():
    orders = [shard_order(make(n_clips=40, n_shards=8, shuffle_shards=1, seed=1, epoch=epoch)) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_inside_a_shard_differs_by_epoch_and_by_shard():
    def order_by_shard(epoch: int) -> dict[int, list[tuple[int, int]]]:
        plan = make(n_clips=40, n_shards=4, shuffle_shards=1, seed=1, epoch=epoch)
        order: dict[int, list[tuple[int, int]]] = {}
        for clip, crop in examples(plan):
            order.setdefault(clip // 100, []).append((clip % 100, crop))  # ten clips a shard, numbered by tens
        return order

    epochs = [order_by_shard(epoch) for epoch in range(2)]
    assert all(sorted(order) == sorted(epochs[0][0]) for epoch in epochs for order in epoch.values())
    assert len({tuple(order) for epoch in epochs for order in epoch.values()}) == 8


def test_shuffle_shards_of_the_number_of_shards_or_more_mixes_all():
    everything = examples(make(n_clips=40, n_shards=4, seed=1))
    assert examples(make(n_clips=40, n_shards=4, seed=1, shuffle_shards=4)) == everything
    assert examples(make(n_clips=40, n_shards=4, seed=1, shuffle_shards=9)) == everything
    assert examples(make(n_clips=40, n_shards=4, seed=1, shuffle_shards=3)) != everything
