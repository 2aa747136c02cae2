"""Epochs of batches, made ahead of the trainer that consumes them, and resumed at any batch."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from gtzan_stream.augment.base import Transform
from gtzan_stream.batch import Batch
from gtzan_stream.batches import BatchMaker
from gtzan_stream.checks import checked_int
from gtzan_stream.distributed import rank_and_world_size
from gtzan_stream.errors import UserError
from gtzan_stream.plan import EpochPlan
from gtzan_stream.prefetch import prefetch
from gtzan_stream.threads import limit_torch_after_fork
from gtzan_stream.words import first_few, short_repr

_Self = TypeVar("_Self", bound="Epochs")
_PREFETCH = 3  # batches made ahead of the consumer


class Epochs:
    """Iterates over the batches of one epoch after the other; `Loader` and `Evaluation` say which these are.

    For programs that insist on a `torch.utils.data.DataLoader`, ``DataLoader(loader, batch_size=None)`` is the same.

    Parameters
    ----------
    maker : BatchMaker
    transform : Transform
    plan : callable (epoch) -> EpochPlan
    training : bool
        Random crops, in epochs that differ.
    settings : dict
        What the order of examples depends on besides the epoch: part of a state, and compared when one is loaded.
    num_workers : int
        0 makes each batch when it is asked for, otherwise batches are made ahead in the background.
    ranks : (int, int), optional
        Rank and world size; by default what `torch.distributed` says when an epoch begins.
    """

    def __init__(
        self,
        maker: BatchMaker,
        transform: Transform,
        plan: Callable[[int], EpochPlan],
        *,
        training: bool,
        settings: dict[str, Any],
        num_workers: int,
        ranks: tuple[int, int] | None,
    ) -> None:
        self.manifest, self.device = maker.manifest, maker.device
        self.features: Any = maker.features
        self.transform, self.num_workers = transform, num_workers
        self.skipped: list[str] = []
        self.epoch = 0
        self._maker, self._plan, self._training, self._settings, self._ranks = maker, plan, training, settings, ranks
        self._consumed = self._start = 0  # examples yielded in this epoch; examples that a resume starts after
        self._placed = False  # whether a caller chose where to start, and nothing was yielded since
        self._ahead = 0  # of a trainer's epochs
        self._closed = False
        first = plan(0)
        self.batch_size, self._length, self._n_examples = first.batch_size, len(first), first.n_examples
        self._check_world_size()
        # Remote shards: the block being read and the next one must fit the cache together.
        self.manifest.folder.check_room(None if first.shuffle_shards is None else 2 * first.shuffle_shards)

    @property
    def rank(self) -> int:
        """This process among those that train together."""
        return (self._ranks or rank_and_world_size())[0]

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return (self._ranks or rank_and_world_size())[1]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._length

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._settings.items() if name != "manifest_digest"}
        settings = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)
        return (
            f"{type(self).__name__}({str(self.manifest.root)!r}, {settings}, device='{self.device}'): "
            f"{len(self)} batches of {self._n_examples} examples, at example {self._consumed} of epoch {self.epoch}"
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Make iterating an error from now on."""
        self._closed = True

    def set_epoch(self, epoch: int) -> None:
        """Start `epoch` at the next iteration, or where `load_state_dict` put the loader in it."""
        epoch, self._placed = checked_int("epoch", epoch), True
        if epoch != self.epoch:
            self.epoch, self._start, self._consumed = epoch, 0, 0

    @property
    def sampler(self) -> "TrainersEpoch":
        """What trainers take for the sampler of a DataLoader, as `batch_sampler`, to tell it their epoch."""
        return TrainersEpoch(self)

    batch_sampler = sampler

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, counting what it yielded and not what it prepared: a small dict of plain JSON."""
        return {"epoch": self.epoch, "examples_consumed": self._consumed, **self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, with any number of workers and ranks.

        Raises
        ------
        UserError
            If the shards or a setting that the order depends on have changed since.
        """
        now = self.state_dict()
        if not isinstance(state, dict) or state.keys() != now.keys():
            found = first_few(map(short_repr, state), 12) if isinstance(state, dict) else f"a {type(state).__name__}"
            raise UserError(f"a loader's state is a dict with the keys {', '.join(now)}; got {found}")
        same = {name: type(state[name]) is type(own) and state[name] == own for name, own in self._settings.items()}
        if not same["manifest_digest"]:
            raise UserError(
                f"the state was taken on other clips than those of {self.manifest.folder.address()}: give the shards "
                "that it was taken on, or start again without it"
            )
        for name, expected in self._settings.items():
            if not same[name]:
                raise UserError(
                    f"the state was taken with {name}={short_repr(state[name])}, this loader has {expected!r}: make "
                    f"the loader with the old value, or start again without the state"
                )
        epoch, consumed = (
            checked_int(f"{name} of a state", state[name], most=2**62) for name in ("epoch", "examples_consumed")
        )
        if consumed % self.batch_size or consumed >= self._length * self.batch_size:
            raise UserError(
                f"the state was taken after {consumed} examples, which is not at a batch of this loader: it has "
                f"{self._length} batches of {self.batch_size}"
            )
        self.epoch, self._consumed, self._start, self._placed = epoch, consumed, consumed, True

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch, from its start or from where `load_state_dict` put it."""
        limit_torch_after_fork()
        self._check_open()
        self._check_world_size()
        if get_worker_info() is not None:
            raise UserError(
                "each worker process of a DataLoader would yield every batch: write DataLoader(loader, "
                "batch_size=None, num_workers=0), as the loader reads ahead in threads of its own"
            )
        epoch, plan = self.epoch, self._plan(self.epoch)  # kept for this iteration, whatever is set while it runs
        first = self._start // self.batch_size
        self._consumed, self._start, self._placed = self._start, 0, False
        batches = self._made(plan, epoch, first, self.rank, self.world_size)
        if self.num_workers:
            batches = prefetch(batches, _PREFETCH, self._maker.ahead)
        for number, (batch, event) in enumerate(self._until_closed(batches), first + 1):
            self._maker.synchronize(batch, event)
            self.skipped += batch.skipped
            # Advance the epoch before yielding its last batch: a trainer that stops after len(loader) batches never
            # resumes this generator.
            self.epoch, self._consumed = (epoch, number * self.batch_size) if number < len(plan) else (epoch + 1, 0)
            yield batch
            if number < len(plan):
                self._check_open()

    def _made(self, plan: EpochPlan, epoch: int, first: int, rank: int, world_size: int) -> Iterator[tuple[Batch, Any]]:
        """Make the batches from number `first` on, while the remote shards of this block and the next arrive."""
        requested = -1
        arriving: list[Future[Any]] = []
        try:
            for number in range(first, len(plan)):
                block = plan.block_of(number)
                if block != requested:
                    requested = block
                    shards = np.concatenate([plan.shards_of(block), plan.shards_of(block + 1)])
                    names = [self.manifest.shards[shard].name for shard in shards]
                    arriving = [shard for shard in arriving if not shard.done()] + self.manifest.folder.prefetch(names)
                rows = plan.rows(number, rank, world_size)
                yield self._maker.make(rows, epoch, self.transform, training=self._training)
        finally:
            for shard in arriving:  # cancel pending downloads, so that leaving the loop early does not block
                shard.cancel()

    def _until_closed(self, batches: Iterator[tuple[Batch, Any]]) -> Iterator[tuple[Batch, Any]]:
        """Turn what a closed thread pool raises into the error of a closed loader."""
        try:
            yield from batches
        except (RuntimeError, CancelledError):
            self._check_open()
            raise

    def _check_open(self) -> None:
        if self._closed or self._maker.closed:
            raise UserError("this loader is closed: make another one")

    def __reduce__(self) -> Any:
        raise UserError(
            "a loader holds open files and threads, so it cannot be copied or pickled: make one where it is needed, "
            "and pass its state_dict()"
        )

    def _check_world_size(self) -> None:
        if self.batch_size % self.world_size:
            raise UserError(f"batch_size must be divisible by the {self.world_size} ranks, got {self.batch_size}")


class TrainersEpoch:
    """Follows the epochs of a trainer that sets those of its sampler.

    Lightning is one. With `limit_train_batches` it ends its epochs early, and the loader would begin the same epoch
    again. After a checkpoint of an epoch's end it does not give a loader its state back. Where it does, it may count an
    epoch that `max_steps` had cut short, so the state goes first, and the trainer's next epochs are counted from there.
    """

    def __init__(self, loader: Epochs) -> None:
        self.batch_size, self.sampler = loader.batch_size, self
        self._loader = loader

    def set_epoch(self, epoch: int) -> None:
        """Move the loader on to the trainer's epoch, unless a caller chose where it starts."""
        loader = self._loader
        if loader._placed:
            loader._ahead = loader.epoch - epoch
        else:
            loader.set_epoch(epoch + loader._ahead)
            loader._placed = False


IterableDataset.register(Epochs)  # so that torch's DataLoader iterates over a loader and does not index it
