"""Static 8-bit by NNCF (QDQ): the post-training quantization that OpenVINO's makers wrote for it."""

import io
import logging
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnx

from autoopt.core.cpu import saturates
from autoopt.core.packages import import_unreported
from autoopt.quantization.calibration import Plan
from autoopt.quantization.layers import kept_in_float


def nncf_int8(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """Weights per channel; which activations are quantized follows what OpenVINO computes in 8 bits. Their ranges are
    the mean over the calibration set of each input's own, so that outliers are clipped, and biases make up for what
    rounding shifts. Of a transformer, channels with large activations hand them on to the weights first (SmoothQuant,
    arXiv:2211.10438).

    Weights keep to 7 bits where 8 would saturate.
    """
    nncf = import_unreported("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its handler writes to the stdout of the time of its import
    model, kept, reduce_range = onnx.load(source), kept_in_float(source, plan), saturates()
    names = {found.name for found in model.graph.input}
    inputs = [plan.inputs[i : i + 1].arrays for i in range(len(plan.inputs))]
    transformer = any(node.op_type == "Softmax" for node in model.graph.node)
    overflow = nncf.OverflowFix.ENABLE if reduce_range else nncf.OverflowFix.DISABLE
    with redirect_stdout(io.StringIO()):  # it shows its progress
        quantized = nncf.quantize(
            model,
            nncf.Dataset([{name: array for name, array in one.items() if name in names} for one in inputs]),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            ignored_scope=nncf.IgnoredScope(names=kept),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow),
        )
    onnx.save(quantized, target)
    return {
        "bits": 8,
        "kept_in_float": kept,
        "transformer": transformer,
        "per_channel": True,
        "reduce_range": reduce_range,
        "calibration_inputs": len(inputs),
    }
