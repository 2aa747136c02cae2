"""DenseNet, from torchvision."""

import torchvision
from torch import nn

from models.layers import Channel, on_one_channel


def densenet(n_classes: int) -> nn.Module:
    """Build DenseNet-121 for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 6,957,834 parameters for ten classes.

    References
    ----------
    .. [1] G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely connected convolutional networks", CVPR 2017.
    """
    network = torchvision.models.densenet121(weights=None, num_classes=n_classes)
    network.features.conv0 = on_one_channel(network.features.conv0)
    return nn.Sequential(Channel(), network)
