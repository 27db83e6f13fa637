"""Execution providers of onnxruntime: the CPU, or an NVIDIA GPU by way of CUDA or TensorRT."""

import contextlib
import io
import logging
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper

from autoopt.core.errors import ConfigError, one_line

AUTO, CPU, CUDA, TENSORRT = CHOICES = ("auto", "cpu", "cuda", "tensorrt")
PROVIDERS = {
    TENSORRT: "TensorrtExecutionProvider",
    CUDA: "CUDAExecutionProvider",
    CPU: "CPUExecutionProvider",
}
"""The first that answers is the choice of auto: who has installed onnxruntime-gpu serves on a GPU."""

# float32 as on the CPU: TF32 would be off by more than parity allows. Algorithms are looked up, not raced: a race would
# be run again for each length of a sentence, and sessions of one model would not say the same.
ON_CUDA: dict[str, Any] = {"device_id": 0, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
BEHIND: Mapping[str, list[Any]] = {
    TENSORRT: [(PROVIDERS[TENSORRT], {"device_id": 0}), (PROVIDERS[CUDA], ON_CUDA)],
    CUDA: [(PROVIDERS[CUDA], ON_CUDA)],
    CPU: [PROVIDERS[CPU]],
}
"""Who takes the nodes that the one before cannot; the CPU is always the last. Copies of this are in
measurements/serve_once.py and champion/served.py, which stand alone.
"""
RECORDED = "session.record_ep_graph_assignment_info"
FATAL, WARNINGS = 4, 2
log = logging.getLogger(__name__)


def chosen(asked: str) -> str:
    """The provider itself. Raises ConfigError where the one that is asked for does not answer on this machine."""
    there = [name for name in PROVIDERS if asked in (AUTO, name) and answers(name)]
    if there:
        return there[0]
    those = " and ".join(name for name in PROVIDERS if answers(name))
    raise ConfigError(
        f"runtime.provider={asked}: no GPU answers through it on this machine, where {those} can be had: type "
        "runtime.provider=cpu, or install onnxruntime-gpu in the place of onnxruntime"
    )


@cache
def answers(provider: str) -> bool:
    """Whether a model of one node is computed there: that a provider is listed says only how the package was built."""
    if provider == CPU:
        return True
    if PROVIDERS[provider] not in onnxruntime.get_available_providers():
        return False
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    onnxruntime.set_default_logger_severity(FATAL)  # a library that is missing is told there
    try:
        row = np.ones((1, 2), np.float32)
        return bool(np.array_equal(open_session(_tiny(), options, provider).run(None, {"x": row})[0], row))
    except Exception as error:  # its own exceptions have no common base
        log.info("%s does not answer: %s", PROVIDERS[provider], one_line(error, 300))
        return False
    finally:
        onnxruntime.set_default_logger_severity(WARNINGS)


def open_session(model: str | bytes, options: Any, provider: str) -> Any:
    """A session that runs on the provider: raises RuntimeError where onnxruntime would take the CPU in its place, or
    leave all nodes of the model to the CPU. Some it always leaves to it, such as those that compute shapes.
    """
    if provider == CPU:
        return onnxruntime.InferenceSession(model, options, providers=BEHIND[CPU], enable_fallback=0)
    load_libraries()
    options.add_session_config_entry(RECORDED, "1")
    session = onnxruntime.InferenceSession(model, options, providers=BEHIND[provider], enable_fallback=0)
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise RuntimeError(f"{PROVIDERS[provider]} cannot be loaded: {session.get_providers()} would run it")
    parts = {part.ep_name for part in session.get_provider_graph_assignment_info()}
    if PROVIDERS[provider] not in parts:
        raise RuntimeError(f"{PROVIDERS[provider]} takes none of its nodes: {', '.join(sorted(parts))} would run it")
    return session


@cache
def load_libraries() -> None:
    """Those of CUDA that pip has installed beside onnxruntime or torch; it prints which it did not find."""
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


@cache
def gpu_name() -> str:
    """Of the first GPU, as its driver calls it; '' where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def machine_of(provider: str) -> dict[str, str]:
    """What measurements depend on besides the CPU: nothing on the CPU, so that older ones are still comparable."""
    return {} if provider == CPU else {"provider": provider, "gpu": gpu_name() or "unknown GPU"}


def _tiny() -> bytes:
    """x (n, 2) times the identity."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    identity = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 0.0, 0.0, 1.0])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "tiny", ends[:1], ends[1:], initializer=[identity])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
