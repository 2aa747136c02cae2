"""Log-mel spectrograms by other libraries: 128 Slaney bands, n_fft 1024, hop 512; and those of Whisper."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.lib.contest import Run
from benchmarks.lib.peers import RATE, on_numpy

N_FFT, HOP, N_MELS = 1024, 512, 128
WHISPER: dict[str, Any] = {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 80, "power": 2.0}
"""Settings of `LogMel` for the frames of Whisper, a network for speech."""


def nnaudio() -> nn.Module:
    """Build nnAudio's mel spectrogram, computed by convolution."""
    from nnAudio.features.mel import MelSpectrogram

    return MelSpectrogram(sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, verbose=False)


def torchaudio() -> nn.Module:
    """Build torchaudio's mel spectrogram with librosa's mel scale."""
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(RATE, N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, norm="slaney", mel_scale="slaney")


def librosa() -> Run:
    """Return a `Run` of librosa's log10(1 + 10 m), with clips reflected at their ends as in the other libraries."""
    from librosa.feature import melspectrogram

    def log_mel(clip: np.ndarray, _: float) -> np.ndarray:
        mel = melspectrogram(
            y=clip, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, pad_mode="reflect", dtype=clip.dtype
        )
        return np.log10(1 + 10 * mel)

    return on_numpy(log_mel)


def whisper(dtype: torch.dtype = torch.float32) -> Callable[[Tensor], Tensor]:
    """Return torchaudio's log-mel with Whisper's frames, logarithm and scale: [batch, time] to [batch, 80, frame]."""
    from torchaudio.transforms import MelSpectrogram

    mel = MelSpectrogram(
        WHISPER["sample_rate"], 400, hop_length=160, n_mels=80, power=2.0, norm="slaney", mel_scale="slaney"
    ).to(dtype)

    def log_mel(waveform: Tensor) -> Tensor:
        decades = mel(waveform)[..., :-1].clamp(min=1e-10).log10()
        return (torch.maximum(decades, decades.amax((-2, -1), keepdim=True) - 8) + 4) / 4

    return log_mel


def asrfront() -> Run:
    """Return a `Run` of asrfront's log-mel, which is written in C with AVX2."""
    from asrfront.whisper import log_mel

    return on_numpy(lambda clip, _: log_mel(clip, pad_or_trim=False))
