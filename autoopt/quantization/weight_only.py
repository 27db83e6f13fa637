"""Weight-only 4 and 8 bit: weights in blocks of 32 with a scale each (MatMulNBits), activations stay float32."""

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel

from autoopt.quantization.calibration import Plan
from autoopt.quantization.layers import excluded, kept_in_float

BLOCK = 32


def weight_only_int4(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """Fully connected layers only."""
    return _quantize(source, target, plan, 4)


def weight_only_int8(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """Fully connected layers only."""
    return _quantize(source, target, plan, 8)


def _quantize(source: Path, target: Path, plan: Plan, bits: int) -> dict[str, Any]:
    model = ONNXModel(onnx.load(source))
    model.replace_gemm_with_matmul()  # the quantizer looks at MatMul alone, exporters write Gemm for a Linear layer
    kept = kept_in_float(source, plan)
    quantizer = MatMulNBitsQuantizer(
        model.model, bits=bits, block_size=BLOCK, is_symmetric=True, nodes_to_exclude=excluded(kept)
    )
    quantizer.process()
    onnx.save(quantizer.model.model, target)
    return {"bits": bits, "kept_in_float": kept, "block_size": BLOCK}
