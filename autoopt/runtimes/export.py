"""From a PyTorch module to an ONNX file."""

import copy
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from autoopt.core.errors import TrialError

OPSET = 17
INPUT, OUTPUT = "input", "logits"


def export(model: nn.Module, inputs: Tensor, path: Path) -> str:
    """Write `model` as ONNX with a free batch axis and all weights inside; returns the exporter that did it.

    `inputs` (n, ...) is an example batch. The TorchScript exporter goes first, since it is 20 to 200 times faster;
    what it cannot trace goes to the torch.export one. Raises TrialError where both fail. The model itself is not
    changed.
    """
    model = fold_batch_norm(model)
    try:
        _torchscript(model, inputs[:2], path)
        return "torchscript"
    except Exception as old:  # the exporters raise whatever the graph provokes, and the second may well succeed
        logging.getLogger(__name__).info("torchscript export failed (%s); trying torch.export", old)
    try:
        _dynamo(model, inputs[:2], path)
        return "dynamo"
    except Exception as new:
        raise TrialError(f"the model cannot be exported to ONNX: {type(new).__name__}: {new}") from new


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose fully connected layers have taken up the batch norm behind them.

    Exporters fold it into convolutions only; left in the graph it costs a float operator between quantized ones.
    """
    model = copy.deepcopy(model).eval()
    for chain in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for i in range(len(chain) - 1):
            linear, norm = chain[i], chain[i + 1]
            if isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                chain[i], chain[i + 1] = fuse_linear_bn_eval(linear, norm), nn.Identity()
    return model


def _torchscript(model: nn.Module, inputs: Tensor, path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # known, and measured to be worth it
        axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
        torch.onnx.export(
            model,
            (inputs,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes=axes,
        )


def _dynamo(model: nn.Module, inputs: Tensor, path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (inputs,),
            path,
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
