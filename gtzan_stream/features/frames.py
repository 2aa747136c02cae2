"""Frames: the frames that spectrograms are computed from, for networks that learn their own."""

from jaxtyping import Float
from torch import Tensor, nn

from gtzan_stream.geometry import Geometry
from gtzan_stream.shapes import Waveform


class Frames(nn.Module):
    """The pieces of waveform that a `LogMel` of the same arguments turns into its frames, one after the other.

    For networks that learn their own spectrogram: the loader reads the same segments, and silences the same frames
    beyond a clip's end.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, hop_length, frames : int
        Samples of a frame, even; samples from one frame to the next; frames of a crop.

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
        self, *, sample_rate: int = 22050, n_fft: int = 1024, hop_length: int = 512, frames: int = 128
    ) -> None:
        super().__init__()
        self.geometry = Geometry.of_stft(sample_rate=sample_rate, n_fft=n_fft, hop_length=hop_length, frames=frames)

    def forward(self, waveform: Waveform) -> Float[Tensor, "batch sample frame"]:
        """Cut the waveform into frames that lie wholly inside it: [batch, n_fft, 1 + (time - n_fft) // hop_length]."""
        return waveform.unfold(1, self.geometry.frame_length, self.geometry.step).transpose(1, 2)
