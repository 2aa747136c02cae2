"""The benchmark of large trainings: shares, caches and entropies that can be computed by hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import fleet
from benchmarks.lib import tables
from gtzan_stream.layout import Layout


@pytest.fixture
def equal() -> Layout:
    """64 shards of 4 clips in 16 groups; batches of 512 rows, for 4 nodes of 8 ranks."""
    return Layout(
        clips=np.arange(64 * 4),
        shards=np.arange(64),
        clips_per_shard=np.full(64, 4),
        crops=16,
        batch_size=512,
        n_groups=16,
    )


def test_a_node_downloads_the_shards_of_its_groups(equal: Layout):
    assert fleet.download_shares(equal, 32) == [0.25] * 4
    assert fleet.download_shares(equal, 24) == [6 / 16] * 3  # a third of 16 groups, and a part of one more
    one = Layout(
        clips=equal.clips, shards=equal.shards, clips_per_shard=equal.clips_per_shard, crops=16, batch_size=512
    )
    assert fleet.download_shares(one, 32) == [1.0] * 4


def test_a_cache_that_holds_a_nodes_part_downloads_it_once(equal: Layout):
    assert fleet.second_epoch(equal, 32, 1.0) == 0.0
    assert fleet.second_epoch(equal, 32, 0.25) > 0.5


def test_a_rank_is_probed_in_a_new_process(tmp_path: Path):
    fleet.write(tmp_path, 5000, 100)
    (row,) = fleet.measure(tmp_path, [32], n_nodes=4, runs=1)
    assert row["open_s"]["median"] > 0
    assert row["share"] < 0.4
    assert set(row["again"]) == {str(cache) for cache in fleet.CACHES}
    bits = row["entropy"][str(fleet.SHUFFLE_SHARDS[-1])]
    best = fleet.ideal(tmp_path, 512)
    assert bits["shards"] == pytest.approx(best["shards"], abs=0.3)
    assert row["entropy"][str(fleet.SHUFFLE_SHARDS[0])]["shards"] < best["shards"]
    columns, cells = tables.fleet([row])
    assert len(cells[0]) == len(columns)
    fleet.plot([row], best, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
