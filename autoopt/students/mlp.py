"""A multilayer perceptron student: no convolution, so every scheme for matrix products applies to it."""

import math
from itertools import pairwise

from torch import nn

from autoopt.core.recipe import Recipe
from autoopt.core.signature import Signature
from autoopt.students.widths import scaled


def mlp(signature: Signature, teacher: nn.Module, recipe: Recipe) -> nn.Module:
    """(n, ...) of any shape, flattened. Two hidden layers of 256 and 128 times width."""
    sizes = [math.prod(signature.input_shape), *(scaled(base, recipe) for base in (256, 128))]
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], signature.classes))
