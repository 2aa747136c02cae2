"""Find the rank and world size of this process."""

import os

import torch

from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank and world size that `torch.distributed` has now; (0, 1) if it is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def local_rank_and_size() -> tuple[int, int]:
    """Return the index of this process on its machine, and how many processes torchrun started here."""
    if rank_and_world_size()[1] == 1:
        return 0, 1
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    return rank, int(os.environ.get("LOCAL_WORLD_SIZE", rank + 1))


def ranks_here() -> range:
    """Return the ranks of the processes on this machine."""
    (rank, world_size), (local_rank, n_local) = rank_and_world_size(), local_rank_and_size()
    first = max(rank - local_rank, 0)
    return range(first, min(first + n_local, world_size))


def checked_ranks(rank: int | None, world_size: int | None) -> tuple[int, int] | None:
    """Return `rank` and `world_size`, or None if neither is given. Raise UserError if one is missing or invalid."""
    if (rank is None) != (world_size is None):
        raise UserError("rank and world_size go together: give both or neither")
    if rank is None or world_size is None:
        return None
    rank, world_size = checked_int("rank", rank), checked_int("world_size", world_size, 1)
    if rank >= world_size:
        raise UserError(f"rank must be in 0..{world_size - 1}, got {rank}")
    return rank, world_size
