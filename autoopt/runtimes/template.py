"""One export a structure: the graph depends on the structure alone, so other weights are filled into it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from autoopt.core.inputs import Inputs
from autoopt.core.sealed import is_whole, write_folder
from autoopt.runtimes.export import export, fold_batch_norm

TEMPLATE = "template"
GRAPH, PLACES = f"{TEMPLATE}/graph.onnx", f"{TEMPLATE}/places.json"
VERSIONS = {package.__name__: package.__version__ for package in (torch, onnx)}
JITTER = 1e-3  # tells apart weights that are equal before training, such as biases of zero


def make_template(model: nn.Module, inputs: Inputs, folder: Path) -> None:
    """Export `model` into `folder` with its weights slightly changed, and note which weight of the model went where.

    `folder`/GRAPH serves to measure whatever the structure decides. Raises TrialError.
    """
    changed = _jittered(fold_batch_norm(model))

    def write(fresh: Path) -> None:
        graph = fresh / Path(GRAPH).name
        exporter = export(changed, inputs, graph)
        noted = {"exporter": exporter, "places": _places(onnx.load(graph), _weights(changed)), "versions": VERSIONS}
        (fresh / Path(PLACES).name).write_text(json.dumps(noted))

    write_folder(folder / TEMPLATE, write, lambda place: is_template(place.parent))


def fill(model: nn.Module, inputs: Inputs, folder: Path, path: Path) -> dict[str, str]:
    """Write the ONNX file of `model` to `path` from the template in `folder`; returns the exporter of the graph.

    Exports anew where the template could not tell which weight went where, or was damaged meanwhile. Whoever calls
    checks parity.
    """
    template = json.loads((folder / PLACES).read_text()) if is_template(folder) else {"places": None}
    if template["places"] is None:
        return {"exporter": export(model, inputs, path)}
    graph, weights = onnx.load(folder / GRAPH), _weights(fold_batch_norm(model))
    for tensor in graph.graph.initializer:
        if tensor.name in template["places"]:
            name, transposed = template["places"][tensor.name]
            array = (weights[name].T if transposed else weights[name]).reshape(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    onnx.save(graph, path)
    return {"exporter": f"{template['exporter']} (once for the structure)"}


def is_template(folder: Path) -> bool:
    """True where `folder` holds a whole template, made by these very versions of the exporters."""
    whole = is_whole(folder / TEMPLATE)
    return whole and json.loads((folder / PLACES).read_text())["versions"] == VERSIONS


@torch.no_grad()
def _jittered(model: nn.Module) -> nn.Module:
    """In place: no two weights or buffers are equal, variances stay above zero."""
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor += JITTER * torch.rand(tensor.shape, generator=generator)
    return model


def _weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items() if value.is_floating_point()}


def _places(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> dict[str, tuple[str, bool]] | None:
    """Initializer -> name of the weight that it holds, and whether transposed; None where one holds something else.

    A single number that is no weight is a constant of the graph. Anything larger was computed from weights on the way.
    """
    places: dict[str, tuple[str, bool]] = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind != "f":
            continue
        found = next((place for name, w in weights.items() if (place := _holds(array, name, w))), None)
        if found is not None:
            places[tensor.name] = found
        elif array.size > 1:
            return None
    return places


def _holds(array: np.ndarray, name: str, weight: np.ndarray) -> tuple[str, bool] | None:
    if np.array_equal(array, weight) or (array.size == weight.size == 1 and array.item() == weight.item()):
        return name, False
    if weight.ndim == 2 and np.array_equal(array, weight.T):
        return name, True
    return None
