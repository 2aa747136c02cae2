"""Workers, ranks, batch size and resuming do not change examples; epochs differ; the state of a loader."""

import gc
import json
import threading
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.loader import Loader
from tests.loader_cases import assert_same, collect


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_number_of_workers_changes_nothing(shards, reference, num_workers):
    assert_same(collect(Loader(shards, batch_size=8, num_workers=num_workers, seed=3, crops_per_clip=4)), reference)


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_number_of_ranks_changes_nothing(shards, reference, world_size):
    settings = {"batch_size": 8, "seed": 3, "crops_per_clip": 4, "world_size": world_size}
    assert_same(collect(*(Loader(shards, rank=rank, **settings) for rank in range(world_size))), reference)


def test_batch_size_changes_no_example(shards, reference):
    other = collect(Loader(shards, batch_size=3, num_workers=0, seed=3, crops_per_clip=4))
    assert_same(other, reference)


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_resume_at_another_rank_count_continues_exactly(shards, reference, stop):
    first = Loader(shards, batch_size=8, seed=3, crops_per_clip=4, num_workers=1)
    iterator = iter(first)
    seen = [next(iterator) for _ in range(stop)]
    state = json.loads(json.dumps(first.state_dict()))
    iterator.close()
    ranks = []
    for rank in range(2):
        ranks.append(Loader(shards, batch_size=8, seed=3, crops_per_clip=4, rank=rank, world_size=2, num_workers=3))
        ranks[-1].load_state_dict(state)
        ranks[-1].set_epoch(state["epoch"])  # some trainers set the epoch of a resumed loader
    n_seen = sum(int(batch.weights.sum()) for batch in seen)
    rest = collect(*ranks)
    assert list(rest) == list(reference)[n_seen:]
    assert all(torch.equal(rest[example], reference[example]) for example in rest)


def test_a_state_after_the_last_batch_leads_to_the_next_epoch(shards):
    loader = Loader(shards, batch_size=8, crops_per_clip=2, seed=3)
    for _ in loader:
        state = loader.state_dict()
    other = Loader(shards, batch_size=8, crops_per_clip=2, seed=3)
    other.load_state_dict(state)
    assert other.epoch == loader.epoch == 1
    assert_same(collect(other), collect(loader))


def test_epochs_differ_and_can_be_repeated(shards, reference):
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4)
    collect(loader)
    second = collect(loader)
    assert list(second) != list(reference)
    assert not any(torch.equal(second[e], reference[e]) for e in second if e[0] != "jazz_00001")
    loader.set_epoch(0)
    assert_same(collect(loader), reference)


def test_after_a_break_the_epoch_starts_again_in_the_same_threads(shards, reference):
    before = set(threading.enumerate())
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4, num_workers=1)

    def prefetch_threads():
        return [thread for thread in set(threading.enumerate()) - before if "prefetch" in thread.name]

    for _ in loader:
        break
    threads = prefetch_threads()
    assert len(threads) == 2
    assert_same(collect(loader), reference)
    assert set(prefetch_threads()) == set(threads)
    del loader
    gc.collect()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 4}, "batch_size=4, this loader has 8"),
        ({"manifest_digest": "0"}, "other clips than those of"),
        ({"split": "three"}, "split='three'"),
        ({"extra": 1}, "a loader's state has the keys epoch, .*, got 'epoch', .*'extra'"),
        ({"epoch": -1}, "epoch of a state must be at least 0, got -1"),
        ({"epoch": None}, "epoch of a state must be a whole number, got None"),
        ({"examples_consumed": "8"}, "examples_consumed of a state must be a whole number, got '8'"),
        ({"examples_consumed": 3}, "after 3 examples, where no batch of this loader starts: it has 11 batches of 8"),
        ({"examples_consumed": 88}, "after 88 examples"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(shards, change, message):
    loader = Loader(shards, batch_size=8)
    with pytest.raises(UserError, match=message):
        loader.load_state_dict(loader.state_dict() | change)


def test_inference_mode_around_a_loader_changes_nothing(shards, reference):
    loader = Loader(shards, batch_size=8, num_workers=0, seed=3, crops_per_clip=4)
    with torch.inference_mode():
        batch = next(iter(loader))
    assert not batch.features.is_inference()
    row = next(row for row, weight in enumerate(batch.weights) if weight)
    assert torch.equal(batch.features[row], reference[batch.keys[row], int(batch.crops[row])])


def test_stopping_after_len_batches_advances_the_epoch(shards, reference):
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4)
    epochs = [[batch.keys for batch in islice(loader, len(loader))] for _ in range(2)]
    assert loader.epoch == 2
    assert epochs[0] != epochs[1]
    loader.set_epoch(0)
    assert_same(collect(loader), reference)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_set_epoch_does_not_change_an_iteration_that_runs(shards, reference, num_workers):
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4, num_workers=num_workers)
    seen = {}
    for batch in loader:
        loader.set_epoch(7)
        seen |= {(key, int(crop)): f for key, crop, f in zip(batch.keys, batch.crops, batch.features, strict=True)}
    assert all(torch.equal(seen[example], reference[example]) for example in reference)
    assert loader.epoch == 7
    assert {batch.epoch for batch in loader} == {7}


def test_a_state_of_other_clips_is_refused(shards, words):
    loader, other = Loader(shards), Loader(words, features=LogMel(sample_rate=8000, frames=16))
    for own, others in ((loader, other), (loader.evaluation(), other.evaluation())):
        with pytest.raises(UserError, match="taken on other clips than those of"):
            own.load_state_dict(others.state_dict())


def test_a_resumed_epoch_has_the_remaining_batches_and_the_next_has_all(shards):
    first = Loader(shards, batch_size=8, crops_per_clip=4, seed=3)
    state = [first.state_dict() for _ in islice(first, 4)][-1]
    other = Loader(shards, batch_size=8, crops_per_clip=4, seed=3)
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert len(list(other)) == len(other) - 4
    assert len(list(other)) == len(other)


