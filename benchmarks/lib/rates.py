"""Measure how many crops per second a loader yields, and how fast training on them is."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import models
from benchmarks.lib.common import spread, wait
from gtzan_stream.augment import Transform
from gtzan_stream.batch import Batch
from gtzan_stream.loader import Loader
from gtzan_stream.normalization import Normalization
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import device as devices
from gtzan_stream.training import optimizers
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.losses import loss_of
from gtzan_stream.training.network import Classifier

T = TypeVar("T")
EPOCH = 65_536
"""Smallest number of examples in an epoch, so that pauses between epochs weigh no more than with a real set."""
SETTLE = 4
"""Batches to take before the clock starts; more than our loader prefetches."""


def endless(loader: Iterable[T]) -> Iterator[T]:
    """Yield the batches of epoch after epoch, endlessly."""
    while True:
        yield from loader


def make_loader(
    shards: Path, *, augment: str | Transform, batch_size: int, device: torch.device, **more: Any
) -> Loader:
    """Build a loader of every clip in `shards`, with at least `EPOCH` examples in an epoch."""
    crops_per_clip = max(8, -(-EPOCH // len(Manifest.open(shards))))
    return Loader(shards, augment=augment, batch_size=batch_size, device=device, crops_per_clip=crops_per_clip, **more)


def rates(
    batches: Iterator[Any], batch_size: int, device: torch.device, *, min_s: float, runs: int, settle: int | None = None
) -> dict[str, float]:
    """Return examples per second: median, minimum and maximum of `runs` measurements of ``min_s / runs`` seconds."""
    for _ in range(SETTLE if settle is None else settle):
        next(batches)
    return spread([_rate(batches, batch_size, device, min_s / runs) for _ in range(runs)])


def _rate(batches: Iterator[Any], batch_size: int, device: torch.device, seconds: float) -> float:
    wait(device)
    count, start = 0, time.perf_counter()
    while count < 2 or time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    wait(device)
    return count * batch_size / (time.perf_counter() - start)


@dataclass
class Trainer:
    """A network with the study's optimizer, trained in the same steps as in train.py."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    precision: str

    @classmethod
    def of(cls, name: str, n_classes: int, device: torch.device) -> "Trainer":
        """Build the network called `name`."""
        torch.manual_seed(0)
        spec = models.spec(name)
        normalization = Normalization(spec.normalization, n_mels=spec.rows)
        network: nn.Module = Classifier(models.build(name, n_classes), normalization)
        network = network.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload]
        optimizer = optimizers.build("sgd", network.parameters())
        return cls(network, optimizer, device, devices.precision("auto", device))

    def step(self, features: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Do one training step."""
        with devices.autocast(self.precision, self.device):
            output = self.network(features)
        loss = loss_of(output, labels, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def over(self, batches: Iterable[Batch], clock: DataClock) -> Iterator[None]:
        """Do a step with each batch; `clock` measures the time spent waiting for batches."""
        for batch in clock.watch(batches):
            self.step(batch.features, batch.labels, batch.weights)
            yield
