"""LogMel: log-mel spectrograms with nnAudio's window and mel basis, computed by `gtzan_stream.dsp.mel`."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream.checks import checked_int
from gtzan_stream.dsp.mel import compress, log_mel
from gtzan_stream.dsp.mel_bands import Bands, LogCompression, bands
from gtzan_stream.dsp.mel_rows import RowKernel, row_kernel
from gtzan_stream.features.full_precision import full_precision
from gtzan_stream.features.mel_basis import band_edges, check_size, hann_window, mel_basis, nnaudio
from gtzan_stream.features.stft_size import stft_size
from gtzan_stream.geometry import Geometry
from gtzan_stream.shapes import Features, Waveform

DB_FLOOR = -100.0
DEFAULT_F_MAX = 11_025.0  # Hz; half of the study's 22,050 Hz


class LogMel(nn.Module):
    """Log-mel spectrogram, equal to `nnAudio.features.mel.MelSpectrogram` with a logarithm, but computed by FFT.

    With trainable kernels, nnAudio's own convolution is used.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft : int, optional
        Samples per frame, even; also the length of the Hann window. By default about 46.4 ms (see
        `gtzan_stream.features.stft_size`): 1,024 at 22,050 Hz, 360 at 8,000 Hz. The default is long enough for
        128 bands at every sample rate from 8,000 to 48,000 Hz.
    hop_length : int, optional
        Samples from one frame's centre to the next's; ``n_fft // 2`` by default.
    n_mels : int
        Bands of the Slaney mel scale, each filter with the same area.
    f_min, f_max : float
        Lowest and highest frequency in Hz. By default `f_max` is half the sample rate, or 11,025 Hz if that is lower.
    power : float
        Exponent of the magnitudes: 1 sums magnitudes, 2 sums powers.
    compression : "log10" or "db"
        ``log10(1 + 10 m)``, or decibels relative to 1, not below -100 dB: librosa's ``amplitude_to_db`` for power 1
        and ``power_to_db`` for power 2, without `top_db`.
    frames : int
        Frames in a crop.
    trainable : bool
        Make the STFT kernels and the mel basis parameters, and convolve with them as nnAudio does. On CUDA the forward
        pass is in full float32; the backward pass, and a forward pass under torch.compile, follow the process's
        setting (torch's default is TF32).

    Raises
    ------
    ValueError
        If an argument is out of its range, the mel basis or trainable kernels would have more than 2**24 numbers, or a
        band would hold no frequency bin, so that it would always be silent. The message says which `n_mels` or `n_fft`
        works.

    Examples
    --------
    >>> features = LogMel()
    >>> features(torch.zeros(2, features.geometry.read_length)).shape
    torch.Size([2, 128, 128])
    """

    window: Tensor
    starts: Tensor
    widths: Tensor
    weights: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 22050,
        n_fft: int | None = None,
        hop_length: int | None = None,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        power: float = 1.0,
        compression: Literal["log10", "db"] = "log10",
        frames: int = 128,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        n_fft, hop_length = stft_size(sample_rate, n_fft, hop_length)
        self.geometry = Geometry.of_stft(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            frames=frames,
            silence=0.0 if compression == "log10" else DB_FLOOR,
        )
        f_max = min(sample_rate / 2, DEFAULT_F_MAX) if f_max is None else f_max
        n_mels = checked_int("n_mels", n_mels, 1, 2**14)
        _require(
            0 <= f_min < f_max <= sample_rate / 2,
            f"expected 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, got {f_min:g} and {f_max:g}",
        )
        _require(power > 0, f"power must be positive, got {power}")
        _require(compression in ("log10", "db"), f"compression must be log10 or db, got {compression!r}")
        if trainable:
            check_size("trainable kernels", n_fft, n_fft)
        self.sample_rate, self.frames = self.geometry.sample_rate, self.geometry.frames
        self.n_fft, self.hop_length, self.n_mels = n_fft, hop_length, n_mels
        self.f_min, self.f_max, self.power = float(f_min), float(f_max), float(power)
        self.compression, self.trainable = compression, trainable
        # In dB: m sums magnitudes ** power, so dB = 20 / power * log10(m), which is DB_FLOOR at the floor of m.
        self._logarithm = (
            LogCompression(scale=1 / math.log(10), gain=10.0, floor=0.0)
            if compression == "log10"
            else LogCompression(scale=20 / power / math.log(10), gain=0.0, floor=10 ** (DB_FLOOR / 20 * power))
        )
        basis = mel_basis(self.sample_rate, n_fft, n_mels, self.f_min, self.f_max)
        for name, value in {"window": hann_window(n_fft), **bands(basis)._asdict()}.items():
            self.register_buffer(name, value, persistent=False)
        self.convolution = self._nnaudio_mel() if trainable else None

    @property
    def centres_hz(self) -> np.ndarray:
        """Frequency of each band's peak in Hz: float64 [n_mels]."""
        return band_edges(self.n_mels, self.f_min, self.f_max)[1:-1]

    def forward(self, waveform: Waveform) -> Features:
        """Compute the features of the frames that are wholly inside the waveform; nothing is padded.

        Parameters
        ----------
        waveform : Tensor [batch, time]
            ``geometry.read_length`` samples for a crop of `frames` frames; at least `n_fft`. Half precision is computed
            in float32. A sample that is not finite makes the frames that contain it not finite.

        Returns
        -------
        Tensor [batch, n_mels, 1 + (time - n_fft) // hop_length]

        Raises
        ------
        ValueError
            If the waveform is shorter than one frame.
        """
        n_fft = self.geometry.frame_length
        if waveform.shape[1] < n_fft:
            raise ValueError(f"expected at least n_fft = {n_fft} samples, got {waveform.shape[1]}")
        if waveform.dtype != torch.float64:
            waveform = waveform.float()
        with torch.autocast(waveform.device.type, enabled=False):
            if self.convolution is not None:
                with full_precision(waveform.device):
                    return compress(self.convolution(waveform), self._logarithm)
            return log_mel(
                waveform,
                self.window,
                Bands(self.starts, self.widths, self.weights),
                hop_length=self.geometry.step,
                power=self.power,
                compression=self._logarithm,
            )

    def row_kernel(self) -> RowKernel | None:
        """Make a function that computes the features of one row on the CPU, without torch, from int16 or float32.

        Returns
        -------
        callable or None
            ``kernel(samples, out)`` of `gtzan_stream.dsp.mel_rows.row_kernel`. It fills `out` [mel, frame] with the
            bits that `forward` gives for the same samples at +/-1. None if there is none for these settings, this CPU
            or the module's device, if the kernels are trainable, or if a subclass or a hook changes `forward`.
        """
        is_changed = type(self).forward is not LogMel.forward or self._forward_hooks or self._forward_pre_hooks
        if self.trainable or is_changed:
            return None
        return row_kernel(
            self.window,
            Bands(self.starts, self.widths, self.weights),
            hop_length=self.geometry.step,
            power=self.power,
            compression=self._logarithm,
        )

    def _nnaudio_mel(self) -> nn.Module:
        """Build nnAudio's MelSpectrogram with trainable kernels, without padding."""
        return nnaudio("features.mel").MelSpectrogram(
            sr=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
            fmin=self.f_min,
            fmax=self.f_max,
            power=self.power,
            center=False,
            trainable_mel=True,
            trainable_STFT=True,
            verbose=False,
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
