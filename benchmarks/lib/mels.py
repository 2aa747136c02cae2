"""Log-mel spectrograms by other libraries: 128 Slaney bands of frames of 1,024 samples, 512 apart."""

import numpy as np
from torch import nn

from benchmarks.lib.contest import Run
from benchmarks.lib.peers import RATE, on_numpy

N_FFT, HOP, N_MELS = 1024, 512, 128


def nnaudio() -> nn.Module:
    """nnAudio's mel spectrogram, by convolution."""
    from nnAudio.features.mel import MelSpectrogram

    return MelSpectrogram(sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, verbose=False)


def torchaudio() -> nn.Module:
    """torchaudio's mel spectrogram, with librosa's mel scale."""
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(RATE, N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, norm="slaney", mel_scale="slaney")


def librosa() -> Run:
    """librosa's log10(1 + 10 m), with the clips reflected at their ends as the other libraries do."""
    from librosa.feature import melspectrogram

    def log_mel(clip: np.ndarray, _: float) -> np.ndarray:
        mel = melspectrogram(
            y=clip, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, pad_mode="reflect", dtype=clip.dtype
        )
        return np.log10(1 + 10 * mel)

    return on_numpy(log_mel)
