"""AlexNet, torchvision's."""

import torchvision
from torch import nn

from models.layers import Channel, on_one_channel


def alexnet(n_classes: int) -> nn.Module:
    """AlexNet on one channel.

    Input [batch, 128, 128], output [batch, n_classes]. 28,717,770 parameters for ten classes. A chunk leaves maps
    of 3 x 3, which the first linear layer takes as they are, instead of stretched to the 6 x 6 of a photograph. It has
    no batch norm, and a third of the others' learning rate under AdamW.

    References
    ----------
    .. [1] A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """
    network = torchvision.models.alexnet(weights=None, num_classes=n_classes)
    network.features[0] = on_one_channel(network.features[0])
    network.avgpool = nn.AdaptiveAvgPool2d(3)
    network.classifier[1] = nn.Linear(256 * 3 * 3, 4096)
    return nn.Sequential(Channel(), network)
