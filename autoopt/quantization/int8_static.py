"""Static 8-bit (QDQ): weights and activations quantized once, activation ranges found on the calibration set."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from autoopt.core.cpu import saturates
from autoopt.core.errors import TrialError
from autoopt.quantization.calibration import CALIBRATIONS, Calibration, Reader


def int8_static(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
    """Unsigned activations, signed weights per channel; 7-bit weights where 8 bits would saturate (-22 points on a CNN).

    Raises TrialError where a range comes out infinite, as attention masks of -inf make it.
    """
    model = onnx.load(source)
    reduce_range = saturates()
    try:
        with redirect_stdout(io.StringIO()):  # the calibrators print their progress
            quantize_static(
                model,
                target,
                Reader(calibration.inputs, model.graph.input[0].name),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CALIBRATIONS[calibration.method or "minmax"],
            )
    except ValueError as error:
        raise TrialError(f"int8_static with {calibration.method} calibration failed: {error}") from error
    chosen = {"weight_type": "QInt8", "activation_type": "QUInt8", "per_channel": True, "reduce_range": reduce_range}
    return {"bits": 8, **chosen, "calibration_inputs": len(calibration.inputs)}
