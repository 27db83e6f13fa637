"""Structures: what is known of a module before its weights are. Exported once, measured once, kept for the study."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.core.quiet import QuietMachine
from autoopt.core.sealed import read_json, write_json
from autoopt.measurements import MEASURES, Subject
from autoopt.runtimes import Session
from autoopt.runtimes.export import export
from autoopt.runtimes.parity import check_parity
from autoopt.runtimes.template import fill, is_template, make_template


def structure_key(model: nn.Module) -> str:
    """16 hex digits: equal for modules of equal layers and shapes, whatever the values of their weights."""
    shapes = [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    return hashlib.sha256(f"{model!r} {shapes}".encode()).hexdigest()[:16]


def open_structure(model: nn.Module, inputs: Inputs, folder: Path) -> Path:
    """The folder of the module's structure below `folder`, with its exported graph. Raises TrialError."""
    place = folder / structure_key(model)
    if not is_template(place):
        make_template(model, inputs, place)
    os.utime(place)  # whoever makes room on the disk leaves it alone while the trial runs
    return place


def export_into(
    structure: Path, model: nn.Module, inputs: Inputs, path: Path, open_session: Callable[[Path], Session]
) -> dict[str, Any]:
    """Write the trained model as ONNX to `path`, from the structure's graph; returns exporter and parity.

    Exported anew where the graph with these weights does not say what the module says. Raises TrialError where that
    does not either.
    """
    found = fill(model, inputs, structure, path)
    try:
        return found | check_parity(model, open_session(path), inputs)
    except TrialError:
        exporter = export(model, inputs, path)
        return {"exporter": exporter} | check_parity(model, open_session(path), inputs)


def measure_structure(
    structure: Path,
    scheme: str,
    conditions: Mapping[str, Any],
    measures: Collection[str],
    make_subject: Callable[[], Subject],
    quiet: QuietMachine,
) -> Iterator[dict[str, Measurement]]:
    """What the structure decides, under a quantization scheme: size first, since it costs nothing.

    Of `measures`, names in MEASURES. `scheme` is its name, with all else that changes the graph. `conditions` (plain
    JSON) are those of the measuring: what was measured under others is measured anew. `make_subject()` is the quantized
    graph, and is asked only where something was not measured before; others wait in `quiet` meanwhile. An iterator, so
    that whoever asks may stop when a bound is broken.
    """
    cache, known = structure / f"{scheme}.json", _known(structure / f"{scheme}.json", conditions)
    subject = None
    for name, measure in MEASURES.items():
        if not measure.of_structure or name not in measures:
            continue
        if name not in known:
            subject = subject or make_subject()
            with nullcontext() if measure.needs_weights else quiet.measuring():  # the first is not timed
                taken = measure.take(subject)
            known[name] = {key: taken[key].to_list() for key in measure.of_structure if key in taken}
            write_json(cache, {"conditions": conditions, "measured": known})
        yield {key: Measurement.from_list(numbers) for key, numbers in known[name].items()}


def _known(cache: Path, conditions: Mapping[str, Any]) -> dict[str, Any]:
    kept = read_json(cache) or {}
    return dict(kept["measured"]) if kept.get("conditions") == conditions else {}


def ranking(
    structure: Path, scheme: str, conditions: Mapping[str, Any], rank: Callable[[], dict[str, float]] | None = None
) -> dict[str, float]:
    """Layer -> damage under a quantization scheme, the worst first; made by `rank` where nobody has made it before,
    {} where there is no `rank` either.

    Once a structure, by its first model with final weights. Trained models of one structure agree on the order, while
    the weights before training say nothing of it (experiments/mixed_precision); and where a ranking costs a
    quantization a layer, as of an encoder, it is dear. All models of the structure keep the same layers in float, so
    that they share its size and latency. The price: which layers a recipe keeps depends on the model that came first;
    their names are among the facts of each trial.
    """
    path, same = structure / f"ranking-{scheme}.json", {key: conditions[key] for key in ("saturates", "versions")}
    kept = read_json(path) or {}
    if kept.get("conditions") == same:
        return dict(kept["damage"])
    damage = rank() if rank else {}
    if damage:
        write_json(path, {"conditions": same, "damage": damage})
    return damage


def measure_weights(subject: Subject, measures: Collection[str]) -> dict[str, Measurement]:
    """What depends on the values of the weights, and what is exact and costs nothing anyway."""
    found: dict[str, Measurement] = {}
    for name, measure in MEASURES.items():
        if measure.needs_weights and name in measures:
            found |= measure.take(subject)
    return found
