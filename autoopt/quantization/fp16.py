"""Half precision: weights and arithmetic in float16, inputs and outputs stay float32."""

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from autoopt.quantization.calibration import Plan


def fp16(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """Halves the file. A CPU without float16 arithmetic casts back and forth, so it may get slower."""
    model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    model.topological_sort()  # the converter appends its casts at the end, where ONNX does not allow them
    onnx.save(model.model, target)
    return {"bits": 16}
