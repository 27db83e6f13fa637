"""Mixed precision: which layers quantization damages most, each one quantized alone.

The order of Nagel et al. 2021 (arXiv:2106.08295, section 3.6), with the noise-to-signal ratio of onnxruntime's
qdq_loss_debug as the damage.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.quantization.calibration import Plan
from autoopt.quantization.layers import KINDS, weights_by_layer

BATCH = 32


def damage_by_layer(
    source: Path, plan: Plan, quantize: Callable[[Path, Path, Plan], dict[str, Any]]
) -> dict[str, float]:
    """Layer -> the damage that `quantize` does to the outputs where it may change that layer alone, the worst first.

    The damage is the energy of the noise over that of the float model's outputs on the plan's inputs: 0 is none, 0.01
    are 20 dB. One quantization and one run over the inputs a layer.
    """
    multiplied = [node.name for node in onnx.load(source).graph.node if node.op_type in KINDS]
    wanted, damage = outputs(source, plan.inputs), {}
    for layer in weights_by_layer(source, plan.kinds):
        others = tuple(name for name in multiplied if name and name != layer)
        alone = replace(plan, operators="with_weights", keep_float=None, float_layers=others)
        with TemporaryDirectory() as folder:
            target = Path(folder) / "alone.onnx"
            quantize(source, target, alone)
            damage[layer] = noise_to_signal(wanted, outputs(target, plan.inputs))
    return dict(sorted(damage.items(), key=lambda found: -found[1]))


def noise_to_signal(wanted: np.ndarray, found: np.ndarray) -> float:
    """Of two arrays of one shape; the energy is the sum of squares."""
    return float(np.square(found - wanted).sum() / max(np.square(wanted).sum(), np.finfo(np.float32).tiny))


def outputs(model: Path, inputs: Inputs) -> np.ndarray:
    """(n, ...) of an ONNX file, in batches."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_inputs()]
    batches = ({name: batch.arrays[name] for name in names} for batch in inputs.batches(BATCH))
    return np.concatenate([session.run(None, batch)[0] for batch in batches])


def most_damaged(damage: Mapping[str, float], weights: Mapping[str, int], wanted: int) -> tuple[str, ...]:
    """The `wanted` layers that stay in float. `weights`: of each layer of the graph; `damage`: of the same ones.

    Without damage, those of fewest weights: no choice of as many layers makes a smaller file. Raises TrialError where
    that leaves nothing to quantize.
    """
    if wanted >= len(weights):
        raise TrialError(
            f"space.float_layers={wanted} leaves nothing to quantize: this model has {len(weights)} layers"
        )
    if damage and damage.keys() != weights.keys():
        raise TrialError("the exported graph has other layers than the one that was ranked for its structure")
    ranked = list(damage) or sorted(weights, key=lambda layer: weights[layer])
    return tuple(ranked[:wanted])
