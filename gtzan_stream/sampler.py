"""SamplerProxy: the stand-in for a sampler through which trainers set the epoch of a loader."""

from typing import Any


class SamplerProxy:
    """Stand-in for the sampler of a DataLoader, on which a trainer sets the loader's epoch.

    Lightning calls ``set_epoch(n)`` before each of its epochs, and the loader follows it: otherwise it would repeat an
    epoch that `limit_train_batches` ended early, and would start at epoch 0 after a checkpoint of an epoch's end, from
    which Lightning restores no state. Lightning's n can be ahead of the loader's epoch, because it also counts epochs
    that `max_steps` cut short. So if an epoch was set or loaded on the loader itself, that epoch counts, and the
    difference is remembered: if a state of epoch 2 was loaded and Lightning says 4, the loader starts epoch 2, and when
    Lightning then says 5, it starts epoch 3.

    Parameters
    ----------
    loader : Epochs
    """

    def __init__(self, loader: Any) -> None:
        self.batch_size, self.sampler = loader.batch_size, self  # trainers look these up on a batch sampler
        self._loader = loader

    def set_epoch(self, epoch: int) -> None:
        """Move the loader to the trainer's epoch, unless a caller has set where it starts."""
        loader = self._loader
        if loader._start_was_set:
            loader._epoch_offset = loader.epoch - epoch
        else:
            loader.set_epoch(epoch + loader._epoch_offset)
            loader._start_was_set = False
