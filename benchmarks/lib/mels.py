"""Log-mel spectrograms by other libraries: 128 Slaney bands, n_fft 1024, hop 512."""

import numpy as np
from torch import nn

from benchmarks.lib.contest import Run
from benchmarks.lib.peers import RATE, on_numpy

N_FFT, HOP, N_MELS = 1024, 512, 128


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
