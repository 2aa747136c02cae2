"""Names of the tensor shapes used in signatures: checked in the tests, free in production."""

from jaxtyping import Complex, Float
from torch import Tensor

Waveform = Float[Tensor, "batch time"]
"""Mono audio, full scale at +/-1."""

Waveforms = Float[Tensor, "batch *channel time"]
"""Audio of one or of several channels, full scale at +/-1."""

Spectrogram = Complex[Tensor, "batch freq frame"]
"""A short-time Fourier transform."""

Magnitude = Float[Tensor, "batch freq frame"]
"""Absolute values, or a power of them, of a short-time Fourier transform."""

Features = Float[Tensor, "batch mel frame"]
"""What a network is fed."""
