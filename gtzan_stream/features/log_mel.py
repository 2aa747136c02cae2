"""LogMel: log-mel spectrograms."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from gtzan_stream.dsp.mel import Bands, Compression, bands, compress, log_mel
from gtzan_stream.geometry import Geometry
from gtzan_stream.shapes import Features, Waveform

DB_FLOOR = -100.0


class LogMel(nn.Module):
    """Log-mel spectrogram: the window and mel basis of `nnAudio.features.mel.MelSpectrogram`, by FFT.

    With trained kernels it is nnAudio's convolution itself.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft : int
        Samples per frame, even; also the length of the Hann window.
    hop_length : int
        Samples from one frame's centre to the next's.
    n_mels : int
        Bands of the Slaney mel scale, of equal area.
    f_min, f_max : float
        Lowest and highest frequency in Hz; `f_max` is half the sample rate by default.
    power : float
        Exponent of the magnitudes: 1 sums magnitudes, 2 sums powers.
    compression : "log10" or "db"
        ``log10(1 + 10 m)``, or decibels relative to a band of 1 with -100 dB as the least, which is librosa's
        ``amplitude_to_db`` for power 1 and ``power_to_db`` for power 2, without `top_db`.
    frames : int
        Frames of a crop.
    trainable : bool
        Make the STFT kernels and the mel basis parameters, and convolve with them as nnAudio does: on CUDA in full
        float32, but for the gradients, which are computed as the process is set (torch's default is TF32).

    Raises
    ------
    ValueError
        If an argument is out of its range, or a band would hold no frequency bin.

    Examples
    --------
    >>> features = LogMel()
    >>> features(torch.zeros(2, features.geometry.read_length)).shape
    torch.Size([2, 128, 128])
    """

    taper: Tensor
    starts: Tensor
    widths: Tensor
    weights: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 22050,
        n_fft: int = 1024,
        hop_length: int = 512,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        power: float = 1.0,
        compression: Literal["log10", "db"] = "log10",
        frames: int = 128,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        self.geometry = Geometry.of_stft(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            frames=frames,
            silence=0.0 if compression == "log10" else DB_FLOOR,
        )
        f_max = sample_rate / 2 if f_max is None else f_max
        _require(n_mels >= 1, f"n_mels must be at least 1, got {n_mels}")
        _require(
            0 <= f_min < f_max <= sample_rate / 2,
            f"expected 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, got {f_min:g} and {f_max:g}",
        )
        _require(power > 0, f"power must be positive, got {power}")
        _require(compression in ("log10", "db"), f"compression must be log10 or db, got {compression!r}")
        self.power, self.trainable = float(power), trainable
        self.compression = (
            Compression(scale=1 / math.log(10), gain=10.0, floor=0.0)
            if compression == "log10"
            else Compression(scale=20 / power / math.log(10), gain=0.0, floor=10 ** (DB_FLOOR / 20 * power))
        )
        nnaudio = _nnaudio_mel(sample_rate, n_fft, hop_length, n_mels, f_min, f_max, self.power, trainable)
        runs = bands(nnaudio.get_parameter("mel_basis").detach() if trainable else nnaudio.get_buffer("mel_basis"))
        self.convolution = nnaudio if trainable else None
        taper = nnaudio.get_buffer("stft.window_mask").flatten().float()
        for name, value in {"taper": taper, **runs._asdict()}.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, waveform: Waveform) -> Features:
        """Features of frames that lie wholly inside the waveform: it brings its own context.

        Parameters
        ----------
        waveform : Tensor [batch, time]
            ``geometry.read_length`` samples for a crop of `frames` frames; at least `n_fft`. Half precision is computed
            in float32.

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
                with _full_precision(waveform.device):
                    return compress(self.convolution(waveform), self.compression)
            return log_mel(
                waveform,
                self.taper,
                Bands(self.starts, self.widths, self.weights),
                hop_length=self.geometry.step,
                power=self.power,
                compression=self.compression,
            )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _nnaudio_mel(
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    f_min: float,
    f_max: float,
    power: float,
    trainable: bool,
) -> nn.Module:
    from nnAudio.features.mel import MelSpectrogram

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty bands, which are an error here
        return MelSpectrogram(
            sr=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            fmin=f_min,
            fmax=f_max,
            power=power,
            center=False,
            trainable_mel=trainable,
            trainable_STFT=trainable,
            verbose=False,
        )


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Convolve and multiply without TF32 on CUDA, whatever the process has chosen."""
    if device.type != "cuda":
        yield
        return
    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, old in zip(settings, before, strict=True):
            setting.fp32_precision = old
