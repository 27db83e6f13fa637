"""Load a model and serve the inputs of a file, in a process that has done nothing else: prints its time and memory.

    python serve_once.py MODEL INPUTS.npz THREADS

Run by its path, so that nothing of autoopt, and no torch, is in the process: what is measured is what a server pays.
"""

import json
import sys
import time


def main(model: str, inputs: str, threads: int) -> None:
    import numpy as np
    import onnxruntime

    own = peak_mb()
    with np.load(inputs, allow_pickle=False) as found:
        calls: dict[str, dict[str, np.ndarray]] = {}
        for key in found.files:
            number, _, name = key.partition(" ")
            calls.setdefault(number, {})[name] = found[key]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    loaded = None
    for call in calls.values():
        session.run(None, {name: array for name, array in call.items() if name in names})
        loaded = loaded or time.perf_counter() - began
    print(json.dumps({"load_ms": 1e3 * (loaded or 0.0), "peak_rss_mb": peak_mb(), "runtime_rss_mb": own}))


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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
