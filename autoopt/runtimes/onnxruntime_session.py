"""ONNX Runtime, on the CPU or a GPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from autoopt.core.errors import TrialError, one_line
from autoopt.core.inputs import Inputs
from autoopt.runtimes.providers import CPU, open_session


def open_onnxruntime(path: Path, threads: int, provider: str = CPU) -> Callable[[Inputs], np.ndarray]:
    """`threads` >= 1 work on one call. Idle threads do not spin: other work on the machine keeps its cores. On a GPU a
    call takes the inputs there and the outputs back: both are part of its time.

    Raises TrialError where it cannot load the model, such as for an operator that it lacks, or not on the provider.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: every quantized model warns
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = open_session(str(path), options, provider)
    except Exception as error:  # its own exceptions have no common base
        raise TrialError(f"onnxruntime cannot load the model: {one_line(error, 300)}") from error

    names = [found.name for found in session.get_inputs()]  # exporters leave out what a model does not look at

    def run(inputs: Inputs) -> np.ndarray:
        arrays = inputs.arrays
        fed = arrays if len(names) == len(arrays) else {name: arrays[name] for name in names}
        try:
            return session.run(None, fed)[0]  # type: ignore[no-any-return]
        except Exception as error:  # such as for a shape that an operator does not take
            raise TrialError(f"onnxruntime cannot serve the model: {one_line(error, 300)}") from error

    return run
