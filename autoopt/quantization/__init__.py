"""Quantization schemes: what becomes low-bit, and how ranges are found.

A member is `(source, target, plan) -> facts`: it reads the float model at `source`, writes the quantized one
to `target` and returns the settings that it chose, for the record. No member trains: for one that needs training, its
row says so, the pipeline trains under fake.py, and the plan brings what was learned. Add one = one file, one line here,
one word in conf/space.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from autoopt.core.cpu import lacks_float16, saturates
from autoopt.core.packages import is_installed
from autoopt.quantization.calibration import CALIBRATIONS, KEEP_FLOAT, OPERATORS, WITH_WEIGHTS, Plan
from autoopt.quantization.fake import Learned
from autoopt.quantization.fp16 import fp16
from autoopt.quantization.graph import GRAPH_OPTIMIZATIONS, optimized
from autoopt.quantization.int8_dynamic import int8_dynamic
from autoopt.quantization.int8_qat import int8_qat
from autoopt.quantization.int8_static import int8_static
from autoopt.quantization.layers import weights_by_layer
from autoopt.quantization.nncf_int8 import nncf_int8
from autoopt.quantization.none import none
from autoopt.quantization.ranking import damage_by_layer, most_damaged
from autoopt.quantization.weight_only import weight_only_int4, weight_only_int8

__all__ = [
    "CALIBRATIONS",
    "GRAPH_OPTIMIZATIONS",
    "KEEP_FLOAT",
    "OPERATORS",
    "SCHEMES",
    "Learned",
    "Plan",
    "Scheme",
    "damage_by_layer",
    "has_low_bits",
    "most_damaged",
    "offered",
    "optimized",
    "weights_by_layer",
]

ALL = frozenset({"Conv", "MatMul", "Gather", "Recurrent"})
ON_GRAPHS = ("keep_float", "float_layers", "graph_optimization")  # knobs of each scheme that looks at single nodes
WORTHWHILE = 0.2  # a scheme that changes less than this share of a model's weights cannot matter for it


@dataclass(frozen=True)
class Caution:
    """On which CPUs a scheme saturates or is slower than fp32, and what follows."""

    said: str
    here: Callable[[], bool]
    """Whether this CPU is one of them."""


NO_VNNI = Caution("x86 without VNNI adds 8-bit products with saturation: weights keep to 7 bits", saturates)
SLOW_CONVOLUTIONS = Caution("x86 without VNNI: convolutions take several times as long as in fp32", saturates)
NO_FLOAT16 = Caution("CPUs without float16 arithmetic cast back and forth: smaller, no faster than fp32", lacks_float16)
SIZE_ALONE = Caution(
    "on a CPU it buys size alone: one input a call takes as long as in fp32, or many times as long", lambda: True
)


@dataclass(frozen=True)
class Scheme:
    quantize: Callable[[Path, Path, Plan], dict[str, Any]]
    changes: frozenset[str]
    """Kinds of operators whose weights it makes smaller; a fully connected layer counts as MatMul."""
    bits: int
    knobs: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()
    trains: bool = False
    """True where the trained weights are trained further, under fake quantization: no other trial's weights will do."""
    measured_as: str | None = None
    """The scheme whose files have the same operators, and so its size and speed: measured twice, they would differ by
    noise alone.
    """
    needs: tuple[str, str] | None = None
    """A package that autoopt does not bring along, and the extra that installs it."""


SCHEMES: dict[str, Scheme] = {
    "none": Scheme(none, ALL, 32),
    "fp16": Scheme(fp16, ALL, 16, cautions=(NO_FLOAT16,)),
    "int8_dynamic": Scheme(int8_dynamic, WITH_WEIGHTS, 8, ON_GRAPHS, cautions=(NO_VNNI, SLOW_CONVOLUTIONS)),
    "int8_static": Scheme(
        int8_static,
        WITH_WEIGHTS,
        8,
        ("calibration", "operators", *ON_GRAPHS),
        cautions=(NO_VNNI,),
    ),
    "int8_qat": Scheme(
        int8_qat,
        WITH_WEIGHTS,
        8,
        ("qat_epochs",),
        cautions=(NO_VNNI,),
        trains=True,
        measured_as="int8_static",
    ),
    "nncf_int8": Scheme(
        nncf_int8,
        WITH_WEIGHTS,
        8,
        ("keep_float", "graph_optimization"),
        cautions=(NO_VNNI,),
        needs=("nncf", "openvino"),
    ),
    "weight_only_int8": Scheme(weight_only_int8, frozenset({"MatMul"}), 8, ON_GRAPHS, cautions=(SIZE_ALONE,)),
    "weight_only_int4": Scheme(weight_only_int4, frozenset({"MatMul"}), 4, ON_GRAPHS, cautions=(SIZE_ALONE,)),
}


def has_low_bits(model: Path) -> bool:
    """Whether an ONNX file has weights of fewer than 32 bits."""
    kinds = {getattr(onnx.TensorProto, name) for name in ("FLOAT16", "INT8", "UINT8", "INT4", "UINT4")}
    return any(t.data_type in kinds and len(t.dims) > 1 for t in onnx.load(model).graph.initializer)


def offered(model: nn.Module) -> tuple[str, ...]:
    """The schemes that are installed and change at least WORTHWHILE of the model's weights; an ONNX file cannot be
    trained.
    """
    content = getattr(model, "onnx_content", None)
    weights = _weights_by_operator(model) if content is None else _weights_by_node(content)
    total = sum(weights.values()) or 1
    return tuple(
        name
        for name, scheme in SCHEMES.items()
        if (scheme.needs is None or is_installed(scheme.needs[0]))
        and not (scheme.trains and content is not None)
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
