"""Size of an artifact."""

import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Subject


def size(subject: Subject) -> dict[str, Measurement]:
    """size_mb, download_mb (deflate, level 6), params_m and weight_sparsity."""
    mine, base = _bytes(subject.path), _bytes(subject.baseline_path)
    weights, base_weights = _weights(subject.float_path), _weights(subject.baseline_path)
    zeros = sum(int((w == 0).sum()) for w in weights) / max(1, sum(w.size for w in weights))
    return {
        "size_mb": Measurement(mine[0], base[0]),
        "download_mb": Measurement(mine[1], base[1]),
        "params_m": Measurement(sum(w.size for w in weights) / 1e6, sum(w.size for w in base_weights) / 1e6),
        "weight_sparsity": Measurement(zeros),
    }


def _bytes(path: Path) -> tuple[float, float]:
    """Megabytes (1e6 bytes), plain and deflated."""
    content = path.read_bytes()
    return len(content) / 1e6, len(zlib.compress(content, 6)) / 1e6


def _weights(path: Path) -> list[np.ndarray]:
    """The floating-point initializers."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return [array for array in arrays if array.dtype.kind == "f"]
