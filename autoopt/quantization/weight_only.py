"""Weight-only 4 and 8 bit: weights in blocks of 32 with a scale each (MatMulNBits), activations stay float32."""

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel

from autoopt.quantization.calibration import Calibration

BLOCK = 32


def weight_only_int4(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
    """Fully connected layers only."""
    return _quantize(source, target, 4)


def weight_only_int8(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
    """Fully connected layers only."""
    return _quantize(source, target, 8)


def _quantize(source: Path, target: Path, bits: int) -> dict[str, Any]:
    model = ONNXModel(onnx.load(source))
    model.replace_gemm_with_matmul()  # the quantizer looks at MatMul alone, exporters write Gemm for a Linear layer
    quantizer = MatMulNBitsQuantizer(model.model, bits=bits, block_size=BLOCK, is_symmetric=True)
    quantizer.process()
    onnx.save(quantizer.model.model, target)
    return {"bits": bits, "block_size": BLOCK}
