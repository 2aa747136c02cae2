"""Convolutions over the raw waveform."""

from torch import nn


def samplecnn(n_classes: int) -> nn.Module:
    """Build Sample CNN with basic blocks: 11 convolutions of kernel 3, the first with stride 3, nine with pooling by 3.

    Input [batch, 1, 66150], output [batch, n_classes]. 2,370,698 parameters for ten classes. The study's
    version stayed at chance. This one learns, with batch norm, batches of 16, and each example normalised to variance
    1, so that loudness is not a clue and quiet music is not mistaken for silence.

    References
    ----------
    .. [1] T. Kim, J. Lee, J. Nam, "Sample-level CNN architectures for music auto-tagging using raw waveforms",
       ICASSP 2018.
    """
    channels = (128, 128, 256, 256, 256, 256, 256, 256, 512)
    first = nn.Conv1d(1, 128, kernel_size=3, stride=3, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm1d(128), nn.ReLU(inplace=True)]  # [batch, 128, 22050]
    for n_in, n_out in zip((128, *channels[:-1]), channels, strict=True):
        layers += [*_convolution(n_in, n_out), nn.MaxPool1d(3)]
    layers += [*_convolution(512, 512), nn.AdaptiveAvgPool1d(1)]  # changes nothing for 66,150 samples
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, n_classes))


def _convolution(n_in: int, n_out: int) -> list[nn.Module]:
    return [nn.Conv1d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm1d(n_out), nn.ReLU(inplace=True)]
