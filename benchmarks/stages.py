"""The loader's stages, each alone, on batches of random crops as the loader makes them."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtzan_stream import audio
from gtzan_stream.augment import Draw, OneOf, Transform, recipe
from gtzan_stream.batches import widen
from gtzan_stream.features import LogMel
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader

CODECS = {"wav": "WAV", "flac": "FLAC"}
PLACES = 4096
"""Random crops to read, drawn before the clock starts."""
Stage = Callable[[], object]


class Bench:
    """A batch of crops in every state that it passes through.

    Parameters
    ----------
    shards : Path
    batch_size : int
    device : torch.device
    """

    def __init__(self, shards: Path, batch_size: int, device: torch.device) -> None:
        self.manifest, self.device, self.batch_size = Manifest.open(shards), device, batch_size
        self.features = LogMel().to(device)
        self.reader = ClipReader(self.manifest)
        self.rng = np.random.default_rng(0)
        self.length = np.full(batch_size, self.features.window)

    def crops(self, n: int, window: int) -> Iterator[tuple[int, int]]:
        """Clips and starts, both random, of `n` windows inside their clips."""
        clips = self.rng.integers(0, len(self.manifest), n)
        room = np.maximum(self.manifest.frames[clips] - window, 0)
        return zip(clips.tolist(), (self.rng.random(n) * room).astype(int).tolist(), strict=True)

    def buffer(self, window: int) -> Tensor:
        """A batch as the reader fills it, pinned for a GPU."""
        dtype = torch.int16 if self.reader.dtype is np.int16 else torch.float32
        return torch.zeros(self.batch_size, window, dtype=dtype, pin_memory=self.device.type == "cuda")

    def read(self) -> Stage:
        """Fill a batch, each time from other clips and places, on one thread, from the page cache."""
        rows = list(self.buffer(self.features.window).numpy())
        drawn = list(self.crops(PLACES, self.features.window))
        for clip, start in drawn:
            self.reader.read(clip, start, rows[0])  # into the page cache
        places = itertools.cycle(drawn)

        def fill() -> None:
            for row, (clip, start) in zip(rows, places, strict=False):
                self.reader.read(clip, start, row)

        return fill

    def filled(self, window: int) -> Tensor:
        """A batch of windows, as read."""
        buffer = self.buffer(window)
        for row, (clip, start) in zip(buffer.numpy(), self.crops(self.batch_size, window), strict=True):
            self.reader.read(clip, start, row)
        return buffer

    def decode(self, codec: str) -> Stage:
        """Decode a batch of crops, each a file of its own, on one thread."""
        samples = floats(self.filled(self.features.window)).numpy()
        files = [audio.encode(audio.quantise(row), self.features.sample_rate, codec) for row in samples]
        return lambda: [audio.decode(file) for file in files]

    def copy(self) -> Stage:
        """To the device, and from int16 to floats."""
        buffer = self.filled(self.features.window)
        return lambda: floats(buffer.to(self.device, non_blocking=True))

    def augment(self, transform: Transform) -> Stage:
        """Windows of the lengths that the transform asks for, to crops."""
        draw = self.draw(transform)
        window = int(transform.source(self.length, draw).length.max())
        waveform = floats(self.filled(window).to(self.device))
        return lambda: transform.apply(waveform, draw, self.length)

    def draw(self, transform: Transform) -> Draw:
        """Parameters of a batch."""
        return transform.draw(self.manifest.key_hash[self.rng.integers(0, len(self.manifest), self.batch_size)])

    def mel(self) -> Stage:
        """Crops to features."""
        waveform = floats(self.filled(self.features.window).to(self.device))
        return lambda: self.features(waveform)

    def widen(self) -> Stage:
        """16-bit samples to float32, on the device."""
        samples = self.filled(self.features.window).to(self.device)
        return lambda: floats(samples)

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Every stage, by name, in the order of a batch's way."""
        yield "read", self.read()
        for codec, name in CODECS.items():
            yield f"decode {name} (soundfile)", self.decode(codec)
        yield "copy to the device", self.copy()
        yield "widen to float32", self.widen()
        study = recipe("study")
        assert isinstance(study, OneOf)
        for transform in study.members[1:]:
            yield f"augment: {type(transform).__name__}", self.augment(transform)
        yield "augment: the recipe study", self.augment(study)
        yield "log-mel", self.mel()


def floats(samples: Tensor) -> Tensor:
    """Full scale at +/-1."""
    return widen(samples) if samples.dtype == torch.int16 else samples
