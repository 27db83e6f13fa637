"""The story of a trial, on digits with an untrained teacher: what is built once, measured once, and shared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from autoopt import low_bits, pipeline
from autoopt.champion import package
from autoopt.commands.bench import _conditions, make_bench
from autoopt.config import load_settings
from autoopt.core import artifact
from autoopt.core.errors import ConfigError, Interrupted, Screened, TrialError
from autoopt.core.exam import ExamRules
from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Kpi, Measurements
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.sealed import read_json
from autoopt.core.trial import COMPLETE, Draft, Trial
from autoopt.measurements import MEASURES, Subject
from autoopt.pipeline import Bench, artifact_path, make_up_siblings, run_trial
from autoopt.quantization import SCHEMES
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import Split, Task
from autoopt.training.loop import Hooks
from tests.search.table import begin

RECIPE = Recipe(
    "cnn", "none", "int8_static", width=0.5, epochs=2, optimizer="adamw", learning_rate=5e-3, calibration="minmax"
)


TAKEN = {name for measure in MEASURES.values() if not measure.dear for name in measure.facts} - {
    "r2",
    "quality",
    "cost_per_million",
    "latency_p99_ms",
    "worst_slice",
}


QUICK = ["runtime.blocks=5", "runtime.calls=5", "runtime.attempts=1"]


@pytest.fixture
def bench(digits: Task, tmp_path: Path) -> Bench:
    settings = load_settings(["task=digits", f"outputs={tmp_path}", *QUICK, "threads=1"])
    torch.manual_seed(0)
    return make_bench(settings, digits, digits.build_teacher().eval(), "untrained")


TEXT = {"epochs": 1, "optimizer": "adamw", "learning_rate": 1e-3, "batch_size": 64, "distill_weight": 0.5}
TEXT |= {"augment": 1, "temperature": 2.0}
TEXTS = [
    Recipe("bag", "none", "int8_dynamic", width=0.5, embedding_rank=16, ngrams=2, **TEXT),
    Recipe("teacher", "depth", "int8_static", layers=1, vocabulary="cut", calibration="minmax", **TEXT),
    Recipe("teacher", "structured_taylor", "none", layers=2, vocabulary="cut", pruning_ratio=0.5, **TEXT),
]


@pytest.mark.parametrize("recipe", TEXTS, ids=lambda recipe: f"{recipe.student}-{recipe.pruning}")
def test_sentences_run_the_whole_way(recipe: Recipe, sentences: Task, tmp_path: Path) -> None:
    words = ["task=intents", f"outputs={tmp_path}", *QUICK, "threads=1"]
    torch.manual_seed(0)
    bench = make_bench(load_settings(words), sentences, sentences.build_teacher().eval(), "untrained")
    draft = Draft(recipe)
    run(draft, bench, tmp_path / "w")
    assert draft.error is None
    assert draft.measurements["size_mb"].ratio < 1
    session = RUNTIMES["onnxruntime"](artifact_path(tmp_path / "w", recipe), 1)
    assert session(sentences.test.inputs[:1].numpy()).shape == (1, sentences.classes)
    assert draft.measurements["accuracy"].value == pytest.approx(draft.curve[0], abs=0.1)


def test_a_scheme_is_calibrated_on_rows_of_the_whole_train_split(
    bench: Bench, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are often sorted by class: their beginning is one of them."""
    order = bench.task.train.targets.argsort()
    train = Split(bench.task.train.inputs[order], bench.task.train.targets[order])
    plans = []
    plain = SCHEMES["int8_static"]
    row = replace(
        plain, quantize=lambda source, target, plan: plans.append(plan) or plain.quantize(source, target, plan)
    )
    monkeypatch.setitem(SCHEMES, "int8_static", row)
    low_bits.quantize(RECIPE, replace(bench.task, train=train), exported["cnn"], tmp_path / "q.onnx", 64)
    chosen = {row.tobytes() for row in next(iter(plans[0].inputs))}
    targets = [
        int(t) for x, t in zip(next(iter(train.inputs)), train.targets, strict=True) if x.numpy().tobytes() in chosen
    ]
    assert set(targets) == set(range(10))


def test_a_scheme_that_changes_nothing_fails(bench: Bench, exported: dict[str, Path], tmp_path: Path) -> None:
    recipe = Recipe("teacher", "none", "weight_only_int8")
    with pytest.raises(TrialError, match="weight_only_int8 changes nothing in this model"):
        low_bits.quantize(replace(recipe, keep_float="ends"), bench.task, one_layer(tmp_path), tmp_path / "q.onnx", 8)


