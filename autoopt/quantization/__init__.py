"""Quantization schemes: what becomes low-bit, and how ranges are found.

A member is `(source, target, plan) -> facts`: it reads the float model at `source`, writes the quantized one
to `target` and returns the settings that it chose, for the record. None of them trains. Add one = one file, one line
here, one word in conf/space.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from autoopt.core.packages import is_installed
from autoopt.quantization.calibration import CALIBRATIONS, KEEP_FLOAT, OPERATORS, Plan
from autoopt.quantization.fp16 import fp16
from autoopt.quantization.graph import GRAPH_OPTIMIZATIONS, optimized
from autoopt.quantization.int8_dynamic import int8_dynamic
from autoopt.quantization.int8_static import int8_static
from autoopt.quantization.nncf_int8 import nncf_int8
from autoopt.quantization.none import none
from autoopt.quantization.weight_only import weight_only_int4, weight_only_int8

__all__ = [
    "CALIBRATIONS",
    "GRAPH_OPTIMIZATIONS",
    "KEEP_FLOAT",
    "OPERATORS",
    "SCHEMES",
    "Plan",
    "Scheme",
    "has_low_bits",
    "offered",
    "optimized",
]

ALL = frozenset({"Conv", "MatMul", "Gather", "Recurrent"})
ON_GRAPHS = ("keep_float", "graph_optimization")  # knobs of each scheme that looks at single nodes
WORTHWHILE = 0.2  # a scheme that changes less than this share of a model's weights cannot matter for it


@dataclass(frozen=True)
class Scheme:
    quantize: Callable[[Path, Path, Plan], dict[str, Any]]
    changes: frozenset[str]
    """Kinds of operators whose weights it makes smaller; a fully connected layer counts as MatMul."""
    bits: int
    knobs: tuple[str, ...] = ()
    needs: tuple[str, str] | None = None
    """A package that autoopt does not bring along, and the extra that installs it."""


SCHEMES: dict[str, Scheme] = {
    "none": Scheme(none, ALL, 32),
    "fp16": Scheme(fp16, ALL, 16),
    "int8_dynamic": Scheme(int8_dynamic, frozenset({"Conv", "MatMul", "Gather"}), 8, ON_GRAPHS),
    "int8_static": Scheme(
        int8_static, frozenset({"Conv", "MatMul", "Gather"}), 8, ("calibration", "operators", *ON_GRAPHS)
    ),
    "nncf_int8": Scheme(nncf_int8, frozenset({"Conv", "MatMul", "Gather"}), 8, ON_GRAPHS, ("nncf", "openvino")),
    "weight_only_int8": Scheme(weight_only_int8, frozenset({"MatMul"}), 8, ON_GRAPHS),
    "weight_only_int4": Scheme(weight_only_int4, frozenset({"MatMul"}), 4, ON_GRAPHS),
}


def has_low_bits(model: Path) -> bool:
    """Whether an ONNX file has weights of fewer than 32 bits."""
    kinds = {getattr(onnx.TensorProto, name) for name in ("FLOAT16", "INT8", "UINT8", "INT4", "UINT4")}
    return any(t.data_type in kinds and len(t.dims) > 1 for t in onnx.load(model).graph.initializer)


def offered(model: nn.Module) -> tuple[str, ...]:
    """The schemes that are installed and change at least WORTHWHILE of the model's weights."""
    content = getattr(model, "onnx_content", None)
    weights = _weights_by_operator(model) if content is None else _weights_by_node(content)
    total = sum(weights.values()) or 1
    return tuple(
        name
        for name, scheme in SCHEMES.items()
        if (scheme.needs is None or is_installed(scheme.needs[0]))
        and (scheme.changes == ALL or sum(weights.get(kind, 0) for kind in scheme.changes) >= WORTHWHILE * total)
    )


def _weights_by_node(content: bytes) -> dict[str, int]:
    """Of an ONNX file; Gemm counts as MatMul, and what no scheme changes under the name of its operator."""
    graph = onnx.load_from_string(content).graph
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    weights: dict[str, int] = {}
    for node in graph.node:
        kind = "MatMul" if node.op_type == "Gemm" else node.op_type
        weights[kind] = weights.get(kind, 0) + sum(sizes.get(name, 0) for name in node.input)
    return weights


def _weights_by_operator(model: nn.Module) -> dict[str, int]:
    kinds = {
        "Conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        "MatMul": (nn.Linear, nn.MultiheadAttention),
        "Gather": (nn.Embedding,),
        "Recurrent": (nn.RNNBase,),
    }
    weights: dict[str, int] = {}
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        matrices = any(p.ndim == 2 for p in own)  # of a layer written by hand: most likely multiplied with
        kind = next((kind for kind, types in kinds.items() if isinstance(module, types)), "MatMul" if matrices else "")
        weights[kind] = weights.get(kind, 0) + sum(p.numel() for p in own)
    return weights
