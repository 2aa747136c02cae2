"""The module that a run trains: a network with its normalisation and trainable spectrogram."""

from torch import Tensor, nn

from gtzan_stream.features import LogMel
from gtzan_stream.normalization import Normalization


class Classifier(nn.Module):
    """Maps a batch of the loader to logits: trainable spectrogram if there is one, normalisation, network.

    Parameters
    ----------
    network : Module
        Maps normalised features to logits.
    normalization : Normalization
    frontend : Module, optional
        Trainable spectrogram, which turns the loader's frames into features.
    """

    def __init__(
        self,
        network: nn.Module,
        normalization: Normalization,
        *,
        frontend: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.frontend = frontend or nn.Identity()
        self.normalization = normalization
        self.network = network

    def forward(self, features: Tensor, hidden: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Return logits [batch, n_classes]; in training mode, networks with auxiliary heads return a tuple.

        Normalised features are replaced by their mean, 0, where `hidden`, bool [batch, row, frame], is true.
        """
        features = self.normalization(self.frontend(features))
        return self.network(features if hidden is None else features.masked_fill(hidden, 0.0))


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
