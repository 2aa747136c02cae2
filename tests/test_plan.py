"""The order of an epoch: a permutation, equal for any number of ranks, different every epoch, and local to blocks."""

from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream.layout import Layout
from gtzan_stream.plan import EpochPlan, rows_of_rank

ORDER = {"epoch", "shuffle", "shuffle_shards"}


def make(n_clips=23, n_shards=4, crops=3, batch_size=8, **options) -> EpochPlan:
    """Some clips of a set that has more of them, in some of its shards, which hold different numbers of clips."""
    shards = 1 + 2 * np.sort(np.arange(n_clips) % n_shards)
    order = {name: options.pop(name) for name in ORDER & options.keys()}
    layout = Layout.of_clips(np.arange(n_clips) * 10, shards, crops=crops, batch_size=batch_size, **options)
    return EpochPlan(layout, **order)


def shard_of(plan: EpochPlan) -> dict[int, int]:
    """Return the shard of each clip of a plan."""
    shards = np.repeat(plan.layout.shards, plan.layout.clips_per_shard)
    return dict(zip(plan.layout.clips.tolist(), shards.tolist(), strict=True))


def rows(plan: EpochPlan, batch: int, world_size: int = 1) -> list[tuple[int, int, float]]:
    """List clip, crop and weight of each row of a global batch, rank by rank."""
    out = []
    for rank in range(world_size):
        part = plan.rows(batch, rows_of_rank(rank, world_size, plan.layout.batch_size))
        out += list(zip(part.clips.tolist(), part.crops.tolist(), part.weights.tolist(), strict=True))
    return out


def examples(plan: EpochPlan, world_size: int = 1) -> list[tuple[int, int]]:
    """List the examples of weight 1 in the order of the global batches, merged from all ranks."""
    every = [row for batch in range(len(plan)) for row in rows(plan, batch, world_size)]
    return [(clip, crop) for clip, crop, weight in every if weight]


@settings(max_examples=60, deadline=None)
@given(
    n_clips=st.integers(1, 40),
    n_shards=st.integers(1, 7),
    crops=st.integers(1, 5),
    batch_size=st.sampled_from([1, 4, 7, 12]),
    shuffle_shards=st.sampled_from([None, 1, 2, 3]),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
    data=st.data(),
)
def test_an_epoch_is_a_permutation_on_any_number_of_ranks(
    n_clips, n_shards, crops, batch_size, shuffle_shards, seed, epoch, data
):
    most = min(n_shards, n_clips)
    n_groups = data.draw(st.sampled_from([n for n in range(1, most + 1) if batch_size % n == 0]))
    plan = make(
        n_clips, n_shards, crops, batch_size, seed=seed, epoch=epoch, shuffle_shards=shuffle_shards, n_groups=n_groups
    )
    batches = [rows(plan, batch) for batch in range(len(plan))]
    order = [(clip, crop) for batch in batches for clip, crop, weight in batch if weight]
    assert sorted(order) == [(10 * clip, crop) for clip in range(n_clips) for crop in range(crops)]
    assert len(plan) == -(-len(order) // batch_size)
    assert [plan.n_examples(number) for number in range(len(plan))] == [
        sum(weight == 1 for *_, weight in batch) for batch in batches
    ]
    for world_size in range(2, batch_size + 1):
        assert [rows(plan, batch, world_size) for batch in range(len(plan))] == batches


@settings(max_examples=100, deadline=None)
@given(batch_size=st.integers(1, 60), data=st.data())
def test_ranks_share_a_batch_in_contiguous_runs_of_nearly_equal_length(batch_size, data):
    world_size = data.draw(st.integers(1, batch_size))
    runs = [rows_of_rank(rank, world_size, batch_size) for rank in range(world_size)]
    assert [row for run in runs for row in run] == list(range(batch_size))
    assert all(row * world_size // batch_size == rank for rank, run in enumerate(runs) for row in run)
    assert max(map(len, runs)) - min(map(len, runs)) <= 1
    assert min(map(len, runs)) >= 1


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
    numbers = range(n_shards + 1)
    blocks = [shards.tolist() for shards in takewhile(len, (plan.shards_of(0, block) for block in numbers))]
    everything = plan.layout.shards.tolist()
    assert sorted(shard for block in blocks for shard in block) == everything
    assert {len(block) for block in blocks[:-1]} <= {shuffle_shards}
    assert len(blocks[-1]) <= (shuffle_shards or len(everything))
    assert plan.shards_at_once(range(batch_size)) == min(2 * (shuffle_shards or len(everything)), len(everything))
    n_examples, shard = np.broadcast_to(crops, n_clips), shard_of(plan)
    of_clip = np.array(list(shard.values()))
    block_at = [number for number, block in enumerate(blocks) for _ in range(n_examples[np.isin(of_clip, block)].sum())]
    order = examples(plan)
    in_order = [(clip, crop) for clip, n in zip(shard, n_examples, strict=True) for crop in range(n)]
    assert (sorted(order) if shuffle else order) == in_order
    assert all(shard[clip] in blocks[block] for (clip, _), block in zip(order, block_at, strict=True))
    found = [plan.blocks(batch, range(batch_size)) for batch in range(len(plan))]
    assert found == [[(0, block)] for block in block_at[::batch_size]]


def test_order_looks_uniform():
    """Over many epochs each example has each position about equally often: chi-square, 14 x 14 degrees of freedom."""
    n, epochs = 15, 1500
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        plan = make(n_clips=5, n_shards=1, crops=3, batch_size=n, epoch=epoch)
        part = plan.rows(0, range(n))
        counts[np.arange(n), part.clips // 10 * 3 + part.crops] += 1
    expected = epochs / n
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert 120 < chi2 < 290  # 196 expected, standard deviation 20


@pytest.mark.parametrize("n_groups", [1, 64])
def test_any_batch_of_ten_million_clips_can_be_computed_alone(n_groups: int):
    n = 10_000_000
    shards, batch = np.arange(n, dtype=np.int32) // 1000, 64
    layout = Layout.of_clips(np.arange(n), shards, crops=8, batch_size=batch, n_groups=n_groups, seed=1)
    plan = EpochPlan(layout, shuffle_shards=16)
    assert len(plan) == n * 8 // 64
    assert len(set(plan.rows(len(plan) - 1, range(batch)).clips.tolist())) > 32


def test_a_block_needs_a_shard():
    with pytest.raises(ValueError, match="shuffle_shards must be at least 1, got 0"):
        make(shuffle_shards=0)


def test_fillers_repeat_the_last_examples():
    part = make(n_clips=5, n_shards=5, crops=1, batch_size=4, shuffle_shards=1, seed=2).rows(1, range(4))
    assert part.weights.tolist() == [1, 0, 0, 0]
    assert part.clips[0] == part.clips[1]
    tiny = make(n_clips=1, n_shards=1, crops=1, batch_size=4).rows(0, range(4))
    assert tiny.clips.tolist() == [0, 0, 0, 0]


def shard_order(plan: EpochPlan) -> list[int]:
    """List the shards in the order in which they are first read."""
    shard = shard_of(plan)
    return list(dict.fromkeys(shard[clip] for clip, _ in examples(plan)))


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
