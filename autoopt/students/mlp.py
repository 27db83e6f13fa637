"""A multilayer perceptron student: no convolution, so every scheme for matrix products applies to it."""

import math
from itertools import pairwise

from torch import nn


def mlp(input_shape: tuple[int, ...], classes: int, width: float) -> nn.Module:
    """(n, ...) of any shape, flattened. Two hidden layers of 256 and 128 times width, rounded to 8."""
    sizes = [math.prod(input_shape), *(max(8, 8 * round(base * width / 8)) for base in (256, 128))]
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
