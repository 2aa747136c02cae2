"""Load real clips of equal length, for benchmarks on whole clips."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader


def load(shards: Path, n_clips: int, clip_s: float) -> Tensor:
    """Load clips spread evenly over the set, all of one length: longer ones are cut, shorter ones repeated.

    Parameters
    ----------
    shards : Path
    n_clips : int
        If the set has fewer, clips are repeated.
    clip_s : float
        Length of each clip in seconds.

    Returns
    -------
    Tensor [n_clips, time], float32
        Full scale at +/-1.
    """
    manifest = Manifest.open(shards)
    reader = ClipReader(manifest)
    length = round(clip_s * manifest.sample_rate)
    waveform = np.empty((n_clips, length), np.float32)
    for row, clip in enumerate(np.linspace(0, len(manifest) - 1, n_clips).astype(int)):
        samples = np.empty(min(length, manifest.frames[clip]), reader.dtype)
        reader.read(int(clip), 0, samples)
        scale = 1 / 32768 if reader.dtype is np.int16 else 1
        waveform[row] = np.resize(samples, length) * np.float32(scale)
    return torch.from_numpy(waveform)
