"""A loader requests shards one block ahead, and checks that the cache has room for two blocks."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.errors import BadSample
from gtzan_stream.loader import Loader
from gtzan_stream.plan import EpochPlan
from gtzan_stream.shard_requests import ShardRequests
from gtzan_stream.store.folder import Folder


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Names of the shards in each request, in order."""
    requests: list[list[str]] = []

    def prefetch(folder: Folder, names: list[str]) -> list[Future]:
        requests.append(list(names))
        return []

    monkeypatch.setattr(Folder, "prefetch", prefetch)
    return requests


@pytest.mark.parametrize("shuffle_shards", [1, 2])
def test_each_block_is_requested_with_the_next(shards: Path, requested: list[list[str]], shuffle_shards: int):
    loader = Loader(shards, batch_size=4, shuffle_shards=shuffle_shards, num_workers=0)
    plan = loader._plan(0)
    names = [shard.name for shard in loader.manifest.shards]
    n_blocks = -(-len(names) // shuffle_shards)
    assert n_blocks >= 2
    blocks = [[names[shard] for shard in plan.shards_of(0, block)] for block in range(n_blocks + 1)]
    list(loader)
    visited = list(dict.fromkeys(block for number in range(len(plan)) for _, block in plan.blocks(number, range(4))))
    assert requested == [blocks[block] + blocks[block + 1] for block in visited]
    assert set(names) <= {name for request in requested for name in request}


def test_a_block_is_requested_when_all_batches_before_it_are_made(
    shards: Path, requested: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    """Else the cache, which has room for two blocks, would lose shards that are still to be read."""
    make, running, log = BatchMaker.make_batch, [], []

    def recorded(maker: BatchMaker, plan: EpochPlan, index: int, *arguments: object) -> object:
        running.append(index)
        log.append((index, len(requested), list(running)))
        time.sleep(0.02)
        made = make(maker, plan, index, *arguments)
        running.remove(index)
        return made

    monkeypatch.setattr(BatchMaker, "make_batch", recorded)
    with Loader(shards, batch_size=4, crops_per_clip=2, shuffle_shards=1, num_workers=1) as loader:
        list(loader)
        plan = loader._plan(0)
    first_of = {block: k for k in reversed(range(len(plan))) for _, block in plan.blocks(k, range(4))}
    assert len(requested) == len(first_of) > 2
    assert max(len(running) for *_, running in log) == 2
    for index, n_requested, running in log:
        n_begun = sum(first <= max(running) for first in first_of.values())
        assert n_requested == n_begun
        if index in first_of.values():
            assert running == [index]


def test_a_batch_that_waits_while_its_epoch_is_left_requests_nothing(shards: Path, requested: list[list[str]]):
    loader = Loader(shards, batch_size=4, crops_per_clip=2, shuffle_shards=1)
    plan, rows = loader._plan(0), range(4)
    index = next(k for k in range(len(plan)) if plan.blocks(k, rows) != plan.blocks(0, rows))
    requests, release = ShardRequests(loader.manifest, plan, rows, index - 1), threading.Event()

    def make(k: int) -> None:
        with requests.of_batch(k):
            release.wait(20)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(make, index - 1)]
        while not requested:
            time.sleep(0.001)
        calls.append(pool.submit(make, index))
        while not requests._changed._waiters:  # type: ignore[attr-defined]
            time.sleep(0.001)
        requests.close()
        release.set()
        for call in calls:
            call.result(20)
    assert len(requested) == 1


def test_an_error_of_a_batch_lets_later_blocks_be_requested(shards: Path, requested: list[list[str]], monkeypatch):
    make = BatchMaker.make_batch

    def failing(maker: BatchMaker, plan: EpochPlan, index: int, *arguments: object) -> object:
        if index == 1:
            raise BadSample("one")
        return make(maker, plan, index, *arguments)

    monkeypatch.setattr(BatchMaker, "make_batch", failing)
    with Loader(shards, batch_size=4, shuffle_shards=1, num_workers=1) as loader:
        iterator = iter(loader)
        next(iterator)
        with pytest.raises(BadSample, match="one"):
            next(iterator)
        loader._maker.prefetch_executor.shutdown(wait=True)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_cancels_downloads_at_once(shards: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int):
    downloads: list[Future] = []

    def prefetch(folder: Folder, names: list[str]) -> list[Future]:
        downloads.extend(new := [Future() for _ in names])
        return new

    def fail(*arguments: object) -> None:
        raise BadSample("one")

    monkeypatch.setattr(Folder, "prefetch", prefetch)
    monkeypatch.setattr(BatchMaker, "make_batch", fail)
    with pytest.raises(BadSample, match="one") as error:
        list(Loader(shards, batch_size=1, shuffle_shards=1, num_workers=num_workers))
    assert downloads
    assert all(download.cancelled() for download in downloads)
    del error


def test_leaving_an_epoch_early_cancels_its_downloads(shards: Path, monkeypatch: pytest.MonkeyPatch):
    downloads: list[Future] = []

    def prefetch(folder: Folder, names: list[str]) -> list[Future]:
        downloads.extend(new := [Future() for _ in names])
        return new

    monkeypatch.setattr(Folder, "prefetch", prefetch)
    for _ in Loader(shards, batch_size=1, crops_per_clip=1, shuffle_shards=1, num_workers=0):
        assert not any(shard.cancelled() for shard in downloads)
        if len(downloads) >= 4:  # two blocks were read, each requested with the next
            break
    assert all(shard.cancelled() for shard in downloads)


@pytest.mark.parametrize(("shuffle_shards", "expected"), [(None, 3), (1, 2), (2, 3), (3, 3)])
def test_the_cache_must_hold_two_blocks(
    shards: Path, monkeypatch: pytest.MonkeyPatch, shuffle_shards: int | None, expected: int
):
    checked: list[int] = []
    monkeypatch.setattr(Folder, "check_cache_holds", lambda folder, n_shards: checked.append(n_shards))
    loader = Loader(shards, shuffle_shards=shuffle_shards)
    assert len(loader.manifest.shards) == 3
    loader.evaluation()
    assert checked == [expected, 2]


def join(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    """Make torch.distributed appear to have this rank and world size."""
    for name in ("epochs", "distributed"):
        monkeypatch.setattr(f"gtzan_stream.{name}.rank_and_world_size", lambda: (rank, world_size))


def test_the_cache_must_hold_the_groups_of_the_rank_that_a_process_has_when_an_epoch_begins(
    shards: Path, monkeypatch: pytest.MonkeyPatch
):
    """A loader may be made before torch.distributed is initialised."""
    checked: list[int] = []
    monkeypatch.setattr(Folder, "check_cache_holds", lambda folder, n_shards: checked.append(n_shards))
    loader = Loader(shards, batch_size=6, shard_groups=3, num_workers=0)
    of_groups = [loader._plan(0).shards_at_once(range(2 * group, 2 * group + 2)) for group in range(3)]
    assert checked == of_groups[:1]
    for world_size, groups in ((1, [0, 1, 2]), (2, [1, 2]), (3, [2])):
        join(monkeypatch, world_size - 1, world_size)
        next(iter(loader))
        assert checked.pop() == sum(of_groups[group] for group in groups)


def test_the_cache_must_hold_the_groups_of_all_ranks_on_the_machine(shards: Path, monkeypatch: pytest.MonkeyPatch):
    """Ranks 2 and 3 of 4 run here. A rank that was passed in counts alone."""
    checked: list[int] = []
    monkeypatch.setattr(Folder, "check_cache_holds", lambda folder, n_shards: checked.append(n_shards))
    join(monkeypatch, 3, 4)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    settings = {"batch_size": 12, "shard_groups": 3, "num_workers": 0}
    plan = Loader(shards, **settings)._plan(0)
    Loader(shards, **settings, rank=3, world_size=4)
    assert checked == [plan.shards_at_once(range(6, 12)), plan.shards_at_once(range(9, 12))]
    assert checked[0] > checked[1]


def test_a_rank_requests_the_shards_of_its_groups_alone(shards: Path, requested: list[list[str]]):
    def names_of(rank: int, world_size: int) -> list[set[str]]:
        requested.clear()
        with Loader(shards, batch_size=6, shard_groups=3, num_workers=0, rank=rank, world_size=world_size) as loader:
            list(loader)
        return [set(names) for names in requested]

    whole = names_of(0, 1)
    assert len(whole) == 3  # once for each group
    assert [names_of(rank, 3) for rank in range(3)] == [[group] for group in whole]
    assert names_of(1, 2) == whole[1:]  # rows 3 to 5, of groups 1 and 2
    assert len(set().union(*whole)) == 3


def test_the_seed_changes_the_order_of_clips_and_of_shards(shards: Path):
    for shuffle_shards in (None, 1):
        orders = [
            [
                key
                for batch in Loader(shards, seed=seed, shuffle_shards=shuffle_shards, num_workers=0)
                for key in batch.keys
            ]
            for seed in range(3)
        ]
        assert len({tuple(order) for order in orders}) == 3
