"""RawWaveform: the waveform itself, for networks that take samples."""

from torch import nn

from gtzan_stream.geometry import Geometry
from gtzan_stream.shapes import Features, Waveform


class RawWaveform(nn.Module):
    """The waveform itself, as one channel. A frame is one sample.

    Parameters
    ----------
    sample_rate : int
        Hz.
    frames : int
        Samples in a crop. Crops start on multiples of 512 samples, as with spectrograms.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import torch
    >>> RawWaveform()(torch.zeros(2, 66150)).shape
    torch.Size([2, 1, 66150])
    """

    def __init__(self, *, sample_rate: int = 22050, frames: int = 66150) -> None:
        super().__init__()
        self.geometry = Geometry(sample_rate=sample_rate, frame_length=1, step=1, context=0, frames=frames, grid=512)
        self.sample_rate, self.frames = self.geometry.sample_rate, self.geometry.frames

    def forward(self, waveform: Waveform) -> Features:
        """Add a channel axis to the waveform [batch, time]: [batch, 1, time]."""
        return waveform[:, None]
