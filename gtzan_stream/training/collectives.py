"""Combine values of the ranks of a run. Each function is called by all ranks; with one process it changes nothing.

Two process groups are used, which differ in how long a rank waits for the others:

- What every step does has a short limit (`use`), so that a rank that hangs ends the others within a minute.
- `PATIENCE_S` is the limit for what may take long on one rank: a checkpoint, checksums, the first batch.

A rank that ends closes its connections, which the others notice at once in either group.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from gtzan_stream.distributed import rank_and_world_size
from gtzan_stream.dsp.random import rng
from gtzan_stream.errors import UserError

T = TypeVar("T")
PATIENCE_S = 1800.0


class RankLost(UserError):
    """Another rank has ended, or did not answer in time."""


class _State:
    """The group with the short limit, the limit in seconds, and the last call of `agree`."""

    group: Any = None
    timeout_s = 0.0
    pending: tuple[Tensor, Any] | None = None


_state = _State()


def use(timeout_s: float) -> None:
    """Create the group with the limit `timeout_s`. `torch.distributed` is initialised."""
    _state.group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))
    _state.timeout_s, _state.pending = timeout_s, None


def is_first() -> bool:
    """Return whether this process is rank 0, the one that writes and prints."""
    return rank_and_world_size()[0] == 0


def average_gradients(parameters: Iterable[nn.Parameter], sums: Tensor) -> Tensor:
    """Replace each gradient by its mean over ranks, and return `sums` added up over ranks: one all-reduce for both.

    A parameter that no rank used keeps the gradient None, so that the optimizer skips it as with one process. This is
    why DistributedDataParallel is not used. It also reduces gradients in another order in its first step, so that a
    resumed run would not be equal to the bit.

    Parameters
    ----------
    parameters : iterable of Parameter
    sums : Tensor [n]
    """
    world_size = rank_and_world_size()[1]
    if world_size == 1:
        return sums
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    used = torch.ones(len(parameters), device=sums.device)  # by how many ranks each parameter was used
    for i, parameter in enumerate(parameters):
        if parameter.grad is None:
            used[i] = 0
    flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), used, sums])
    with _lost_rank():
        distributed.all_reduce(flat, group=_group_of(flat))
    *means, used, total = flat.split([*(p.numel() for p in parameters), len(parameters), len(sums)])
    for parameter, mean, n_used in zip(parameters, means, used, strict=True):
        if parameter.grad is None:
            if n_used == 0:
                continue
            parameter.grad = torch.empty_like(parameter)
        parameter.grad.copy_(mean.view_as(parameter) / world_size)
    return total.clone()  # a view would keep the copy of all gradients in memory


def agree(number: int) -> int:
    """Return the largest number that any rank passed to its previous call; with one process, `number`.

    The ranks exchange their numbers in the background until the next call, so no step waits for it. All ranks get the
    same answer at the same call. It also notices lost ranks on the host while a GPU is busy.
    """
    if rank_and_world_size()[1] == 1:
        return number
    before, largest = _state.pending, torch.tensor(number)
    with _lost_rank():
        if before is not None:
            before[1].wait()
        work = distributed.all_reduce(largest, distributed.ReduceOp.MAX, group=_state.group, async_op=True)
    _state.pending = (largest, work)
    return 0 if before is None else int(before[0])


def settle() -> None:
    """Wait until all ranks have called `agree` as often as this one.

    Call it before waiting for a GPU: only then have all ranks launched the operations that it waits for.
    """
    if _state.pending is not None:
        with _lost_rank():
            _state.pending[1].wait()


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Copy the tensors of rank 0 to the others, in place."""
    if rank_and_world_size()[1] > 1:
        with _lost_rank():
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def of_first(value: T) -> T:
    """Return the value of rank 0 on all ranks."""
    if rank_and_world_size()[1] == 1:
        return value
    values: list[Any] = [value]
    with _lost_rank():
        distributed.broadcast_object_list(values, 0, device=torch.device("cpu"))
    return values[0]


def gather(value: T) -> list[T]:
    """Return the values of all ranks, in order."""
    world_size = rank_and_world_size()[1]
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    with _lost_rank():
        distributed.all_gather_object(values, value, group=_state.group)
    return values


def wait() -> None:
    """Wait until all ranks are here, up to `PATIENCE_S`."""
    if rank_and_world_size()[1] > 1:
        with _lost_rank():
            distributed.all_reduce(torch.zeros(1))


def begin_together(batches: Iterable[T]) -> Iterator[T]:
    """Yield `batches`; the first when all ranks have theirs, as the download of the first shards may take long."""
    for number, batch in enumerate(batches):
        if number == 0:
            wait()
        yield batch


def seed_rank(seed: int, step: int) -> None:
    """Give each rank but the first random numbers of its own, for dropout in a step.

    They are a function of seed, step and rank. Rank 0 continues with the numbers that one process would draw, and only
    they are in a checkpoint.
    """
    if rank := rank_and_world_size()[0]:
        torch.manual_seed(rng(seed, step, f"dropout.{rank}"))


def _group_of(tensor: Tensor) -> Any:
    return None if tensor.is_cuda else _state.group  # None: the default group, which has NCCL for CUDA


@contextmanager
def _lost_rank() -> Iterator[None]:
    """Convert the errors of a collective operation into `RankLost`."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(
            f"another process of this run ended, or did not answer within {_state.timeout_s:g} s "
            "(GTZAN_STREAM_RANK_TIMEOUT_S); find out why, then --resume continues from the last checkpoint"
        ) from error
