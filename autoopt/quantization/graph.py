"""Graph optimisation before quantization: what onnxruntime fuses first is quantized as one, or no longer at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
from onnxruntime import GraphOptimizationLevel

# At 'none' the runtime still optimises what it loads: then around the nodes that quantization has put in.
GRAPH_OPTIMIZATIONS = {
    "none": GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}


@contextmanager
def optimized(source: Path, level: str | None) -> Iterator[Path]:
    """The graph of `source` as onnxruntime rewrites it at a level of GRAPH_OPTIMIZATIONS, in a file that the block may
    read; None: `source` itself. 'extended' uses operators of onnxruntime's own.
    """
    if level in (None, "none"):
        yield source
        return
    with TemporaryDirectory() as folder:
        target = Path(folder) / source.name
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = GRAPH_OPTIMIZATIONS[str(level)]
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        yield target
