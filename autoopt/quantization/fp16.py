"""Half precision: weights and arithmetic in float16, inputs and outputs stay float32."""

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from autoopt.quantization.calibration import Calibration


def fp16(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
    """Halves the file. A CPU without float16 arithmetic casts back and forth, so it may get slower."""
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)
    return {"bits": 16}
