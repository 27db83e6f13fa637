"""Size of an artifact."""

import zlib
from functools import lru_cache
from pathlib import Path

import onnx
from onnx import numpy_helper

from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Subject


def size(subject: Subject) -> dict[str, Measurement]:
    """size_mb, download_mb (deflate, level 6), params_m and weight_sparsity."""
    base, base_weights = _of_baseline(subject.baseline_path, _stamp(subject.baseline_path))
    mine = _bytes(subject.path)
    weights, zeros = _weights(subject.float_path)
    return {
        "size_mb": Measurement(mine[0], base[0]),
        "download_mb": Measurement(mine[1], base[1]),
        "params_m": Measurement(weights, base_weights),
        "weight_sparsity": Measurement(zeros),
    }


def _bytes(path: Path) -> tuple[float, float]:
    """Megabytes (1e6 bytes), plain and deflated."""
    content = path.read_bytes()
    return len(content) / 1e6, len(zlib.compress(content, 6)) / 1e6


def _weights(path: Path) -> tuple[float, float]:
    """How many floating-point weights the graph has, in millions, and the share of them that is zero."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    floats = [array for array in arrays if array.dtype.kind == "f"]
    count = sum(array.size for array in floats)
    return count / 1e6, sum(int((array == 0).sum()) for array in floats) / max(1, count)


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


# The baseline is the same in every trial, and to deflate 90 MB takes longer than to measure a small student.
@lru_cache(maxsize=4)
def _of_baseline(path: Path, stamp: tuple[int, int]) -> tuple[tuple[float, float], float]:
    """Its bytes, and how many weights it has."""
    return _bytes(path), _weights(path)[0]
