"""From a PyTorch module to an ONNX file."""

import copy
import logging
import warnings
from collections import Counter
from pathlib import Path

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from autoopt.core.errors import TrialError, one_line
from autoopt.core.inputs import Inputs

OPSET = 17
OUTPUT = "logits"


def export(model: nn.Module, inputs: Inputs, path: Path) -> str:
    """Write `model` as ONNX with free batch and length axes and all weights inside; returns the exporter that did it.

    `inputs` is an example batch, whose names the file takes over. The TorchScript exporter goes first, since it is 20
    to 200 times faster; what it cannot trace goes to the torch.export one. Raises TrialError where both fail. The model
    itself is not changed. A module that is an ONNX file already, which it says in `onnx_content`, is written as it is.
    """
    content = getattr(model, "onnx_content", None)
    if content is not None:
        path.write_bytes(content)
        return "given"
    model = fold_batch_norm(model)
    try:
        _torchscript(model, inputs[:2], path)
        return "torchscript"
    except Exception as error:  # the exporters raise whatever the graph provokes, and the second may well succeed
        logging.getLogger(__name__).info("torchscript export failed (%s); trying torch.export", error)
        reason = f"{type(error).__name__}: {one_line(error, 300)}"
    try:
        _dynamo(model, inputs[:2], path)
        return "dynamo"
    except Exception as error:
        raise TrialError(f"the model cannot be exported to ONNX: {reason}") from error


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose convolutions and fully connected layers have taken up the batch norm behind them.

    Left to the exporter, weights would change on the way to the file, and norms behind fully connected layers stay in
    the graph as float operators between quantized ones. A model that cannot be traced is copied as it is.
    """
    model = copy.deepcopy(model).eval()
    try:
        return _folded(fx.symbolic_trace(model))
    except Exception as error:  # tracing raises whatever the forward function provokes
        logging.getLogger(__name__).debug("batch norms are left to the exporter: %s", error)
        return model


def _folded(traced: fx.GraphModule) -> fx.GraphModule:
    """Layers that are called once, with a norm as their only reader."""
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or calls[before.target] != 1 or len(before.users) != 1:
            continue
        place = str(before.target)
        fused = _fused(traced.get_submodule(place), traced.get_submodule(str(node.target)))
        if fused is not None:
            traced.set_submodule(place, fused)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _fused(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and isinstance(norm, nn.modules.batchnorm._BatchNorm):
        return fuse_conv_bn_eval(layer, norm)
    if isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
        return fuse_linear_bn_eval(layer, norm)
    return None


def _torchscript(model: nn.Module, inputs: Inputs, path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of its age, and of what parity is checked for
        names = list(inputs.arrays)
        axes = {name: {0: "batch", 1: "length"} if name in inputs.sequences else {0: "batch"} for name in names}
        torch.onnx.export(
            model,
            tuple(inputs),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_axes={**axes, OUTPUT: {0: "batch"}},
        )


def _dynamo(model: nn.Module, inputs: Inputs, path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
        shapes = tuple({0: batch, 1: length} if name in inputs.sequences else {0: batch} for name in inputs.arrays)
        torch.onnx.export(
            model,
            tuple(inputs),
            path,
            dynamo=True,
            external_data=False,
            input_names=list(inputs.arrays),
            output_names=[OUTPUT],
            dynamic_shapes=shapes,
            verbose=False,
        )