def one_layer(folder: Path) -> Path:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    export(model, Inputs({"input": torch.zeros(2, 1, 8, 8)}), folder / "m.onnx")
    return folder / "m.onnx"


def welcome(measurements: Measurements) -> None:
    """Admits everything."""


def run(draft: Draft, bench: Bench, folder: Path, admit: Callable[[Measurements], None] = welcome) -> list[Draft]:
    folder.mkdir(exist_ok=True)
    return list(run_trial(draft, bench, folder, Hooks(), admit))


def test_a_trial_fills_its_draft(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(RECIPE)
    assert run(draft, bench, tmp_path / "w") == []
    assert set(draft.measurements) == TAKEN
    assert len(draft.curve) == 2
    assert set(draft.clock.seconds) == {"structure", "screen", "train", "export", "quantize", "measure"}
    assert draft.facts["weight_type"] == "QInt8"
    assert artifact_path(tmp_path / "w", RECIPE).is_file()


def test_size_and_speed_are_shown_before_training(bench: Bench, tmp_path: Path) -> None:
    shown: list[set[str]] = []
    draft = Draft(RECIPE)

    def admit(measurements: Measurements) -> None:
        assert draft.curve == []
        shown.append(set(measurements))
        if "latency_p95_ms" in measurements:
            raise Screened("structure", "too slow")

    with pytest.raises(Screened):
        run(draft, bench, tmp_path / "w", admit)
    assert shown == [{"size_mb", "params_m"}, {"size_mb", "params_m", "latency_p50_ms", "latency_p95_ms"}]
    assert "train" not in draft.clock.seconds
    assert set(draft.measurements) == shown[-1]


def test_a_screening_epoch_leaves_the_curve_so_far(bench: Bench, tmp_path: Path) -> None:
    def on_epoch(epoch: int, quality: float) -> None:
        raise Screened("curve", "hopeless")

    draft = Draft(RECIPE)
    with pytest.raises(Screened):
        run_trial(draft, bench, tmp_path, Hooks(on_epoch=on_epoch), welcome)
    assert len(draft.curve) == 1
    assert draft.clock.seconds["train"] > 0


def test_a_structure_is_exported_and_measured_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Draft(RECIPE)
    run(first, bench, tmp_path / "a")
    sparse = replace(RECIPE, pruning="unstructured_magnitude", sparsity=0.5, learning_rate=1e-2, calibration="entropy")

    def never(*_: object) -> None:
        raise AssertionError("a second time")

    monkeypatch.setattr("autoopt.runtimes.template.export", never)
    for measure in ("latency", "throughput"):
        monkeypatch.setitem(pipeline.measure_structure.__globals__["MEASURES"], measure, replace_take(measure, never))
    second = Draft(sparse)
    run(second, bench, tmp_path / "b")
    for name in ("latency_p50_ms", "latency_p95_ms", "throughput_qps", "size_mb"):
        assert second.measurements[name] == first.measurements[name]
    assert second.measurements["weight_sparsity"].value > 0.4
    assert second.facts["exporter"] == "torchscript (once for the structure)"


def replace_take(name: str, take: Callable[..., object]) -> object:
    return replace(pipeline.measure_structure.__globals__["MEASURES"][name], take=take)


def test_siblings_have_the_same_weights_under_another_scheme(bench: Bench, tmp_path: Path) -> None:
    others = tuple(replace(RECIPE, quantization=scheme, calibration=None) for scheme in ("none", "fp16"))
    draft = Draft(RECIPE, others)
    siblings = run(draft, bench, tmp_path / "w")
    assert [sibling.recipe for sibling in siblings] == list(others)
    inputs = bench.task.validation.inputs[:50].numpy()
    logits = [
        RUNTIMES["onnxruntime"](artifact_path(tmp_path / "w", trial.recipe), 1)(inputs) for trial in (draft, *siblings)
    ]
    assert logits[1] == pytest.approx(logits[2], abs=0.05)
    assert np.abs(logits[0] - logits[1]).max() < 0.5 * np.abs(logits[1]).max()
    for sibling in siblings:
        assert set(sibling.measurements) == TAKEN
        assert sibling.curve == draft.curve
        assert set(sibling.clock.seconds) == {"screen", "quantize", "measure"}
    assert draft.facts["weight_type"] == "QInt8"
    assert all("weight_type" not in sibling.facts and "parity_max_abs" in sibling.facts for sibling in siblings)
    assert siblings[0].measurements["size_mb"].value > siblings[1].measurements["size_mb"].value


def test_a_sibling_that_does_not_work_out_spares_the_others(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.quantize

    def quantize(recipe: Recipe, *rest: object) -> dict:
        if recipe.quantization == "fp16":
            raise TrialError("no fp16 here")
        return real(recipe, *rest)

    monkeypatch.setattr(pipeline, "quantize", quantize)
    others = tuple(replace(RECIPE, quantization=scheme, calibration=None) for scheme in ("fp16", "none"))
    failures = [str(sibling.error or "") for sibling in run(Draft(RECIPE, others), bench, tmp_path / "w")]
    assert failures == ["no fp16 here", ""]


def test_where_the_own_scheme_fails_the_weights_serve_the_siblings(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.measure_weights
    failed: list[Path] = []

    def measure_weights(subject: Subject, measures: frozenset[str]) -> dict:
        if not failed:
            failed.append(subject.path)
            raise TrialError("not this one")
        return real(subject, measures)

    monkeypatch.setattr(pipeline, "measure_weights", measure_weights)
    draft = Draft(RECIPE, (replace(RECIPE, quantization="none", calibration=None),))
    (sibling,) = run(draft, bench, tmp_path / "w")
    assert failed == [artifact_path(tmp_path / "w", RECIPE)]
    assert str(draft.error) == "not this one"
    assert sibling.error is None
    assert set(sibling.measurements) == TAKEN


def test_a_quantizer_that_fails_says_which(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quantize(*_: object) -> dict:
        raise AssertionError("no such node")

    monkeypatch.setitem(pipeline.SCHEMES, "int8_static", replace(pipeline.SCHEMES["int8_static"], quantize=quantize))
    with pytest.raises(TrialError, match="int8_static failed: AssertionError: no such node"):
        run(Draft(RECIPE), bench, tmp_path / "w")


def test_siblings_are_made_up_for_from_the_weights_that_were_left(bench: Bench, tmp_path: Path) -> None:
    others = tuple(replace(RECIPE, quantization=scheme, calibration=None) for scheme in ("none", "fp16"))
    draft = Draft(RECIPE, others)
    at_once = run(draft, bench, tmp_path / "w")
    trial = Trial(3, COMPLETE, RECIPE, draft.evaluation())
    for recipe in others:
        artifact_path(tmp_path / "w", recipe).unlink()
    later = list(make_up_siblings(trial, others, bench, tmp_path / "w"))
    assert [sibling.recipe for sibling in later] == list(others)
    for one, other in zip(at_once, later, strict=True):
        assert other.measurements == one.measurements
        assert (other.curve, other.facts) == (one.curve, one.facts)
        assert artifact_path(tmp_path / "w", other.recipe).is_file()
    weights = tmp_path / "w" / f"{RECIPE.fingerprint}.float.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert list(make_up_siblings(trial, others, bench, tmp_path / "w")) == [], "other weights than were measured"
    weights.unlink()
    assert list(make_up_siblings(trial, others, bench, tmp_path / "w")) == []


def test_the_layers_that_stay_in_float_are_ranked_once_by_the_first_trained_model(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = replace(RECIPE, float_layers=2)
    first, shown = Draft(mixed, (replace(mixed, quantization="none", calibration=None, float_layers=None),)), []
    (plain,) = run(first, bench, tmp_path / "a", lambda found: shown.append(dict(found)))
    damage = read_json(next(bench.structures.glob("*/ranking-int8_static.json")))["damage"]
    assert first.facts["kept_in_float"] == list(damage)[:2]
    monkeypatch.setattr(low_bits, "damage_by_layer", lambda *_: pytest.fail("a second time"))
    second = Draft(replace(mixed, learning_rate=1e-2))
    run(second, bench, tmp_path / "b", lambda found: shown.append(dict(found)))
    assert second.facts["kept_in_float"] == first.facts["kept_in_float"]
    for draft, folder in ((first, "a"), (second, "b")):
        size = artifact_path(tmp_path / folder, draft.recipe).stat().st_size / 1e6
        assert draft.measurements["size_mb"].value == pytest.approx(size, rel=0.02), "measured as it is"
    assert second.measurements["latency_p50_ms"] == first.measurements["latency_p50_ms"]
    before, after = shown[0]["size_mb"].value, first.measurements["size_mb"].value
    assert before <= after < plain.measurements["size_mb"].value, "the screen was no stricter than the truth"
    assert shown[-1]["size_mb"] == second.measurements["size_mb"]


def test_a_sibling_may_be_the_first_to_be_ranked(bench: Bench, tmp_path: Path) -> None:
    other = replace(RECIPE, quantization="int8_dynamic", calibration=None, float_layers=1)
    (sibling,) = run(Draft(RECIPE, (other,)), bench, tmp_path / "w")
    assert sibling.error is None
    assert len(sibling.facts["kept_in_float"]) == 1
    assert list(bench.structures.glob("*/int8_dynamic*smallest*")) == [], "it was ranked before it was measured"


def test_more_layers_in_float_than_there_are_end_before_training(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(replace(RECIPE, float_layers=9))
    with pytest.raises(TrialError, match="space.float_layers=9 leaves nothing to quantize: this model has 5 layers"):
        run(draft, bench, tmp_path / "w")
    assert draft.curve == []


QAT = replace(RECIPE, quantization="int8_qat", calibration=None, qat_epochs=1)


def test_a_trial_is_trained_on_as_its_scheme_will_round_and_its_siblings_are_not(bench: Bench, tmp_path: Path) -> None:
    others = (replace(QAT, quantization="int8_static", qat_epochs=None, calibration="minmax"),)
    draft, plain = Draft(QAT, others), Draft(others[0])
    (sibling,) = run(draft, bench, tmp_path / "a")
    run(plain, bench, tmp_path / "b")
    assert draft.error is None
    assert set(draft.measurements) == TAKEN
    assert draft.facts["learned_layers"] == 5
    assert len(draft.facts["tuned"]["curve"]) == 1
    assert len(draft.curve) == 2
    same = artifact_path(tmp_path / "a", sibling.recipe).read_bytes(), artifact_path(tmp_path / "b", plain.recipe)
    assert same[0] == same[1].read_bytes(), "from the weights before"
    assert artifact_path(tmp_path / "a", QAT).read_bytes() != same[0]
    for name in ("latency_p50_ms", "size_mb"):
        assert draft.measurements[name] == sibling.measurements[name], "one graph, measured once"
    assert artifact_path(tmp_path / "a", QAT).stat().st_size == pytest.approx(len(same[0]), rel=0.02)


def test_the_teacher_as_it_is_may_be_trained_for_rounding_alone(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(Recipe("teacher", "none", "int8_qat", qat_epochs=1))
    run(draft, bench, tmp_path / "w")
    assert draft.error is None
    assert draft.curve == []
    assert len(draft.facts["tuned"]["curve"]) == 1
    assert draft.measurements["size_mb"].ratio < 0.3


def test_where_nothing_can_be_rounded_the_siblings_are_spared(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoopt.training.quantized.fake_quantize", lambda model, steps: [])
    draft = Draft(QAT, (replace(QAT, quantization="none", qat_epochs=None),))
    (sibling,) = run(draft, bench, tmp_path / "w")
    assert "this model has none" in str(draft.error)
    assert sibling.error is None


def test_a_stop_while_rounding_ends_the_trial(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(QAT)
    hooks = Hooks(lambda: len(draft.curve) == QAT.epochs)
    with pytest.raises(Interrupted, match="stopped in epoch 1 of 1"):
        run_trial(draft, bench, tmp_path, hooks, welcome)


def test_under_other_conditions_a_structure_is_measured_anew(bench: Bench, tmp_path: Path) -> None:
    run(Draft(BASELINE), bench, tmp_path / "a")
    (cache,) = bench.structures.glob("*/none.json")
    before = cache.read_bytes()
    run(Draft(BASELINE), bench, tmp_path / "b")
    assert cache.read_bytes() == before
    run(Draft(BASELINE), replace(bench, conditions={**bench.conditions, "threads": 2}), tmp_path / "c")
    assert read_json(cache)["conditions"]["threads"] == 2
    assert cache.read_bytes() != before


def test_under_another_runtime_the_same_weights_are_measured_apart(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["task=digits", "runtime=[onnxruntime,openvino]", f"outputs={tmp_path}", *QUICK, "threads=1"]
    settings = load_settings([*words, "runtime.calls=5"])
    assert set(_conditions(settings)["versions"]) == {"autoopt", "onnxruntime", "openvino"}
    torch.manual_seed(0)
    bench = make_bench(settings, digits, digits.build_teacher().eval(), "untrained")
    opened: list[tuple[str, str]] = []
    taken: list[Subject] = []
    real, size = bench.open_in, MEASURES["size"].take
    bench = replace(bench, open_in=lambda name, path: opened.append((name, path.name)) or real(name, path))
    monkeypatch.setitem(MEASURES, "size", replace(MEASURES["size"], take=lambda s: taken.append(s) or size(s)))
    recipe = replace(RECIPE, quantization="none", calibration=None, runtime="onnxruntime")
    (sibling,) = run(Draft(recipe, (replace(recipe, runtime="openvino"),)), bench, tmp_path / "w")
    assert sibling.error is None
    assert set(sibling.measurements) == TAKEN
    assert [(s.runtime, s.baseline_runtime) for s in taken] == [
        *[("onnxruntime", "onnxruntime")] * 2,
        *[("openvino", "onnxruntime")] * 2,
    ]
    assert all(subject.baseline_session is bench.baseline_session for subject in taken)
    assert opened[-1] == ("openvino", f"{sibling.recipe.fingerprint}.onnx")
    found = [read_json(cache) for cache in sorted(bench.structures.glob("*/none-*.json"))]
    assert [cache["conditions"]["runtime"] for cache in found] == ["onnxruntime", "openvino"]
    assert found[0]["measured"]["latency"] != found[1]["measured"]["latency"]
    opened.clear()
    run(Draft(replace(recipe, learning_rate=1e-3, runtime="openvino")), bench, tmp_path / "again")
    names = [name for name, path in opened if path == "structure.onnx"]
    assert names == [], "the structure is known under both"


def test_a_baseline_that_its_runtime_cannot_serve_is_told_at_once(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_odd(model: object, inputs: object, path: Path) -> None:
        export(digits.build_teacher(), digits.validation.inputs[:2], path)
        odd = onnx.load(path)
        odd.graph.node[-1].op_type = "NoSuchOperator"
        onnx.save(odd, path)

    monkeypatch.setattr("autoopt.commands.bench.export", export_odd)
    settings = load_settings(["task=digits", "runtime=openvino", f"outputs={tmp_path}"])
    wanted = "^runtime=openvino cannot serve the baseline: openvino cannot load .* type runtime=onnxruntime$"
    with pytest.raises(ConfigError, match=wanted):
        make_bench(settings, digits, digits.build_teacher().eval(), "untrained")


def test_the_exam_is_taken_under_the_trials_own_runtime(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(BASELINE, quantization="fp16", runtime="openvino")
    folder = artifact.trial_folder(tmp_path, 4)
    artifact.write(folder, bench.baseline_path, recipe, {"card": 4})
    opened: list[tuple[str, Path]] = []
    again: dict[str, object] = {}
    real = bench.open_in
    bench = replace(bench, open_in=lambda name, path: opened.append((name, path)) or real(name, path))
    monkeypatch.setattr(package, "card_file", lambda card: {})  # this card says nothing
    monkeypatch.setattr(package, "measure_fresh", lambda *models, **how: again.update(how) or {})
    kpis = (Kpi("accuracy", True, objective=True, max_drop=0.02),)
    trial = Trial(4, COMPLETE, recipe)
    rules = ExamRules(rule="point")
    assert package.crown(tmp_path, begin(tmp_path), [trial], bench, kpis, rules) == tmp_path / "champion"
    assert opened == [("openvino", folder / artifact.MODEL), ("onnxruntime", bench.baseline_path)]
    assert (again["runtime"], again["baseline_runtime"]) == ("openvino", "onnxruntime")


def test_the_same_recipe_gives_the_same_artifact_whether_or_not_its_structure_is_known(
    bench: Bench, tmp_path: Path
) -> None:
    drafts = [Draft(RECIPE), Draft(RECIPE)]
    for draft, folder in zip(drafts, ("a", "b"), strict=True):
        run(draft, bench, tmp_path / folder)
    assert drafts[0].curve == drafts[1].curve
    paths = [artifact_path(tmp_path / folder, RECIPE).read_bytes() for folder in ("a", "b")]
    assert paths[0] == paths[1]


def test_the_baseline_is_itself(bench: Bench, tmp_path: Path) -> None:
    draft = Draft(BASELINE)
    run(draft, bench, tmp_path / "w")
    assert draft.measurements["size_mb"].ratio == pytest.approx(1.0, abs=0.01)
    assert draft.measurements["accuracy"].ratio == 1.0
