"""What a run trains: a network, and everything between a batch's features and it."""

from torch import Tensor, nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.normalization import Normalization


class Classifier(nn.Module):
    """From what the loader yields to logits: a spectrogram if it is learnt, normalisation, masks, the network.

    Parameters
    ----------
    network : Module
        From normalised features to logits.
    normalization : Normalization
    frontend : Module, optional
        Turns a batch into features, where the loader does not.
    widest_mask : int
        In bands and in frames; see `SpecAugment`. 0 masks nothing.
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
        """Logits [batch, n_classes]; in training, with those of auxiliary heads after them, if there are any."""
        return self.network(self.masks(self.normalization(self.frontend(features))))


class TrainableLogMel(nn.Module):
    """Log-mel spectrograms whose STFT kernels and mel basis are learnt, of what `gtzan_stream.features.Frames` yields.

    Parameters
    ----------
    features : LogMel
        Of trainable kernels.

    References
    ----------
    .. [1] K. W. Cheuk, H. Anderson, K. Agres, D. Herremans, "nnAudio: an on-the-fly GPU audio to spectrogram conversion
       toolbox using 1D convolutional neural networks", IEEE Access 2020.
    """

    def __init__(self, features: LogMel) -> None:
        super().__init__()
        if not features.trainable:
            raise ValueError("the spectrogram has nothing to learn: make it with LogMel(trainable=True)")
        self.features = features
        self.n_rows = len(features.get_buffer("starts"))

    def forward(self, frames: Tensor) -> Tensor:
        """Features [batch, mel, frame] of frames [batch, sample, frame]."""
        batch, n_fft, n_frames = frames.shape
        features = self.features(frames.transpose(1, 2).reshape(-1, n_fft))  # [batch * frame, mel, 1]
        return features.reshape(batch, n_frames, -1).transpose(1, 2)


class SpecAugment(nn.Module):
    """In training, silence a stretch of bands and a stretch of frames of each example, each with its own.

    Parameters
    ----------
    widest : int
        Bands, and frames, that a mask hides at most; each width from 0 on is as probable as the others.

    References
    ----------
    .. [1] D. S. Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition",
       Interspeech 2019.
    """

    def __init__(self, widest: int) -> None:
        super().__init__()
        try:  # only here: beside a torch built without CUDA, torchaudio's wheel cannot be imported
            from torchaudio.transforms import FrequencyMasking, TimeMasking
        except (ImportError, OSError) as error:
            raise UserError(
                f"SpecAugment needs torchaudio, which cannot be imported here ({error}): install the torchaudio that "
                "goes with this torch, or train without --spec-augment"
            ) from error
        self.masks = nn.Sequential(FrequencyMasking(widest, iid_masks=True), TimeMasking(widest, iid_masks=True))

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, mel, frame] of mean 0, which is what is put in place of what is hidden."""
        return self.masks(features) if self.training else features
