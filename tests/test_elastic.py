"""The number of ranks changes in the middle of an epoch: the global batches and the states stay the same."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from gtzan_stream.loader import Loader

BATCH = 6


def steps(shards: Path, world_size: int, n: int | None, state: dict | None, **options: Any) -> tuple[list, dict]:
    """Make the next `n` global batches with this number of ranks. Returns their features, joined, and the state."""
    ranks, states = [], []
    for rank in range(world_size):
        with Loader(
            shards, batch_size=BATCH, crops_per_clip=4, seed=5, rank=rank, world_size=world_size, **options
        ) as loader:
            if state is not None:
                loader.load_state_dict(state)
            ranks.append([batch.features for batch in islice(loader, n)])
            states.append(loader.state_dict())
    assert all(other == states[0] for other in states)
    return [torch.cat(parts) for parts in zip(*ranks, strict=True)], states[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"shard_groups": 3}, {"shard_groups": 2, "shuffle_shards": 1, "mixup": 0.4}, {"views": 2, "num_workers": 2}],
    ids=str,
)
def test_ranks_may_leave_and_join_in_the_middle_of_an_epoch(shards: Path, options: dict[str, Any]):
    expected, _ = steps(shards, 1, None, None, **options)
    found, state = steps(shards, 4, 2, None, **options)
    for world_size, n in ((3, 1), (6, 1), (1, None)):
        more, state = steps(shards, world_size, n, state, **options)
        found += more
    assert len(found) == len(expected) >= 6
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert torch.equal(one, other), number
    assert (state["epoch"], state["examples_consumed"]) == (1, 0)


def test_a_state_of_other_groups_is_refused(shards: Path):
    _, state = steps(shards, 2, 1, None, shard_groups=2)
    with pytest.raises(ValueError, match="taken with shard_groups=2, this loader has 3"):
        steps(shards, 2, 1, state, shard_groups=3)
