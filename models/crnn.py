"""Convolutions, then a recurrent layer over the time steps that are left."""

from torch import Tensor, nn

from models.layers import Channel, block, classifier


class CRNN(nn.Module):
    """Four blocks of convolution, a bidirectional GRU of 512 over time, three linear layers.

    Parameters
    ----------
    n_classes : int
        Size of the output.
    time_pools : four ints
        Max-pooling of each block along time; along frequency it is 2, 2, 4, 8, which leaves one band of 128.
    """

    def __init__(self, n_classes: int, *, time_pools: tuple[int, int, int, int]) -> None:
        super().__init__()
        channels, mel_pools = (1, 64, 128, 256, 512), (2, 2, 4, 8)
        pairs = zip(channels[:-1], channels[1:], mel_pools, time_pools, strict=True)
        self.convolutions = nn.Sequential(Channel(), *(block(i, o, (mel, time)) for i, o, mel, time in pairs))
        self.gru = nn.GRU(512, 512, batch_first=True, bidirectional=True)
        self.classifier = classifier(1024, 512, 256, n_classes)

    def forward(self, features: Tensor) -> Tensor:
        maps = self.convolutions(features).mean(dim=2)  # [batch, channel, frame], over the bands left: one of 128
        states, _ = self.gru(maps.transpose(1, 2))  # [batch, frame, 1024]
        return self.classifier(states.mean(dim=1))


def crnn(n_classes: int) -> nn.Module:
    """4L-2D CNN + GRU, as the study has it: its pooling leaves one time step, so that nothing recurs.

    Input [batch, 128, 128], output [batch, n_classes]. 5,361,354 parameters for ten classes.

    References
    ----------
    .. [1] K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for music classification",
       ICASSP 2017.
    """
    return CRNN(n_classes, time_pools=(2, 2, 4, 8))


def crnn_time(n_classes: int) -> nn.Module:
    """The same layers, pooling frequency only: the GRU runs over all 128 frames, and its mean over them is classified.

    Input [batch, 128, 128], output [batch, n_classes]. 5,361,354 parameters for ten classes; the convolutions cost four
    times those of `crnn`.

    References
    ----------
    .. [1] K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for music classification",
       ICASSP 2017.
    """
    return CRNN(n_classes, time_pools=(1, 1, 1, 1))
