"""Dynamic 8-bit: weights quantized once, activations anew at each call from their own range."""

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from autoopt.core.cpu import saturates
from autoopt.quantization.calibration import Plan
from autoopt.quantization.layers import UNTYPED, excluded, kept_in_float


def int8_dynamic(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """Signed weights for matrix products, unsigned for models with convolutions, whose signed kernel is 2.6x slower
    on AVX2.

    The range of an activation is that of the whole batch, so results depend on the batch size.
    """
    convolutions = any(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    weight_type = QuantType.QUInt8 if convolutions else QuantType.QInt8
    reduce_range = saturates() and not convolutions  # products of two unsigned bytes do not saturate
    kept = kept_in_float(source, plan)
    quantize_dynamic(
        source,
        target,
        weight_type=weight_type,
        reduce_range=reduce_range,
        nodes_to_exclude=excluded(kept),
        extra_options=UNTYPED,
    )
    return {"bits": 8, "kept_in_float": kept, "weight_type": weight_type.name, "reduce_range": reduce_range}
