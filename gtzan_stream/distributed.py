"""Which of the processes that train together this one is."""

import torch


def rank_and_world_size() -> tuple[int, int]:
    """This process's rank and the number of ranks, as `torch.distributed` knows them now; (0, 1) without it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
