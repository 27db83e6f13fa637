"""The calibration set: training inputs that set activation ranges; never validation, never test."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

from autoopt.core.inputs import Inputs
from autoopt.quantization.fake import Learned

onnxruntime.set_default_logger_severity(3)  # the calibrators' sessions warn of each initializer that they drop

# How the range of an activation is found, and the settings under which that differs from its largest value: with as
# many
# histogram bins as quantized ones, onnxruntime's default, entropy can clip nothing; its default percentile is 99.999.
CALIBRATIONS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "entropy": (CalibrationMethod.Entropy, {"num_bins": 512, "num_quantized_bins": 128}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.9}),
}


OPERATORS = ("all", "with_weights")
WITH_WEIGHTS = frozenset({"Conv", "MatMul", "Gather"})
KEEP_FLOAT = ("none", "first", "last", "ends")


@dataclass(frozen=True, eq=False)
class Plan:
    """What a scheme is asked for. None: the scheme decides, or has no use for it."""

    inputs: Inputs
    """The calibration set, as numpy arrays."""
    calibration: str | None = None
    """A key of CALIBRATIONS."""
    operators: str | None = None
    """One of OPERATORS: quantize all that can be, or those with weights alone."""
    keep_float: str | None = None
    """One of KEEP_FLOAT: the layers that stay in float, by their place."""
    float_layers: tuple[str, ...] = ()
    """Names of the layers that stay in float: those that quantization damages most, see ranking.py."""
    learned: Sequence[Learned] = ()
    """What layers have learned in training under fake quantization."""
    kinds: frozenset[str] = WITH_WEIGHTS
    """Of operators whose weights the scheme makes smaller: what it would leave in float anyway is none of the layers
    among which `keep_float` and `float_layers` choose.
    """


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibration set to onnxruntime, in small batches of one shape: the histogram calibrators need that."""

    def __init__(self, inputs: Inputs, batch: int = 32) -> None:
        whole = max(1, len(inputs) // batch)
        self.inputs = min(len(inputs), whole * batch)
        self._batches = iter([inputs.arrays_at(slice(i * batch, (i + 1) * batch)) for i in range(whole)])

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._batches, None)


def save_ranges(model: Path, plan: Plan, target: Path, operators: list[str] | None) -> tuple[CalibrationMethod, int]:
    """Write the range of each activation of `model` on the calibration set to `target`, as quantize_static reads it;
    where `operators` are named, of the inputs and outputs of those alone.

    Returns the method, and how many inputs it saw. Raises ValueError where an activation is not finite.
    """
    method, settings = CALIBRATIONS[plan.calibration or "minmax"]
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # the calibrators print their progress
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(
            model,
            op_types_to_calibrate=operators,
            augmented_model_path=augmented,
            calibrate_method=method,
            extra_options=settings,
        )
        reader = Reader(plan.inputs)
        calibrator.collect_data(reader)
        ranges = calibrator.compute_data()
    for tensor, found in ranges.items():
        if not np.isfinite(found.range_value).all():
            raise ValueError(f"the range of {tensor} is not finite")
    save_tensors_data(ranges, target)
    return method, reader.inputs
