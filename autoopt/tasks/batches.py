"""Batches to evaluate in: of about one length, as many rows as memory allows."""

from collections.abc import Callable

import torch
from torch import Tensor

from autoopt.core.inputs import Inputs

ROWS, TOKENS = 500, 16_000  # at most so many in a batch: attention's memory grows with the square of the length


def by_length(inputs: Inputs) -> Tensor:
    """The places of the inputs, the shortest sequence first: batches of one length waste nothing on padding."""
    return torch.arange(len(inputs)) if inputs.lengths is None else torch.as_tensor(inputs.lengths).argsort(stable=True)


@torch.no_grad()
def module_outputs(model: Callable[..., Tensor], inputs: Inputs) -> tuple[Tensor, Tensor]:
    """The outputs (n, k) of a module in eval mode, in the order of by_length, and the places of their rows."""
    longest, places = 1 if inputs.lengths is None else int(inputs.lengths.max()), by_length(inputs)
    batches = places.split(max(1, min(ROWS, TOKENS // longest)))
    return torch.cat([model(*inputs[batch]) for batch in batches]), places
