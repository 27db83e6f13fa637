"""A plain convolutional student: four convolutions with batch norm."""

from torch import nn

from autoopt.core.recipe import Recipe
from autoopt.core.signature import Signature
from autoopt.students.widths import scaled


def cnn(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """(n, c, h, w) with h, w >= 8. Channels 16, 32, 64, 128 times width; all but the third convolution halve the
    image.
    """
    channels = [scaled(base, recipe) for base in (16, 32, 64, 128)]
    layers: list[nn.Module] = []
    for c_in, c_out, stride in zip((signature.input_shape[0], *channels), channels, (2, 2, 1, 2), strict=False):
        layers += [nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], signature.classes))
