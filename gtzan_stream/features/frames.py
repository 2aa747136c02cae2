"""Frames: the overlapping pieces of waveform that spectrograms are computed from."""

from jaxtyping import Float
from torch import Tensor, nn

from gtzan_stream.features.stft_size import stft_size
from gtzan_stream.geometry import Geometry
from gtzan_stream.shapes import Waveform


class Frames(nn.Module):
    """The waveform of each STFT frame, without window or transform: the input of a `LogMel` with the same arguments.

    For networks that learn their own spectrogram. The loader reads the same segments as for `LogMel` and fills the same
    frames after a clip's end with silence.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, hop_length : int, optional
        Samples per frame, even, and samples from one frame to the next. By default from `stft_size`: 1,024 and 512 at
        22,050 Hz.
    frames : int
        Frames in a crop.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import torch
    >>> features = Frames()
    >>> features(torch.zeros(2, features.geometry.read_length)).shape
    torch.Size([2, 1024, 128])
    """

    def __init__(
        self,
        *,
        sample_rate: int = 22050,
        n_fft: int | None = None,
        hop_length: int | None = None,
        frames: int = 128,
    ) -> None:
        super().__init__()
        n_fft, hop_length = stft_size(sample_rate, n_fft, hop_length)
        self.geometry = Geometry.of_stft(sample_rate=sample_rate, n_fft=n_fft, hop_length=hop_length, frames=frames)
        self.sample_rate, self.frames = self.geometry.sample_rate, self.geometry.frames
        self.n_fft, self.hop_length = n_fft, hop_length

    def forward(self, waveform: Waveform) -> Float[Tensor, "batch sample frame"]:
        """Cut the waveform into frames, all of them inside it: [batch, n_fft, 1 + (time - n_fft) // hop_length]."""
        return waveform.unfold(1, self.geometry.frame_length, self.geometry.step).transpose(1, 2)
