"""Quantization-aware training: int8_static with the activation ranges that training has learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType

from autoopt.core.errors import TrialError
from autoopt.quantization.calibration import Plan
from autoopt.quantization.fake import Learned, grid
from autoopt.quantization.int8_static import quantize_qdq

RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool")


def int8_qat(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """The weights at `source` are on the quantizer's grid already; the input of each layer in `plan.learned` gets its
    learned range, every other tensor the one that it has on the calibration set.

    With nothing learned, as before training, it is int8_static. Raises TrialError as that does, and where the graph has
    other weights than those that were trained.
    """
    model = onnx.load(source)
    found = readers(model, plan.learned)
    if plan.learned and not found:
        raise TrialError(
            f"int8_qat: the graph has the weights of none of the {len(plan.learned)} layers trained for it"
        )
    facts = quantize_qdq(source, target, plan, "int8_qat", learned_ranges(model, found))
    return {**facts, "learned_layers": len({id(layer) for _, layer in found})}


def readers(model: onnx.ModelProto, learned: Sequence[Learned]) -> list[tuple[str, Learned]]:
    """The tensor that each of the layers reads: a node is known by its weights, which exporters may transpose."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        held = [weights[name] for name in node.input if name in weights]
        layer = next((one for one in learned if any(_same(array, one.weight) for array in held)), None)
        if node.op_type in ("Conv", "Gemm", "MatMul") and layer is not None:
            found.append((node.input[0], layer))
    return found


def learned_ranges(model: onnx.ModelProto, found: Sequence[tuple[str, Learned]]) -> dict[str, list[dict[str, Any]]]:
    """Tensor -> scale and zero point, as onnxruntime's TensorQuantOverrides. What several layers read gets the range
    that holds theirs.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    spans: dict[str, tuple[float, float]] = {}
    for read, layer in found:
        for tensor in _same_values(read, makers):
            low, high = spans.get(tensor, (0.0, 0.0))
            spans[tensor] = (min(low, layer.low), max(high, layer.high))
    return {tensor: [_override(low, high)] for tensor, (low, high) in spans.items()}


def _same_values(tensor: str, makers: Mapping[str, onnx.NodeProto]) -> list[str]:
    """The tensor, and those before it of which it is another shape: the quantizer takes the range of the first."""
    found = [tensor]
    while found[-1] in makers and makers[found[-1]].op_type in RESHAPING:
        found.append(makers[found[-1]].input[0])
    return found


def _same(array: np.ndarray, weight: np.ndarray) -> bool:
    return np.array_equal(array, weight) or (weight.ndim == 2 and np.array_equal(array, weight.T))


def _override(low: float, high: float) -> dict[str, Any]:
    scale, zero = (value.item() for value in grid(low, high))
    return {
        "quant_type": QuantType.QUInt8,
        "scale": np.array([scale], np.float32),
        "zero_point": np.array([zero], np.uint8),
    }
