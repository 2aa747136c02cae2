"""AlexNet, from torchvision."""

import torchvision
from torch import nn

from models.layers import AveragePool2d, Channel, on_one_channel


def alexnet(n_classes: int) -> nn.Module:
    """Build AlexNet for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 28,717,770 parameters for ten classes. The convolutions
    reduce 128 x 128 to 3 x 3, so the first linear layer reads 3 x 3 maps instead of the 6 x 6 of a photograph. With
    Adam and AdamW, its learning rate is 3e-4 also on the demo set, whose usual 1e-3 is too high for a network without
    batch norm.

    References
    ----------
    .. [1] A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """
    network = torchvision.models.alexnet(weights=None, num_classes=n_classes)
    network.features[0] = on_one_channel(network.features[0])
    network.avgpool = AveragePool2d(3)
    network.classifier[1] = nn.Linear(256 * 3 * 3, 4096)
    return nn.Sequential(Channel(), network)
