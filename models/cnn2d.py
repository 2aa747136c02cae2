"""The study's best network: four two-dimensional convolution blocks."""

from torch import nn

from models.layers import AveragePool2d, Channel, block, classifier


def cnn2d(n_classes: int) -> nn.Module:
    """Build the 4L-2D CNN: four blocks of 3 x 3 convolution, batch norm, ReLU and max-pooling; three linear layers.

    Input [batch, 128, 128], output [batch, n_classes]. 3,913,930 parameters for ten classes.

    References
    ----------
    .. [1] The study's own network, a four-layer version of K. Simonyan, A. Zisserman, "Very deep convolutional networks
       for large-scale image recognition", ICLR 2015.
    """
    return nn.Sequential(
        Channel(),  # [batch, 1, 128, 128]
        block(1, 64, (2, 2)),
        block(64, 128, (2, 2)),
        block(128, 256, (4, 4)),
        block(256, 512, (4, 4)),  # [batch, 512, 2, 2]
        AveragePool2d(2),  # changes nothing for 128 x 128 inputs
        nn.Flatten(),
        classifier(2048, 1024, 256, n_classes),
    )
