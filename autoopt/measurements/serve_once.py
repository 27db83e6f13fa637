"""Load a model and serve the inputs of a file, in a process that has done nothing else: prints its time and memory.

    python serve_once.py MODEL INPUTS.npz THREADS RUNTIME PROVIDER

Run by its path, so that nothing of autoopt, and no torch, is in the process: what is measured is what a server pays.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

Serve = Callable[[dict[str, Any]], Any]
ON_CUDA = {"device_id": 0, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
PROVIDERS: dict[str, list[Any]] = {
    "tensorrt": [("TensorrtExecutionProvider", {"device_id": 0}), ("CUDAExecutionProvider", ON_CUDA)],
    "cuda": [("CUDAExecutionProvider", ON_CUDA)],
    "cpu": ["CPUExecutionProvider"],
}
"""Those of autoopt/runtimes/providers.py."""


def main(model: str, inputs: str, threads: int, runtime: str, provider: str) -> None:
    import numpy as np

    open_model = RUNTIMES[runtime](threads, provider)
    own = peak_mb()
    with np.load(inputs, allow_pickle=False) as found:
        calls: dict[str, dict[str, str]] = {}
        for key in found.files:
            number, _, name = key.partition(" ")
            calls.setdefault(number, {})[name] = key
        first = {name: found[key] for name, key in calls["0"].items()}
        began = time.perf_counter()
        names, serve = open_model(model)
        serve({name: array for name, array in first.items() if name in names})
        loaded = time.perf_counter() - began
        for call in calls.values():  # one after the other: the memory is that of a server, not of the file
            serve({name: found[key] for name, key in call.items() if name in names})
    print(json.dumps({"load_ms": 1e3 * loaded, "peak_rss_mb": peak_mb(), "runtime_rss_mb": own}))


def use_onnxruntime(threads: int, provider: str) -> Callable[[str], tuple[set[str], Serve]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    if provider != "cpu":
        with contextlib.redirect_stdout(None):  # it prints which libraries it did not find
            onnxruntime.preload_dlls()

    def open_model(path: str) -> tuple[set[str], Serve]:
        session = onnxruntime.InferenceSession(path, options, providers=PROVIDERS[provider], enable_fallback=0)
        assert session.get_providers()[0] == first_of(provider), f"it runs on {session.get_providers()}"
        return {value.name for value in session.get_inputs()}, lambda call: session.run(None, call)

    return open_model


def first_of(provider: str) -> str:
    first = PROVIDERS[provider][0]
    return first if isinstance(first, str) else str(first[0])


def use_openvino(threads: int, provider: str) -> Callable[[str], tuple[set[str], Serve]]:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it goes without
    import openvino

    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads what runs models on the CPU: a part of the runtime
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    settings |= {"ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}

    def open_model(path: str) -> tuple[set[str], Serve]:
        model = core.read_model(path)
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        return {port.node.friendly_name for port in model.inputs}, lambda call: request.infer(call, share_inputs=True)

    return open_model


RUNTIMES = {"onnxruntime": use_onnxruntime, "openvino": use_openvino}
"""Each takes the number of threads and onnxruntime's provider, imports itself and returns a function from the model's
file to the names of its inputs and what serves a call. The settings are those of the runtimes of autoopt.
"""


def peak_mb() -> float:
    """The largest resident memory of this process so far, in millions of bytes. getrusage's figure will not do on
    Linux: a child inherits its parent's.
    """
    try:
        with open("/proc/self/status") as status:
            kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        return kilobytes * 1024 / 1e6
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
