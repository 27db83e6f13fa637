"""Mixed precision, on a model of which one layer is made hard to quantize."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.quantization import SCHEMES, Plan, damage_by_layer, most_damaged, weights_by_layer
from autoopt.quantization.ranking import noise_to_signal, outputs
from autoopt.runtimes.export import export
from autoopt.tasks import Task

RANKED = [name for name, row in SCHEMES.items() if "float_layers" in row.knobs]
DELICATE = "/3/Gemm"


@pytest.fixture
def delicate(tmp_path: Path) -> Path:
    """The second of three layers has a large weight in each channel, whose input is always zero: its grid is coarse for
    nothing.
    """
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    ).eval()
    with torch.no_grad():
        model[1].bias[0] = -3.0
        model[3].weight[:, 0] = 5.0
    export(model, Inputs({"input": torch.zeros(2, 64)}), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def inputs() -> Inputs:
    return Inputs({"input": np.random.default_rng(0).random((64, 64), np.float32)})


@pytest.mark.parametrize("scheme", RANKED)
def test_the_layer_that_suffers_most_is_first(scheme: str, delicate: Path, inputs: Inputs) -> None:
    damage = damage_by_layer(delicate, Plan(inputs), SCHEMES[scheme].quantize)
    assert damage.keys() == weights_by_layer(delicate).keys()
    assert next(iter(damage)) == DELICATE
    assert list(damage.values()) == sorted(damage.values(), reverse=True)
    assert damage[DELICATE] > 3 * sorted(damage.values())[-2]


@pytest.mark.parametrize("scheme", RANKED)
def test_left_in_float_it_does_no_damage(scheme: str, delicate: Path, inputs: Inputs, tmp_path: Path) -> None:
    wanted, noise = outputs(delicate, inputs), {}
    for kept in (None, *weights_by_layer(delicate)):
        plan = Plan(inputs, float_layers=() if kept is None else (kept,))
        facts = SCHEMES[scheme].quantize(delicate, tmp_path / "q.onnx", plan)
        assert facts["kept_in_float"] == list(plan.float_layers)
        noise[kept] = noise_to_signal(wanted, outputs(tmp_path / "q.onnx", inputs))
    assert min(noise, key=lambda kept: noise[kept]) == DELICATE
    assert noise[DELICATE] < 0.5 * noise[None]


def test_a_ranking_quantizes_one_layer_at_a_time(delicate: Path, inputs: Inputs) -> None:
    quantized = []

    def quantize(source: Path, target: Path, plan: Plan) -> dict:
        found = SCHEMES["int8_static"].quantize(source, target, plan)
        tensors = onnx.load(target).graph.initializer
        quantized.append(sum(t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2 for t in tensors))
        return found

    damage_by_layer(delicate, Plan(inputs, keep_float="ends"), quantize)
    assert quantized == [1, 1, 1]


def test_products_of_two_activations_stay_out_of_the_ranking(sentences: Task, tmp_path: Path) -> None:
    """Those of attention have no weights: alone means without them, too."""
    few = sentences.train.inputs[:8].numpy()
    export(sentences.build_teacher(), sentences.train.inputs[:2], tmp_path / "m.onnx")
    layers = weights_by_layer(tmp_path / "m.onnx")
    seen = []

    def quantize(source: Path, target: Path, plan: Plan) -> dict:
        left = [n.name for n in onnx.load(source).graph.node if n.op_type in ("Gemm", "MatMul", "Gather", "Conv")]
        seen.append({name for name in left if name not in plan.float_layers})
        return SCHEMES["none"].quantize(source, target, plan)

    damage = damage_by_layer(tmp_path / "m.onnx", Plan(few), quantize)
    assert [{name} for name in layers] == seen
    assert set(damage.values()) == {0.0}


def test_layers_that_a_scheme_leaves_in_float_anyway_are_not_chosen_from(sentences: Task, tmp_path: Path) -> None:
    """weight_only_* do not look at embeddings, of which the first layer is one."""
    few, source, target = sentences.train.inputs[:8].numpy(), tmp_path / "m.onnx", tmp_path / "q.onnx"
    export(sentences.build_teacher(), sentences.train.inputs[:2], source)
    every, scheme = weights_by_layer(source), SCHEMES["weight_only_int8"]
    products = weights_by_layer(source, scheme.changes)
    assert products.keys() < every.keys()
    assert next(iter(every)) not in products
    facts = scheme.quantize(source, target, Plan(few, keep_float="first", kinds=scheme.changes))
    assert facts["kept_in_float"] == [next(iter(products))]
    damage = damage_by_layer(source, Plan(few, kinds=scheme.changes), scheme.quantize)
    assert damage.keys() == products.keys()
    assert min(damage.values()) > 0


def test_without_a_ranking_the_smallest_layers_stay(delicate: Path) -> None:
    weights = weights_by_layer(delicate)
    assert list(weights.values()) == [64 * 32 + 32, 32 * 32 + 32, 32 * 10 + 10]
    assert most_damaged({}, weights, 1) == ("/5/Gemm",)
    assert most_damaged({}, weights, 2) == ("/5/Gemm", DELICATE)
    damage = {"/1/Gemm": 0.3, DELICATE: 0.2, "/5/Gemm": 0.1}
    assert most_damaged(damage, weights, 2) == ("/1/Gemm", DELICATE)
    with pytest.raises(TrialError, match=r"space.float_layers=3 leaves nothing to quantize: this model has 3 layers"):
        most_damaged(damage, weights, 3)
    with pytest.raises(TrialError, match="other layers"):
        most_damaged({"/9/Gemm": 1.0}, weights, 1)


@pytest.mark.parametrize("scheme", RANKED)
def test_by_place_and_by_damage_at_once_is_refused(scheme: str, delicate: Path, inputs: Inputs, tmp_path: Path) -> None:
    plan = Plan(inputs, keep_float="first", float_layers=(DELICATE,))
    with pytest.raises(TrialError, match=r"type space.keep_float=none or space.float_layers=0"):
        SCHEMES[scheme].quantize(delicate, tmp_path / "q.onnx", plan)


def test_layers_without_names_are_refused(delicate: Path, inputs: Inputs, tmp_path: Path) -> None:
    model = onnx.load(delicate)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "nameless.onnx")
    with pytest.raises(TrialError, match="need nodes that have names"):
        damage_by_layer(tmp_path / "nameless.onnx", Plan(inputs), SCHEMES["int8_static"].quantize)
