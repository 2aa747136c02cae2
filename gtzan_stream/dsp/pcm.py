"""Buffers of 16-bit samples: allocate them, and convert them to float32."""

import math

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.dsp.backend import for_rows

_SCALE = np.float32(1 / 32768)


def to_float32(pcm: Tensor) -> Tensor:
    """Convert 16-bit samples to float32 at +/-1, and return other samples as they are.

    On the CPU, numpy in our own threads is faster than torch.
    """
    if pcm.dtype != torch.int16:
        return pcm
    if pcm.device.type != "cpu":
        # In one pass. A number as the scale would make it compute in torch's default dtype.
        scale = torch.tensor(1 / 32768, dtype=torch.float32)
        return torch.mul(pcm, scale, out=torch.empty_like(pcm, dtype=torch.float32))
    waveform = uninitialized(tuple(pcm.shape), torch.float32)
    samples, out = pcm.numpy(), waveform.numpy()
    for_rows(lambda row: write_float32(samples[row], out[row]), len(pcm))
    return waveform


def write_float32(samples: np.ndarray, out: np.ndarray) -> None:
    """Fill a float32 array with samples: 16-bit ones at +/-1, float32 ones as they are."""
    if samples.dtype == np.int16:
        np.multiply(samples, _SCALE, out=out, dtype=np.float32)
    else:
        out[:] = samples


def uninitialized(shape: tuple[int, ...], dtype: torch.dtype, *, pin_memory: bool = False) -> Tensor:
    """Allocate a tensor in storage that is up to a quarter larger, so that few sizes of storage occur.

    Many sizes would fragment the heap, and the system would map new memory for each batch.
    """
    n = math.prod(shape)
    step = 1 << max(n.bit_length() - 3, 0)
    storage = torch.empty(-(-n // step) * step, dtype=dtype, pin_memory=pin_memory)
    return storage[:n].view(shape)
