"""The loader's stages, each run alone on batches of random crops."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtzan_stream import audio, crops
from gtzan_stream.augment import Draw, OneOf, Transform, recipe
from gtzan_stream.dsp.pcm import to_float32
from gtzan_stream.features import LogMel
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader

CODECS = {"wav": "WAV", "flac": "FLAC"}
N_CROPS = 4096
"""Number of random crops to read, drawn before the clock starts."""
Stage = Callable[[], object]


class Bench:
    """Makes batches for each stage, and the calls to time.

    Parameters
    ----------
    shards : Path
    batch_size : int
    device : torch.device
    """

    def __init__(self, shards: Path, batch_size: int, device: torch.device) -> None:
        self.manifest, self.device, self.batch_size = Manifest.open(shards), device, batch_size
        self.features = LogMel().to(device)
        self.geometry = self.features.geometry
        self.reader = ClipReader(self.manifest)
        self.rng = np.random.default_rng(0)
        self.length = np.full(batch_size, self.geometry.read_length)

    def segments(self, n: int, length: int) -> Iterator[tuple[int, int]]:
        """Draw `n` random segments of `length` samples: clip and first sample of each."""
        clips = self.rng.integers(0, len(self.manifest), n)
        lengths = self.manifest.frames[clips]
        starts = crops.random_starts(self.rng.random(n), lengths, self.geometry, np.ones(n))
        read = crops.segments(starts, lengths, self.geometry, source_length=np.full(n, length))
        return zip(clips.tolist(), read.start.tolist(), strict=True)

    def buffer(self, length: int) -> Tensor:
        """Allocate a batch for the reader to fill, pinned for a GPU."""
        dtype = torch.int16 if self.reader.dtype is np.int16 else torch.float32
        return torch.zeros(self.batch_size, length, dtype=dtype, pin_memory=self.device.type == "cuda")

    def read(self) -> Stage:
        """Read a batch from the page cache on one thread, with other clips and positions each time."""
        rows = list(self.buffer(self.geometry.read_length).numpy())
        drawn = list(self.segments(N_CROPS, self.geometry.read_length))
        for clip, start in drawn:
            self.reader.read(clip, start, rows[0])  # brings the segment into the page cache
        segments = itertools.cycle(drawn)

        def fill() -> None:
            for row, (clip, start) in zip(rows, segments, strict=False):
                self.reader.read(clip, start, row)

        return fill

    def filled(self, length: int) -> Tensor:
        """Return a batch of random segments, as read."""
        buffer = self.buffer(length)
        for row, (clip, start) in zip(buffer.numpy(), self.segments(self.batch_size, length), strict=True):
            self.reader.read(clip, start, row)
        return buffer

    def decode(self, codec: str) -> Stage:
        """Decode a batch of files that hold one crop each, on one thread."""
        samples = floats(self.filled(self.geometry.read_length)).numpy()
        files = [audio.encode(audio.quantise(row), self.geometry.sample_rate, codec) for row in samples]
        return lambda: [audio.decode(file) for file in files]

    def copy_and_widen(self) -> Stage:
        """Copy a batch to the device and convert it to float32: on a CPU, the copy alone would measure nothing."""
        buffer = self.filled(self.geometry.read_length)
        return lambda: floats(buffer.to(self.device, non_blocking=True))

    def augment(self, transform: Transform) -> Stage:
        """Augment a batch of segments, each as long as the transform needs."""
        draw = self.draw(transform)
        longest = int(transform.source(self.length, draw).length.max())
        waveform = floats(self.filled(longest).to(self.device))
        return lambda: transform.apply(waveform, draw, self.length)

    def draw(self, transform: Transform) -> Draw:
        """Draw the parameters of a batch."""
        return transform.draw(self.manifest.key_hash[self.rng.integers(0, len(self.manifest), self.batch_size)])

    def mel(self) -> Stage:
        """Compute a batch's features."""
        waveform = floats(self.filled(self.geometry.read_length).to(self.device))
        return lambda: self.features(waveform)

    def widen(self) -> Stage:
        """Convert a batch from int16 to float32, on the device."""
        samples = self.filled(self.geometry.read_length).to(self.device)
        return lambda: floats(samples)

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Yield every stage with its name, in the order in which a batch passes through them."""
        yield "read", self.read()
        for codec, name in CODECS.items():
            yield f"decode {name} (soundfile)", self.decode(codec)
        yield "copy to the device and widen", self.copy_and_widen()
        yield "widen to float32", self.widen()
        study = recipe("study")
        assert isinstance(study, OneOf)
        for transform in study.members[1:]:  # the first is Identity
            yield f"augment: {type(transform).__name__}", self.augment(transform)
        yield "augment: the recipe study", self.augment(study)
        yield "log-mel", self.mel()


def floats(samples: Tensor) -> Tensor:
    """Convert int16 samples to float32, full scale at +/-1."""
    return to_float32(samples) if samples.dtype == torch.int16 else samples
