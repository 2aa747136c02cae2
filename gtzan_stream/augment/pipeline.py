"""Stage: augment the clips of a plain webdataset pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.audio import decode
from gtzan_stream.augment.base import Transform
from gtzan_stream.errors import BadSample, UserError


def stage(
    transform: Transform, *, seed: int = 0, epoch: int = 0, field: str = "wav", sample_rate: int = 22050
) -> Stage:
    """Build a pipeline stage that augments clips: ``webdataset.WebDataset(url).compose(stage(transform))``.

    Parameters
    ----------
    transform : Transform
        Applied to whole clips; each WebDataset sample is one example.
    seed, epoch : int
        Parameters depend only on these and on the sample's ``__key__``, not on the order of the pipeline.
    field : str
        Field that holds the sound: an encoded file in any format that soundfile reads, or a waveform [time] as an array
        or tensor. It is replaced by a float32 tensor [time].
    sample_rate : int
        Hz; encoded files with another rate are resampled.

    Returns
    -------
    Stage
        Callable from an iterable of WebDataset samples to an iterator. Set its attribute `epoch` between epochs.
    """
    return Stage(transform, seed=seed, epoch=epoch, field=field, sample_rate=sample_rate)


class Stage:
    """A pipeline stage that augments WebDataset samples; see `stage`."""

    def __init__(self, transform: Transform, *, seed: int, epoch: int, field: str, sample_rate: int) -> None:
        self.transform = transform
        self.seed = seed
        self.epoch = epoch
        self.field = field
        self.sample_rate = sample_rate

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Augment each WebDataset sample, without modifying the given dictionaries.

        Raises
        ------
        BadSample
            If a sample lacks the field or cannot be decoded, or the transform raises a ValueError for it; the message
            names its shard and key.
        """
        for sample in samples:
            waveform = self._waveform(sample)[None]
            draw = self.transform.draw([sample["__key__"]], seed=self.seed, epoch=self.epoch)
            try:
                changed = self.transform.apply(waveform, draw)
            except UserError:
                raise
            except ValueError as error:
                reason = str(error).removeprefix(f"{draw.label(0)}: ")
                raise BadSample(f"{_location(sample)}: {reason}") from error
            yield {**sample, self.field: changed[0]}

    def _waveform(self, sample: dict[str, Any]) -> Tensor:
        where = _location(sample)
        if self.field not in sample:
            raise BadSample(f"{where}: expected a field {self.field!r}, got {', '.join(sample)}; name it with field=")
        sound = sample[self.field]
        if isinstance(sound, bytes):
            try:
                sound, _ = decode(sound, self.sample_rate)
            except ValueError as error:
                raise BadSample(f"{where}: {error}") from error
        waveform = torch.as_tensor(np.asarray(sound) if not isinstance(sound, Tensor) else sound)
        if waveform.ndim != 1 or not waveform.is_floating_point():
            raise BadSample(
                f"{where}: expected float samples [time], full scale at +/-1, got {waveform.dtype} of shape "
                f"{tuple(waveform.shape)}"
            )
        return waveform.float()


def _location(sample: dict[str, Any]) -> str:
    return f"{sample.get('__url__', 'a sample')}, key {sample['__key__']}"
