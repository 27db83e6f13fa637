"""OpenVINO on the CPU, from the same ONNX file."""

from collections.abc import Callable
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np

from autoopt.core.cpu import usable_cores
from autoopt.core.errors import TrialError, one_line
from autoopt.core.inputs import Inputs
from autoopt.core.packages import import_unreported
from autoopt.runtimes.providers import CPU


def open_openvino(path: Path, threads: int, provider: str = CPU) -> Callable[[Inputs], np.ndarray]:
    """`threads` >= 1 work on one call, none of them pinned to a core. Calls of several threads run side by side, as
    many as there are cores for, each on a copy of the model, which is compiled when it is first needed: streams, its
    own way to do so, cost more a call.

    `provider` is onnxruntime's. Arithmetic is float32, as there: where the CPU has bfloat16, OpenVINO would take that,
    and be off by more than parity allows. Raises TrialError where it cannot load the model, such as for an operator
    that it lacks.
    """
    openvino = import_unreported("openvino")
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }

    def copy() -> Any:
        return core.compile_model(model, "CPU", settings).create_infer_request()

    try:
        model = core.read_model(str(path))
        idle = [copy()]
    except Exception as error:  # it raises RuntimeError, and what its frontends raise
        raise TrialError(f"openvino cannot load the model: {one_line(error, 300)}") from error
    names = [port.node.friendly_name for port in model.inputs]  # a port may have names of its readers, too
    places = Semaphore(max(1, usable_cores() // threads))

    def run(inputs: Inputs) -> np.ndarray:
        arrays = {name: np.ascontiguousarray(inputs.arrays[name]) for name in names}
        with places:
            try:
                request = idle.pop()
            except IndexError:  # all of them are at work
                request = None
            try:
                request = request or copy()
                for name, array in arrays.items():
                    request.set_tensor(name, openvino.Tensor(array, shared_memory=array.flags.writeable))
                request.infer()
                return request.get_output_tensor(0).data.copy()  # type: ignore[no-any-return]
            except RuntimeError as error:  # it prepares its kernels for each shape when it meets it
                raise TrialError(f"openvino cannot serve the model: {one_line(error, 300)}") from error
            finally:
                if request is not None:
                    idle.append(request)

    return run
