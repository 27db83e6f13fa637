"""What answers in a registered model: MLflow calls `_load_pyfunc`, then `predict`.

This file travels inside the model, so it stands alone: nothing of autoopt, no torch, only what requirements.txt of the
model lists. It unpickles nothing.
"""

import contextlib
import json
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FILE, MODEL, TOKENIZER = "served.json", "model.onnx", "tokenizer.json"
Run = Callable[[dict[str, np.ndarray]], np.ndarray]
ON_CUDA = {"device_id": 0, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
PROVIDERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "tensorrt": [("TensorrtExecutionProvider", {"device_id": 0}), ("CUDAExecutionProvider", ON_CUDA)],
    "cuda": [("CUDAExecutionProvider", ON_CUDA)],
}
"""Those of autoopt/runtimes/providers.py."""


def _load_pyfunc(path: str) -> "Served":
    return Served(Path(path))


class Served:
    """The model in `folder`, as FILE says: its `runtime` and `threads`, onnxruntime's `provider` if that is no CPU
    (where it is not at hand, the CPU answers, with a warning), `inputs` (name to dtype and shape without the batch),
    how many `outputs` a row has, `labels` of the classes or null where the outputs are numbers, whether the outputs are
    `probabilities` already, and `pad` of a model that takes texts.
    """

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / FILE).read_text())
        provider = self.about.get("provider", "cpu")
        self._names, self._run = RUNTIMES[self.about["runtime"]](folder / MODEL, self.about["threads"], provider)
        self._encode = None
        if self.about["pad"] is not None:
            import tokenizers

            self._encode = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER)).encode

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Texts, one array (n, ...) or a dict of them, to a table of n answers, or an array (n, k) of numbers.

        One row a call, as it was measured: dynamic quantization takes its ranges from the whole batch, so that others'
        rows would change an answer.
        """
        rows = self._of_texts(model_input) if self._encode else self._of_arrays(model_input)
        found = [self._run({name: row[name] for name in self._names}) for row in rows]
        return answers(np.concatenate(found or [np.zeros((0, self.about["outputs"]), "float32")]), self.about)

    def _of_texts(self, given: Any) -> list[dict[str, np.ndarray]]:
        texts = given.iloc[:, 0] if isinstance(given, pd.DataFrame) else np.asarray(given, dtype=object).reshape(-1)
        name = next(iter(self.about["inputs"]))
        return [{name: np.array([self._ids(str(text))], dtype=np.int64)} for text in texts]

    def _ids(self, text: str) -> list[int]:
        assert self._encode is not None
        return self._encode(text).ids or [self.about["pad"]]

    def _of_arrays(self, given: Any) -> list[dict[str, np.ndarray]]:
        expected = self.about["inputs"]
        arrays = given if isinstance(given, Mapping) else {next(iter(expected)): np.asarray(given)}
        cast = {name: np.asarray(arrays[name]).astype(kind["dtype"], copy=False) for name, kind in expected.items()}
        for name, array in cast.items():
            if array.shape == (0,):  # []
                cast[name] = array = array.reshape(0, *expected[name]["shape"])
            if list(array.shape[1:]) != expected[name]["shape"]:
                raise ValueError(f"{name} has the shape {array.shape}: (rows, *{expected[name]['shape']}) is allowed")
            check_finite(name, array)
        return [{name: array[i : i + 1] for name, array in cast.items()} for i in range(len(next(iter(cast.values()))))]


def check_finite(name: str, array: np.ndarray) -> None:
    """Raises ValueError: a model answers something to what is no number, too."""
    if np.issubdtype(array.dtype, np.floating):
        finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        if not finite.all():
            rows = ", ".join(map(str, np.flatnonzero(~finite)[:10]))
            more = f" and {(~finite).sum() - 10} more" if (~finite).sum() > 10 else ""
            raise ValueError(f"{name} has NaN or infinity in row {rows}{more}: finite {array.dtype} is allowed")


def answers(outputs: np.ndarray, about: Mapping[str, Any]) -> Any:
    """Outputs (n, k) as they are, or of classes a table: the label of the largest, its place, its probability."""
    labels = about["labels"]
    if labels is None:
        return outputs
    shares = outputs.astype(np.float64)
    places, shares = outputs.argmax(1), shares if about["probabilities"] else softmax(shares)
    return pd.DataFrame(
        {"label": [labels[i] for i in places], "class": places, "probability": shares[np.arange(len(places)), places]}
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Of (n, classes), row by row."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def use_onnxruntime(path: Path, threads: int, provider: str) -> tuple[list[str], Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = open_session(str(path), options, provider)
    return [value.name for value in session.get_inputs()], lambda row: session.run(None, row)[0]


def open_session(path: str, options: Any, provider: str) -> Any:
    """On the provider where it is here, else on the CPU."""
    import onnxruntime

    if provider != "cpu":
        known = onnxruntime.get_available_providers()
        try:
            if PROVIDERS[provider][0][0] not in known:
                raise RuntimeError(f"onnxruntime {onnxruntime.__version__} has {', '.join(known)}")
            with contextlib.redirect_stdout(None):  # it prints which libraries it did not find
                onnxruntime.preload_dlls()
            session = onnxruntime.InferenceSession(path, options, providers=PROVIDERS[provider], enable_fallback=0)
            if session.get_providers()[0] == PROVIDERS[provider][0][0]:
                return session
            reason = "its libraries, or a GPU, are missing"
        except Exception as error:  # its own exceptions have no common base
            reason = " ".join(str(error).split())[:300]
        said = f"the model was measured on {provider}, which is not here: the CPU serves it ({reason})"
        warnings.warn(said, stacklevel=2)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def use_openvino(path: Path, threads: int, provider: str) -> tuple[list[str], Run]:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    settings |= {"ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}
    core, own = openvino.Core(), threading.local()
    model = core.read_model(str(path))

    def run(row: dict[str, np.ndarray]) -> np.ndarray:
        if not hasattr(own, "request"):  # requests of one compiled model wait for each other
            own.request = core.compile_model(model, "CPU", settings).create_infer_request()
        own.request.infer({name: np.ascontiguousarray(array) for name, array in row.items()})
        return np.array(own.request.get_output_tensor(0).data)

    return [port.node.friendly_name for port in model.inputs], run


RUNTIMES: dict[str, Callable[[Path, int, str], tuple[list[str], Run]]] = {
    "onnxruntime": use_onnxruntime,
    "openvino": use_openvino,
}
"""Each opens a model file: the names of its inputs, and what serves a row. Settings are those of autoopt's runtimes."""
