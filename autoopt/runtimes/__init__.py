"""Runtimes: where an artifact runs. A member opens a model file: `(path, threads, provider) -> Session`.

Here too: how a module becomes the file that runtimes read (export.py) and the check that it still says the same
(parity.py). Add a runtime = one file, one line here, one in measurements/serve_once.py, one yaml in conf/runtime.
"""

from collections.abc import Callable

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.runtimes.onnxruntime_session import open_onnxruntime
from autoopt.runtimes.openvino_cpu import open_openvino

Session = Callable[[Inputs], np.ndarray]
"""A loaded model: inputs of n rows, as numpy arrays, to (n, classes) float32 logits. Safe to call from several
threads.
"""

RUNTIMES: dict[str, Callable[..., Session]] = {
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
}
"""A runtime has the name of its package, and of the extra that installs it. `provider` is one of PROVIDERS, by default
the CPU, which is the only place where OpenVINO runs here.
"""