def test_an_evaluation_has_its_own_state(shards):
    loader = Loader(shards, split="three", part="train", batch_size=4)
    evaluation = loader.evaluation("train")
    batches = [batch.keys for batch in evaluation]
    state = [evaluation.state_dict() for _ in islice(evaluation, 1)][-1]
    other = loader.evaluation("train")
    other.load_state_dict(state)
    assert [batch.keys for batch in other] == batches[1:]
    assert len(batches) > 1
    with pytest.raises(UserError, match="part='train'"):
        loader.evaluation("valid").load_state_dict(state)
    with pytest.raises(UserError, match="a loader's state has the keys"):
        loader.load_state_dict(state)


def test_ranks_are_read_when_an_epoch_begins(shards, monkeypatch):
    """A loader may be made before torch.distributed is initialised."""
    loader = Loader(shards, batch_size=8, num_workers=0, seed=3)
    alone = next(iter(loader)).keys
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert (loader.rank, loader.world_size) == (1, 2)
    assert next(iter(loader)).keys == alone[4:]
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert next(iter(loader)).keys == alone[3:6]
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 9)
    with pytest.raises(UserError, match="batch_size must be at least 9, one row a rank, got 8"):
        next(iter(loader))


def test_the_repr_of_a_loader(shards):
    loader = Loader(shards, split="three", part="train", batch_size=8)
    assert repr(loader) == (
        f"Loader('{shards}', split='three', part='train', batch_size=8, crops_per_clip=8, seed=0, shard_groups=1, "
        "device='cpu'): 7 batches of 56 examples, at example 0 of epoch 0"
    )
    next(iter(loader))
    assert repr(loader).endswith("at example 8 of epoch 0")
    assert "batch_size=16, crops_per_clip=8" in repr(Loader(shards))
    assert all(word in repr(loader.evaluation("test")) for word in ("Evaluation(", "chunks='study'"))


def test_set_epoch_starts_another_epoch_from_its_beginning(shards):
    loader = Loader(shards, batch_size=8, crops_per_clip=4, seed=3, num_workers=0)
    state = [loader.state_dict() for _ in islice(loader, 3)][-1]
    loader.set_epoch(5)
    assert (loader.state_dict()["epoch"], loader.state_dict()["examples_consumed"]) == (5, 0)
    other = Loader(shards, batch_size=8, crops_per_clip=4, seed=3, num_workers=0)
    other.load_state_dict(state)
    other.set_epoch(5)
    assert [batch.keys for batch in other] == [batch.keys for batch in loader]


def test_all_ranks_have_the_same_state(shards):
    alone = Loader(shards, batch_size=8, crops_per_clip=4, seed=3, num_workers=0)
    second = Loader(shards, batch_size=8, crops_per_clip=4, seed=3, num_workers=0, rank=1, world_size=2)
    for _, _ in zip(islice(alone, 3), islice(second, 3), strict=True):
        assert alone.state_dict() == second.state_dict()
    assert alone.state_dict()["examples_consumed"] == 24


def test_a_dataloader_around_a_loader_yields_the_same_batches(shards):
    loader = Loader(shards, batch_size=8, crops_per_clip=2, num_workers=1)
    dataloader = DataLoader(loader, batch_size=None, num_workers=0)
    assert len(dataloader) == len(loader)
    expected = [batch.keys for batch in Loader(shards, batch_size=8, crops_per_clip=2, num_workers=0)]
    found = list(dataloader)
    assert [batch.keys for batch in found] == expected
    assert all(isinstance(batch, Batch) for batch in found)
    assert loader.epoch == 1
    evaluation = loader.evaluation()
    assert [batch.keys for batch in DataLoader(evaluation, batch_size=None)] == [batch.keys for batch in evaluation]


def test_worker_processes_of_a_dataloader_are_refused(shards):
    loader = Loader(shards, batch_size=8, num_workers=0)
    with pytest.raises(UserError, match=r"DataLoader\(loader, batch_size=None, num_workers=0\)"):
        list(DataLoader(loader, batch_size=None, num_workers=2, multiprocessing_context="fork"))
    with pytest.raises(UserError, match="cannot be copied or pickled"):
        list(DataLoader(loader, batch_size=None, num_workers=2, multiprocessing_context="spawn"))


def test_an_epoch_that_a_trainer_sets_on_the_sampler_is_used(shards):
    """Lightning does so; it ends epochs early, and may count epochs in which nothing was read."""
    loader = Loader(shards, batch_size=8, crops_per_clip=4, augment="none", num_workers=0)
    for epoch in range(3):
        loader.batch_sampler.sampler.set_epoch(epoch)
        assert [batch.epoch for batch in islice(loader, 2)] == [epoch] * 2
    state = loader.state_dict()
    for epoch in (5, 6):
        loader.sampler.set_epoch(epoch)
    assert loader.epoch == 6
    other = Loader(shards, batch_size=8, crops_per_clip=4, augment="none", num_workers=0)
    other.load_state_dict(state)
    for epoch in (3, 4):  # no batch of these epochs is read
        other.sampler.set_epoch(epoch)
    assert other.state_dict() == state
    assert [batch.epoch for batch in other] == [2] * (len(other) - 2)
    other.sampler.set_epoch(5)
    assert [batch.epoch for batch in other] == [3] * len(other)


def test_an_epoch_set_by_the_user_has_priority(shards):
    loader = Loader(shards, batch_size=8, num_workers=0)
    loader.set_epoch(7)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        assert next(iter(loader)).epoch == 7 + epoch
    assert loader.batch_sampler.batch_size == 8
