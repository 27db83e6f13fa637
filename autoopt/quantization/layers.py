"""Layers of a graph: its nodes with weights, in their order."""

import math
from pathlib import Path

import onnx

from autoopt.core.errors import TrialError
from autoopt.quantization.calibration import WITH_WEIGHTS, Plan

UNTYPED = {"DefaultTensorType": onnx.TensorProto.FLOAT}
"""For onnxruntime's quantizers: of operators of its own they do not know what comes out."""
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
KINDS = {"Conv": "Conv", "Gemm": "MatMul", "MatMul": "MatMul", "Gather": "Gather"}
"""Of operators with weights; a fully connected layer counts as MatMul."""


def weights_by_layer(source: Path, kinds: frozenset[str] = WITH_WEIGHTS) -> dict[str, int]:
    """Name of a layer of one of the `kinds` -> how many weights it has, in the order of the graph. Raises TrialError
    where one has no name: then it cannot be told from others.
    """
    graph = onnx.load(source).graph
    floats = [tensor for tensor in graph.initializer if tensor.data_type in FLOATS]  # others are indices
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in floats}
    wanted = [node for node in graph.node if KINDS.get(node.op_type) in kinds]
    layers = [node for node in wanted if sizes.keys() & set(node.input)]
    if not all(node.name for node in layers):
        raise TrialError(
            "space.keep_float and space.float_layers need nodes that have names: this model has some without"
        )
    return {node.name: sum(sizes.get(name, 0) for name in node.input) for node in layers}


def kept_in_float(source: Path, plan: Plan) -> list[str]:
    """The names of the nodes that the plan leaves in float. Raises TrialError where they have none to be called by,
    or where the plan chooses layers in two ways.
    """
    if plan.keep_float in (None, "none"):
        return list(plan.float_layers)
    if plan.float_layers:
        raise TrialError(
            f"space.keep_float={plan.keep_float} and space.float_layers both say which layers stay in float: "
            "type space.keep_float=none or space.float_layers=0"
        )
    layers = list(weights_by_layer(source, plan.kinds))
    return {"first": layers[:1], "last": layers[-1:], "ends": layers[:1] + layers[-1:]}[str(plan.keep_float)]


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
    return list(KINDS) if chosen == "with_weights" else None
