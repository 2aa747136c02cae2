"""GoogLeNet, torchvision's."""

import torchvision
from torch import nn

from models.layers import Channel, on_one_channel


def googlenet(n_classes: int) -> nn.Module:
    """GoogLeNet on one channel.

    Input [batch, 128, 128], output [batch, n_classes]; in training a tuple of three such outputs, the network's own
    first and those of its two auxiliary heads after it. 9,954,366 parameters for ten classes.

    References
    ----------
    .. [1] C. Szegedy et al., "Going deeper with convolutions", CVPR 2015.
    """
    network = torchvision.models.googlenet(weights=None, num_classes=n_classes, aux_logits=True, init_weights=True)
    network.conv1.conv = on_one_channel(network.conv1.conv)
    return nn.Sequential(Channel(), network)
