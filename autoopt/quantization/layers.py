"""Layers of a graph: its nodes with weights, in their order."""

from pathlib import Path

import onnx

from autoopt.core.errors import TrialError
from autoopt.quantization.calibration import Plan

UNTYPED = {"DefaultTensorType": onnx.TensorProto.FLOAT}
"""For onnxruntime's quantizers: of operators of its own they do not know what comes out."""
WITH_WEIGHTS = ["Conv", "Gemm", "MatMul", "Gather"]


def kept_in_float(source: Path, plan: Plan) -> list[str]:
    """The names of the nodes that the plan leaves in float. Raises TrialError where they have none to be called by."""
    if plan.keep_float in (None, "none"):
        return []
    graph = onnx.load(source).graph
    weights = {tensor.name for tensor in graph.initializer}
    layers = [n.name for n in graph.node if n.op_type in WITH_WEIGHTS and weights & set(n.input)]
    kept = {"first": layers[:1], "last": layers[-1:], "ends": layers[:1] + layers[-1:]}[str(plan.keep_float)]
    if not all(kept):
        raise TrialError("space.keep_float needs nodes that have names: this model has some without")
    return kept


def excluded(layers: list[str]) -> list[str]:
    """What onnxruntime's quantizers have to be told: they turn each Gemm into a MatMul of another name first."""
    return [*layers, *(f"{name}_MatMul" for name in layers)]


def quantized_operators(source: Path, plan: Plan) -> list[str] | None:
    """Of a graph with attention or recurrence only those with weights, unless the plan says otherwise: rounding scores
    and normalised states costs 50 points, and around a recurrent layer, which stays in float, nothing is gained. None:
    all, so that neighbours hand on their bytes.
    """
    floats = any(node.op_type in ("Softmax", "GRU", "LSTM", "RNN") for node in onnx.load(source).graph.node)
    chosen = plan.operators or ("with_weights" if floats else "all")
    return WITH_WEIGHTS if chosen == "with_weights" else None
