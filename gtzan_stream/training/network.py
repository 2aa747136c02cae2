"""The module that a run trains: a network with its normalisation, SpecAugment and trainable spectrogram."""

from torch import Tensor, nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.normalization import Normalization


class Classifier(nn.Module):
    """Maps a batch of the loader to logits: trainable spectrogram if there is one, normalisation, masks, network.

    Parameters
    ----------
    network : Module
        Maps normalised features to logits.
    normalization : Normalization
    frontend : Module, optional
        Trainable spectrogram, which turns the loader's frames into features.
    widest_mask : int
        Widest mask in bands and in frames, see `SpecAugment`; 0 for no masks.
    """

    def __init__(
        self,
        network: nn.Module,
        normalization: Normalization,
        *,
        frontend: nn.Module | None = None,
        widest_mask: int = 0,
    ) -> None:
        super().__init__()
        self.frontend = frontend or nn.Identity()
        self.normalization = normalization
        self.masks = SpecAugment(widest_mask) if widest_mask else nn.Identity()
        self.network = network

    def forward(self, features: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return logits [batch, n_classes]; in training mode, networks with auxiliary heads return a tuple."""
        return self.network(self.masks(self.normalization(self.frontend(features))))


class TrainableLogMel(nn.Module):
    """Log-mel spectrogram with trainable STFT kernels and mel basis, computed from `gtzan_stream.features.Frames`.

    Parameters
    ----------
    features : LogMel
        Built with ``trainable=True``.

    References
    ----------
    .. [1] K. W. Cheuk, H. Anderson, K. Agres, D. Herremans, "nnAudio: an on-the-fly GPU audio to spectrogram conversion
       toolbox using 1D convolutional neural networks", IEEE Access 2020.
    """

    def __init__(self, features: LogMel) -> None:
        super().__init__()
        if not features.trainable:
            raise ValueError("the spectrogram has nothing to train: build it with LogMel(trainable=True)")
        self.features = features
        self.n_rows = len(features.get_buffer("starts"))

    def forward(self, frames: Tensor) -> Tensor:
        """Compute features [batch, mel, frame] from frames [batch, sample, frame]."""
        batch, n_fft, n_frames = frames.shape
        features = self.features(frames.transpose(1, 2).reshape(-1, n_fft))  # [batch * frame, mel, 1]
        return features.reshape(batch, n_frames, -1).transpose(1, 2)


class SpecAugment(nn.Module):
    """In training mode, hide a random range of bands and a random range of frames of each example.

    Parameters
    ----------
    widest : int
        Largest number of bands and of frames to hide. Widths are uniform from 0 to it.

    References
    ----------
    .. [1] D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition",
       Interspeech 2019.
    """

    def __init__(self, widest: int) -> None:
        super().__init__()
        try:  # imported here: torchaudio's wheel cannot be imported with a CPU-only torch
            from torchaudio.transforms import FrequencyMasking, TimeMasking
        except (ImportError, OSError) as error:
            raise UserError(
                f"SpecAugment needs torchaudio, which cannot be imported here ({error}): install the torchaudio that "
                "goes with this torch, or train without --spec-augment"
            ) from error
        self.masks = nn.Sequential(FrequencyMasking(widest, iid_masks=True), TimeMasking(widest, iid_masks=True))

    def forward(self, features: Tensor) -> Tensor:
        """Mask features [batch, mel, frame] with 0, their mean after normalisation."""
        return self.masks(features) if self.training else features
