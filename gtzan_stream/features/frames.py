"""Frames: the overlapping pieces of waveform that spectrograms are computed from; and the default size of an STFT."""

from jaxtyping import Float
from torch import Tensor, nn

from gtzan_stream.checks import checked_int
from gtzan_stream.geometry import Geometry
from gtzan_stream.shapes import Waveform


def stft_size(sample_rate: int, n_fft: int | None = None, hop_length: int | None = None) -> tuple[int, int]:
    """Return the frame and hop length of an STFT: by default frames of about 46.4 ms that overlap by half.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft : int, optional
        Samples per frame. By default the even number nearest to ``sample_rate * 1024 / 22050`` without prime factors
        other than 2, 3 and 5, for a fast FFT; the smaller one of two equally near.
    hop_length : int, optional
        Samples from one frame to the next; ``n_fft // 2`` by default.

    Returns
    -------
    (int, int)
        `n_fft` and `hop_length`.

    Raises
    ------
    UserError
        If a number is not an integer, or out of its range.

    Examples
    --------
    >>> stft_size(22050), stft_size(16000), stft_size(16000, n_fft=400)
    ((1024, 512), (750, 375), (400, 200))
    """
    sample_rate = checked_int("sample_rate", sample_rate, 1, 1_000_000)
    if n_fft is None:
        n_fft = _nearest_fast_size(sample_rate * 1024, 22_050)
    n_fft = checked_int("n_fft", n_fft, maximum=2**20)
    return n_fft, max(n_fft // 2, 1) if hop_length is None else checked_int("hop_length", hop_length, 1)


def _nearest_fast_size(numerator: int, denominator: int) -> int:
    """Find the even number of prime factors 2, 3 and 5 that is nearest to ``numerator / denominator``.

    Integer arithmetic recognises ties exactly; the smaller number wins.
    """
    powers = range(max(numerator // denominator, 2).bit_length() + 1)
    numbers = {2 * 2**i * 3**j * 5**k for i in powers for j in powers for k in powers}
    return min(numbers, key=lambda n: (abs(n * denominator - numerator), n))


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

    def forward(self, waveform: Waveform) -> Float[Tensor, "batch sample frame"]:
        """Cut the waveform into frames, all of them inside it: [batch, n_fft, 1 + (time - n_fft) // hop_length]."""
        return waveform.unfold(1, self.geometry.frame_length, self.geometry.step).transpose(1, 2)
