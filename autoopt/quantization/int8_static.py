"""Static 8-bit (QDQ): weights and activations quantized once, activation ranges found on the calibration set."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from autoopt.core.cpu import saturates
from autoopt.core.errors import TrialError
from autoopt.quantization.calibration import CALIBRATIONS, Plan, save_ranges
from autoopt.quantization.layers import UNTYPED, excluded, kept_in_float, quantized_operators


def int8_static(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """Unsigned activations, signed weights per channel; 7-bit weights where 8 bits would saturate (-22 points on a
    CNN).

    Raises TrialError where a range is not finite, as attention masks of -inf make it.
    """
    return quantize_qdq(source, target, plan, "int8_static", {})


def quantize_qdq(source: Path, target: Path, plan: Plan, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """int8_static under the name of a scheme, with `overrides` in the place of some tensors' ranges."""
    reduce_range, operators = saturates(), quantized_operators(source, plan)
    kept = kept_in_float(source, plan)
    with TemporaryDirectory() as folder:
        ranges = Path(folder) / "ranges.json"
        try:
            method, seen = save_ranges(source, plan, ranges, operators)
            quantize_static(
                onnx.load(source),
                target,
                calibration_cache_path=ranges,
                calibrate_method=method,
                op_types_to_quantize=operators,
                nodes_to_exclude=excluded(kept),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={**UNTYPED, "TensorQuantOverrides": dict(overrides)},
            )
        except ValueError as error:
            raise TrialError(f"{name} with {plan.calibration or 'minmax'} calibration failed: {error}") from error
    chosen = {
        "operators": operators or "all",
        "weight_type": "QInt8",
        "activation_type": "QUInt8",
        "per_channel": True,
        "reduce_range": reduce_range,
    }
    return {
        "bits": 8,
        **chosen,
        "kept_in_float": kept,
        "calibration_inputs": seen,
        **CALIBRATIONS[plan.calibration or "minmax"][1],
    }
