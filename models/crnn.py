"""Convolutions followed by a recurrent layer over the remaining time steps."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from models.layers import Channel, block, classifier


class CRNN(nn.Module):
    """Four convolution blocks, a bidirectional GRU with 512 units over time, and three linear layers.

    Parameters
    ----------
    n_classes : int
        Number of logits.
    time_pools : four ints
        Max-pooling of each block along time. Along frequency it is 2, 2, 4, 8, which reduces 128 bands to one.
    """

    def __init__(self, n_classes: int, *, time_pools: tuple[int, int, int, int]) -> None:
        super().__init__()
        channels, mel_pools = (1, 64, 128, 256, 512), (2, 2, 4, 8)
        pairs = zip(channels[:-1], channels[1:], mel_pools, time_pools, strict=True)
        self.convolutions = nn.Sequential(Channel(), *(block(i, o, (mel, time)) for i, o, mel, time in pairs))
        self.gru = nn.GRU(512, 512, batch_first=True, bidirectional=True)
        self.classifier = classifier(1024, 512, 256, n_classes)

    def forward(self, features: Tensor) -> Tensor:
        # The mean over frequency changes nothing for 128 bands, which pooling has reduced to one.
        maps = self.convolutions(features).mean(dim=2)  # [batch, channel, frame]
        # On CUDA, autocast runs recurrent layers in float16 even where bfloat16 was chosen. Gradients of float16 vanish
        # without a GradScaler, which bfloat16 does not need, so the GRU computes in the precision of its weights.
        device = maps.device.type
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            states, _ = self.gru(maps.transpose(1, 2).to(self.gru.weight_ih_l0.dtype))  # [batch, frame, 1024]
        return self.classifier(states.mean(dim=1))


def crnn(n_classes: int) -> nn.Module:
    """Build the study's 4L-2D CNN + GRU. Its pooling leaves one time step, so the GRU never recurs.

    Input [batch, 128, 128], output [batch, n_classes]. 5,361,354 parameters for ten classes.

    References
    ----------
    .. [1] K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for music classification",
       ICASSP 2017.
    """
    return CRNN(n_classes, time_pools=(2, 2, 4, 8))


def crnn_time(n_classes: int) -> nn.Module:
    """Build `crnn` without pooling along time: the GRU runs over all 128 frames, and its mean output is classified.

    Input [batch, 128, 128], output [batch, n_classes]. 5,361,354 parameters for ten classes. The convolutions take
    about four times as long as those of `crnn`.

    References
    ----------
    .. [1] K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for music classification",
       ICASSP 2017.
    """
    return CRNN(n_classes, time_pools=(1, 1, 1, 1))
