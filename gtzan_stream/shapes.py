"""Types of tensors with their shapes, for signatures. They are checked in tests, and cost nothing otherwise."""

from jaxtyping import Complex, Float
from torch import Tensor

Waveform = Float[Tensor, "batch time"]
"""Mono audio, full scale at +/-1."""

Waveforms = Float[Tensor, "batch *channel time"]
"""Audio with one or more channels, full scale at +/-1."""

Spectrogram = Complex[Tensor, "batch freq frame"]
"""A short-time Fourier transform."""

Magnitude = Float[Tensor, "batch freq frame"]
"""Magnitude of a short-time Fourier transform, or a power of it."""

Features = Float[Tensor, "batch row frame"]
"""Input of a network. A row is a mel band, or the one channel of a waveform."""
