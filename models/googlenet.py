"""GoogLeNet, from torchvision."""

import torchvision
from torch import nn

from models.layers import Channel, on_one_channel


def googlenet(n_classes: int) -> nn.Module:
    """Build GoogLeNet for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]; in training mode a tuple of three such outputs: the
    network's own, then those of its two auxiliary heads. 9,954,366 parameters for ten classes.

    References
    ----------
    .. [1] C. Szegedy et al., "Going deeper with convolutions", CVPR 2015.
    """
    network = torchvision.models.googlenet(weights=None, num_classes=n_classes, aux_logits=True, init_weights=True)
    network.conv1.conv = on_one_channel(network.conv1.conv)
    return nn.Sequential(Channel(), network)
