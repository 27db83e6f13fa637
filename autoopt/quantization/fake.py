"""Fake quantization: a module rounds in training as its int8 file will, and learns to live with it (Jacob et al. 2018,
arXiv:1712.05877). Gradients pass the rounding as if it were not there, and stop outside of the range.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

MOMENTUM = 0.01  # of the moving average of activation ranges: torch's own default
KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
LEVELS = 255  # of an unsigned activation, besides zero


@dataclass(frozen=True, eq=False)
class Learned:
    """A layer after training under fake quantization."""

    weight: np.ndarray
    """(out, ...), on the grid of its quantized file already."""
    low: float
    high: float
    """The range of its input, which holds zero."""


def steps_of_weights(*, saturates: bool) -> int:
    """On each side of zero: of 7 bits where the CPU's products of 8 would overflow, else of 8. As onnxruntime's
    quantizer counts them, so that it finds the same grid again.
    """
    return 64 if saturates else 127


def fake_quantize(model: nn.Module, steps: int) -> list[str]:
    """Have each convolution and fully connected layer round its input and its weights, in place; returns their names.

    What other modules do stays in float, and so do layers of kinds that are derived from these: their owners read the
    weights past the layer, as attention of torch does.
    """
    layers = {name: layer for name, layer in model.named_modules() if type(layer) in KINDS}
    for layer in layers.values():
        span = InputRange()
        layer.add_module("input_range", span)
        span.handle = layer.register_forward_pre_hook(_round_input)
        parametrize.register_parametrization(layer, "weight", RoundedWeight(steps))
    return list(layers)


def bake(model: nn.Module, names: list[str]) -> tuple[Learned, ...]:
    """Write the rounded weights into the layers of these names and make them plain ones again, in place; returns what
    those that ran have learned.
    """
    found = []
    for name in names:
        layer = model.get_submodule(name)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        span = layer.input_range
        del layer.input_range
        assert isinstance(span, InputRange)
        assert span.handle is not None
        span.handle.remove()
        if span.seen:
            weight = layer.weight
            assert isinstance(weight, Tensor)
            found.append(Learned(weight.detach().numpy().copy(), float(span.low), float(span.high)))
    return tuple(found)


def grid(low: float | Tensor, high: float | Tensor) -> tuple[Tensor, Tensor]:
    """Scale (float32) and zero point (int32, in [0, 255]) of an unsigned 8-bit activation; low <= 0 <= high."""
    low, high = torch.as_tensor(low), torch.as_tensor(high)
    scale = ((high - low) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    return scale, (-low / scale).round().clamp(0, LEVELS).to(torch.int32)


class InputRange(nn.Module):
    """Rounds a tensor to the 256 values of its range: the moving average of the batches' smallest and largest value in
    training, fixed in evaluation.
    """

    low: Tensor
    high: Tensor
    seen: Tensor
    handle: RemovableHandle | None = None
    """Of the hook that calls it."""
    begun: bool = False
    """As `seen` says in training, without waiting for a GPU to tell."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("low", 0.0), ("high", 0.0), ("seen", False)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                low, high = inputs.amin().clamp(max=0.0), inputs.amax().clamp(min=0.0)
                share = MOMENTUM if self.begun else 1.0
                self.low.lerp_(low, share)
                self.high.lerp_(high, share)
                self.seen.fill_(True)
                self.begun = True
        scale, zero = grid(self.low, self.high)
        return torch.fake_quantize_per_tensor_affine(inputs, scale, zero, 0, LEVELS)


class RoundedWeight(nn.Module):
    """Rounds weights (out, ...) to so many steps on each side of zero, whose size is each output channel's own."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().abs().flatten(1).amax(1)
        scale = (largest / self.steps).clamp(min=torch.finfo(torch.float32).tiny)
        zeros = torch.zeros(len(scale), dtype=torch.int32, device=scale.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -self.steps, self.steps)


def _round_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    span = layer.input_range
    assert isinstance(span, InputRange)
    return (span(inputs[0]), *inputs[1:])
