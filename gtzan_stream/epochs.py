"""Iterate over epochs of batches: make them ahead of the trainer, and resume at any batch.

A loader's position is described by three numbers:

- ``epoch``: the epoch of the current iteration, or of the next one if none is running.
- ``_consumed``: examples of this epoch that were yielded, over all ranks and with fillers. Batches that were only
  prepared do not count, so a resume skips no batch that the trainer has not seen.
- ``_next_start``: the value of ``_consumed`` at which the next iteration starts: 0 unless a state was loaded, so an
  iteration that was left early starts its epoch again.

For instance an epoch of 3 batches of 8 examples::

    event                       epoch  _consumed  _next_start
    batch 0 is yielded              0          8            0
    batch 1 is yielded              0         16            0   state_dict() has epoch 0, examples_consumed 16
    batch 2 is yielded              1          0            0   after the last batch, the next epoch is due
    batch 1's state is loaded       0         16           16
    batch 2 is yielded              1          0            0

The examples of an epoch are a pure function of the settings and the epoch, so the state needs nothing else.
``_epoch_offset`` and ``_start_was_set`` serve trainers that count epochs themselves; see `SamplerProxy`.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import lru_cache, partial
from typing import Any, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from gtzan_stream.batch import Batch
from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.checks import checked_int
from gtzan_stream.distributed import rank_and_world_size, ranks_here
from gtzan_stream.errors import UserError
from gtzan_stream.plan import EpochPlan, rows_of_rank, rows_of_ranks
from gtzan_stream.prefetch import prefetch
from gtzan_stream.sampler import SamplerProxy
from gtzan_stream.shard_requests import ShardRequests
from gtzan_stream.threads import limit_torch_after_fork
from gtzan_stream.views import BatchKind
from gtzan_stream.words import first_few, short_repr

_Self = TypeVar("_Self", bound="Epochs")
_PREFETCH_DEPTH = 3  # batches


class Epochs:
    """Base class of `Loader` and `Evaluation`: an iterable that yields the batches of one epoch at a time.

    For programs that need a `torch.utils.data.DataLoader`, ``DataLoader(loader, batch_size=None)`` yields the same.

    Parameters
    ----------
    maker : BatchMaker
    kind : BatchKind
    plan : callable (epoch) -> EpochPlan
    settings : dict
        What the order of examples depends on, besides the epoch. A state contains it, and loading compares it.
    num_workers : int
        0 makes each batch when it is requested; otherwise batches are made ahead in the background.
    ranks : (int, int), optional
        Rank and world size; by default those of `torch.distributed` when an epoch begins.
    """

    def __init__(
        self,
        maker: BatchMaker,
        kind: BatchKind,
        plan: Callable[[int], EpochPlan],
        *,
        settings: dict[str, Any],
        num_workers: int,
        ranks: tuple[int, int] | None,
    ) -> None:
        self.manifest, self.device = maker.manifest, maker.device
        self.features: Any = maker.features
        self.transform, self.num_workers, self.skipped = kind.transform, num_workers, list[str]()
        self._maker, self._kind, self._settings, self._ranks = maker, kind, settings, ranks
        self._plan = lru_cache(maxsize=4)(plan)  # a plan keeps the order of its groups
        self.epoch, self._consumed, self._next_start, self._closed = 0, 0, 0, False
        self._start_was_set = False  # by set_epoch or load_state_dict, since the last iteration began
        self._epoch_offset = 0  # our epoch minus the trainer's
        first = plan(0)
        self._n_batches, self._n_examples = len(first), first.layout.n_examples
        self.batch_size = first.layout.batch_size
        self._check_world_size()
        rows = self._rows_here() if self.world_size > 1 else range(1)  # other processes may join before an epoch begins
        self.manifest.folder.check_cache_holds(first.shards_at_once(rows))

    @property
    def rank(self) -> int:
        """Index of this process among those that train together."""
        return (self._ranks or rank_and_world_size())[0]

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return (self._ranks or rank_and_world_size())[1]

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._n_batches

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._settings.items() if name != "manifest_digest"}
        settings = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)
        return (
            f"{type(self).__name__}({str(self.manifest.root)!r}, {settings}, device='{self.device}'): "
            f"{len(self)} batches of {self._n_examples} examples, at example {self._consumed} of epoch {self.epoch}"
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the loader: iterating over it raises UserError from now on."""
        self._closed = True

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration start `epoch`, or continue it if a state of that epoch was loaded."""
        epoch, self._start_was_set = checked_int("epoch", epoch), True
        if epoch != self.epoch:
            self.epoch, self._next_start, self._consumed = epoch, 0, 0

    @property
    def sampler(self) -> SamplerProxy:
        """Stand-in for a DataLoader's sampler, on which trainers call ``set_epoch``; `batch_sampler` is the same."""
        return SamplerProxy(self)

    batch_sampler = sampler

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's position after the batches that it has yielded, as a small dict of JSON values."""
        return {"epoch": self.epoch, "examples_consumed": self._consumed, **self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from where `state` was taken, with any number of workers and ranks.

        Raises
        ------
        UserError
            If it is not a state of a loader with the same shards and settings.
        """
        now = self.state_dict()
        if not isinstance(state, dict) or state.keys() != now.keys():
            found = first_few(map(short_repr, state), 12) if isinstance(state, dict) else f"a {type(state).__name__}"
            raise UserError(f"a loader's state has the keys {', '.join(now)}, got {found}: start without the state")
        same = {name: type(state[name]) is type(own) and state[name] == own for name, own in self._settings.items()}
        if not same["manifest_digest"]:
            raise UserError(
                f"the state was taken on other clips than those of {self.manifest.folder.address()}: use the shards "
                "that it was taken on, or start without the state"
            )
        for name, expected in self._settings.items():
            if not same[name]:
                raise UserError(
                    f"the state was taken with {name}={short_repr(state[name])}, this loader has {expected!r}: make "
                    f"the loader with the old value, or start without the state"
                )
        epoch, consumed = (
            checked_int(f"{name} of a state", state[name], maximum=2**62) for name in ("epoch", "examples_consumed")
        )
        if consumed % self.batch_size or consumed >= self._n_batches * self.batch_size:
            raise UserError(
                f"the state was taken after {consumed} examples, where no batch of this loader starts: it has "
                f"{self._n_batches} batches of {self.batch_size}; start without the state"
            )
        self.epoch, self._consumed, self._next_start, self._start_was_set = epoch, consumed, consumed, True

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch, from its start or from a state that was loaded."""
        limit_torch_after_fork()
        self._check_open()
        self._check_world_size()
        if get_worker_info() is not None:
            raise UserError(
                "each worker process of a DataLoader would yield every batch: write DataLoader(loader, "
                "batch_size=None, num_workers=0); the loader reads ahead in threads of its own"
            )
        epoch, plan = self.epoch, self._plan(self.epoch)  # Local: set_epoch must not affect a running iteration.
        self.manifest.folder.check_cache_holds(plan.shards_at_once(self._rows_here()))
        first = self._next_start // self.batch_size
        self._consumed, self._next_start, self._start_was_set = self._next_start, 0, False
        rank, world_size = self.rank, self.world_size
        requests = ShardRequests(self.manifest, plan, rows_of_rank(rank, world_size, self.batch_size), first)
        with closing(requests), closing(self._ahead(requests, plan, first, rank, world_size)) as batches:
            yield from self._yielded(batches, epoch, plan, first)

    def _yielded(
        self, batches: Iterator[tuple[Batch, Any]], epoch: int, plan: EpochPlan, first: int
    ) -> Iterator[Batch]:
        """Yield batches of an epoch from index `first` on, and keep the position."""
        for number, (batch, event) in enumerate(self._until_closed(batches), first + 1):
            self._maker.synchronize(batch, event)
            self.skipped += batch.skipped
            # Before the yield, as a trainer that stops after len(loader) batches never resumes this generator.
            if not self._start_was_set:  # else a caller has chosen meanwhile where the next iteration starts
                self.epoch, self._consumed = (epoch, number * self.batch_size) if number < len(plan) else (epoch + 1, 0)
            yield batch
            if number < len(plan):  # closing after the last batch is fine
                self._check_open()

    def _ahead(
        self, requests: ShardRequests, plan: EpochPlan, first: int, rank: int, world_size: int
    ) -> Generator[tuple[Batch, Any], None, None]:
        """Yield the batches of an epoch from index `first` on, with their events, made ahead in threads."""
        calls = (partial(self._make, requests, plan, k, rank, world_size) for k in range(first, len(plan)))
        return prefetch(calls, _PREFETCH_DEPTH, self._maker.prefetch_executor if self.num_workers else None)

    def _make(self, requests: ShardRequests, plan: EpochPlan, index: int, rank: int, world_size: int) -> Any:
        """Make a batch and its event, while shards of its block and the next are downloaded."""
        with requests.of_batch(index):
            return self._maker.make_batch(plan, index, self._kind, rank, world_size)

    def _until_closed(self, batches: Iterator[tuple[Batch, Any]]) -> Iterator[tuple[Batch, Any]]:
        """Yield `batches`; if anything fails because the loader was closed, raise the error of a closed loader."""
        try:
            yield from batches
        except Exception:
            self._check_open()
            raise

    def _rows_here(self) -> range:
        """Return the rows of the ranks on this machine, which share a cache; if the rank was passed in, its rows."""
        ranks = range(self.rank, self.rank + 1) if self._ranks else ranks_here()
        return rows_of_ranks(ranks, self.world_size, self.batch_size)

    def make_at(self, epoch: int, number: int, rank: int = 0, world_size: int = 1) -> Batch:
        """Make a rank's rows of batch `number` of an epoch, without moving the loader's position.

        Raises UserError if a number is out of range, or the loader is closed.
        """
        self._check_open()
        plan, number = self._plan(checked_int("epoch", epoch)), checked_int("number", number, 0, len(self) - 1)
        world_size = checked_int("world_size", world_size, 1, self.batch_size)
        rank = checked_int("rank", rank, 0, world_size - 1)
        batch, event = self._maker.make_batch(plan, number, self._kind, rank, world_size)
        self._maker.synchronize(batch, event)
        return batch

    def _check_open(self) -> None:
        if self._closed or self._maker.closed:
            raise UserError("this loader is closed: make another one")

    def __reduce__(self) -> Any:
        raise UserError(
            "a loader holds open files and threads, so it cannot be copied or pickled: make one where it is needed, "
            "and pass its state_dict()"
        )

    def _check_world_size(self) -> None:
        if self.world_size > self.batch_size:
            raise UserError(f"batch_size must be at least {self.world_size}, one row a rank, got {self.batch_size}")


IterableDataset.register(Epochs)  # so that torch's DataLoader iterates over a loader instead of indexing it
