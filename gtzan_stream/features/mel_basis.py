"""The mel basis and the window of nnAudio, without the STFT kernels that nnAudio computes along with them."""

import sys
import warnings
from bisect import bisect_left
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gtzan_stream.features.stft_size import MAX_N_FFT

MAX_NUMBERS = 2**24
"""Most numbers in a mel basis, or in the sines of trainable kernels: 64 MB in float32, a few times that to build."""


def mel_basis(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Float[Tensor, "mel freq"]:
    """Compute nnAudio's mel basis: bands of the Slaney scale, each with the same area.

    Raises
    ------
    ValueError
        If the basis would have more than `MAX_NUMBERS` numbers, or a band would hold no frequency bin.
    """
    check_size(f"a mel basis of n_mels = {n_mels}", n_mels, n_fft)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnAudio warns of empty bands; `_require_bins` raises
        basis = torch.from_numpy(nnaudio("librosa_functions").get_mel(sample_rate, n_fft, n_mels, f_min, f_max))
    _require_bins(basis, sample_rate, n_fft, f_min, f_max)
    return basis


def hann_window(n_fft: int) -> Float[Tensor, "n_fft"]:
    """Compute nnAudio's window, to the bit. nnAudio takes it from scipy.signal, whose import takes half a second."""
    return torch.hann_window(n_fft, dtype=torch.float64).float()


def check_size(name: str, n_rows: int, n_fft: int) -> None:
    """Raise ValueError if `n_rows` rows of ``n_fft // 2 + 1`` frequencies are more than `MAX_NUMBERS` numbers."""
    if n_rows * (n_fft // 2 + 1) > MAX_NUMBERS:
        raise ValueError(
            f"{name} at n_fft = {n_fft} would have {n_rows * (n_fft // 2 + 1):,} numbers, and at most "
            f"{MAX_NUMBERS:,} are allowed: choose a smaller n_fft"
        )


def _require_bins(basis: Tensor, sample_rate: int, n_fft: int, f_min: float, f_max: float) -> None:
    """Raise ValueError if a band of `basis` has no frequency bin.

    A band that is wider than the distance between two bins, ``sample_rate / n_fft``, holds at least one bin, and the
    first band is the narrowest. So the message suggests the smallest even `n_fft`, and the largest number of bands, for
    which the first band is wider than that.
    """
    n_mels = len(basis)
    has_bin = ((basis > 0) & basis.isfinite()).any(1)  # bands of width 0 are NaN
    if has_bin.all():
        return
    remedies = []
    width = _first_band_width(n_mels, f_min, f_max)
    if width * min(2 * (MAX_NUMBERS // n_mels - 1), MAX_N_FFT) > sample_rate:
        remedies.append(f"n_fft = {2 * (int(sample_rate / width) // 2 + 1)} or more")
    most = bisect_left(range(1, n_mels), True, key=lambda n: _first_band_width(n, f_min, f_max) * n_fft <= sample_rate)
    if most:
        remedies.append(f"n_mels = {most} or fewer")
    raise ValueError(
        f"{n_mels - int(has_bin.sum())} of {n_mels} mel bands would hold no frequency bin: at n_fft = {n_fft} bins are "
        f"{sample_rate / n_fft:.1f} Hz apart; choose {', or '.join(remedies) or 'a wider range of frequencies'}"
    )


def _first_band_width(n_mels: int, f_min: float, f_max: float) -> float:
    """Compute the width of the first mel band in Hz."""
    first, _, last = band_edges(n_mels, f_min, f_max)[:3]
    return float(last - first)


def band_edges(n_mels: int, f_min: float, f_max: float) -> np.ndarray:
    """Return the frequencies in Hz at which bands begin, peak and end: band m at ``m``, ``m + 1`` and ``m + 2``."""
    return nnaudio("librosa_functions").mel_frequencies(n_mels + 2, fmin=f_min, fmax=f_max)


def nnaudio(module: str) -> Any:
    """Import a module of nnAudio, or of its successor nnAudio2 if nnAudio is not installed."""
    if find_spec("nnAudio"):
        return import_module(f"nnAudio.{module}")
    if "nnAudio2" in sys.modules:
        return import_module(f"nnAudio2.{module}")
    with redirect_stdout(sys.stderr):  # it prints how to cite it, but a program may read our stdout
        return import_module(f"nnAudio2.{module}")
