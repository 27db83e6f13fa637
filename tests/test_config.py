"""Every way to be wrong gives one line that says what, the value, what is allowed and what to type."""

import re
import sys
from pathlib import Path

import pytest

from autoopt.compose import compose_config, conf_dir
from autoopt.config import load_settings, parse_settings
from autoopt.config_space import needs
from autoopt.core.errors import ConfigError
from autoopt.core.space import Choice, Per, Range
from autoopt.search.rules import Rules


@pytest.fixture
def outputs(tmp_path: Path) -> str:
    return f"outputs={tmp_path / 'o'}"


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


GROUPS = ("task", "teacher", "space", "kpis", "sampler", "budget", "runtime", "tracking", "engine", "experiment")


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in GROUPS for option in options(group)])
def test_every_option_composes_and_is_valid(group: str, option: str, outputs: str) -> None:
    load_settings([f"{group}={option}", outputs])


def test_the_file_names_are_the_names_inside() -> None:
    for group in ("task", "sampler", "runtime", "tracking", "engine"):
        for option in options(group):
            assert compose_config([f"{group}={option}"])[group]["name"] == option


def test_defaults_are_those_of_the_task(outputs: str) -> None:
    settings = load_settings(["task=digits", outputs])
    assert (settings.study, settings.budget.trials) == ("digits-s0", 16)
    assert load_settings(["task=digits", "space=quantize_only", outputs]).space.knobs["student"] == Choice(("teacher",))


@pytest.mark.parametrize(
    ("override", "name", "expected"),
    [
        ("space.quantization=int8_dynamic", "quantization", Choice(("int8_dynamic",))),
        ("space.optimizer=[sgd,muon]", "optimizer", Choice(("sgd", "muon"))),
        ("space.learning_rate=0.001", "learning_rate", Choice((0.001,))),
        ("space.learning_rate={low: 1e-4, high: 1e-2, log: true}", "learning_rate", Range(1e-4, 1e-2, log=True)),
        ("space.temperature={low: 1, high: 4}", "temperature", Range(1.0, 4.0)),
        ("space.epochs=2", "epochs", Choice((2,))),
    ],
)
def test_a_knob_is_pinned_narrowed_or_ranged_from_the_shell(
    override: str, name: str, expected: Choice | Range, outputs: str
) -> None:
    assert load_settings([override, outputs]).space.knobs[name] == expected


def test_one_case_of_a_knob_is_pinned_from_the_shell(outputs: str) -> None:
    knob = load_settings(["space.learning_rate.sgd=0.1", outputs]).space.knobs["learning_rate"]
    assert isinstance(knob, Per)
    assert knob.cases["sgd"] == Choice((0.1,))
    assert isinstance(knob.cases["adam"], Range)


@pytest.mark.parametrize("value", ["{low: 0.1, high: 0.2}", "[0.1, 0.2]"])
def test_a_case_is_replaced_not_merged(value: str, outputs: str) -> None:
    knob = load_settings([f"space.learning_rate.sgd={value}", outputs]).space.knobs["learning_rate"]
    assert isinstance(knob, Per)
    assert knob.cases["sgd"] == (Range(0.1, 0.2) if "low" in value else Choice((0.1, 0.2)))


def test_one_end_of_a_range_is_moved(outputs: str) -> None:
    assert load_settings(["space.temperature.low=2", outputs]).space.knobs["temperature"] == Range(2.0, 8.0, step=0.5)


def test_a_limit_that_is_typed_replaces_the_default_budget(outputs: str) -> None:
    typed = load_settings(["budget.until=07:00", outputs]).budget
    assert (typed.until, typed.hours, typed.trials) == ("07:00", None, None)
    both = load_settings(["task=digits", "budget.hours=2", "budget.plateau=9", outputs]).budget
    assert (both.hours, both.plateau, both.trials) == (2.0, 9, None)
    named = load_settings(["budget=overnight", "budget.trials=40", outputs]).budget
    assert (named.hours, named.trials) == (8.0, 40)


def test_each_rule_of_the_search_can_be_turned_off(outputs: str) -> None:
    assert load_settings([outputs]).rules == Rules()
    off = [f"search.{name}=false" for name in ("warm_start", "screens", "bar", "siblings")]
    assert load_settings([*off, "search.margin=0.1", outputs]).rules == Rules(False, False, False, False, 0.1)


def test_a_study_may_be_named_by_a_date(outputs: str) -> None:
    assert load_settings(["study=20261125", outputs]).study == "20261125"


def test_what_no_student_of_the_space_can_reach_is_not_required(outputs: str) -> None:
    load_settings(["space.student=cnn", "space.pruning.cnn=none", "space.sparsity=null", outputs])


def test_a_kpi_is_changed_added_and_removed_from_the_shell(outputs: str) -> None:
    added = load_settings(["kpis.latency_p95_ms.max=2", "kpis.throughput_qps.min=100", "~kpis.size_mb", outputs]).kpis
    assert {kpi.name: kpi.bounds() for kpi in added} == {
        "accuracy": {"max_drop": 0.015},
        "latency_p95_ms": {"max": 2, "max_ratio": 0.5},
        "throughput_qps": {"min": 100},
    }


def test_the_conditions_come_from_the_tables() -> None:
    found = needs()
    assert found["calibration"] == ("quantization", frozenset({"int8_static"}))
    assert found["sparsity"] == ("pruning", frozenset({"unstructured_magnitude"}))
    assert "schedule_free_adamw" not in found["schedule"][1]


def test_checking_leaves_no_folder_behind(outputs: str, tmp_path: Path) -> None:
    load_settings([outputs])
    assert not (tmp_path / "o").exists()


WRONG = [
    ("task=digit", "unknown task 'digit'. Did you mean 'digits'? Known: custom, digits, fashion"),
    (
        "space=ful",
        "unknown space 'ful'. Known: custom, digits, fashion, image_folder, intents, onnx, quantize_only, text_",
    ),
    ("sampler=tpee", "unknown sampler 'tpee'. Did you mean 'tpe'?"),
    ("budget=overnite", "unknown budget 'overnite'. Did you mean 'overnight'?"),
    ("experiment=nothing", "unknown experiment 'nothing'"),
    ("budget.trails=3", "unknown key 'budget.trails'. Did you mean 'trials'?"),
    ("budgt.trials=3", "unknown key 'budgt.trials'. Did you mean 'budget'?"),
    ("+colour=red", "unknown key 'colour'"),
    ("+budget.trails=3", "unknown key 'budget.trails'. Did you mean 'trials'?"),
    ("+teacher.foo=3", "unknown key 'teacher.foo'"),
    ("+runtime.foo=3", "unknown key 'runtime.foo'"),
    ("+search.sibling=false", "unknown key 'search.sibling'. Did you mean 'siblings'?"),
    ("search.siblings=3", "search.siblings=3: true or false is allowed"),
    ("search.bar=null", "search.bar=None: true or false is allowed"),
    ("search.margin=-1", "search.margin=-1: a finite number >= 0 is allowed"),
    ("+tracking.foo=3", "unknown key 'tracking.foo'"),
    (
        "sampler.name=gp",
        "sampler gp has no option 'multivariate'. Known: most_trials, startup_trials (Choose one by sampler=NAME.)",
    ),
    ("space.learning_rate.sgdd=0.1", "unknown optimizer in space.learning_rate 'sgdd'. Did you mean 'sgd'?"),
    ("space.epochs.cmn=3", "unknown student in space.epochs 'cmn'. Did you mean 'cnn'?"),
    ("space.batch_size=1", "space.batch_size=1 is not allowed: a whole number from 2"),
    ("kpis.size_mb.weight=5", "kpis.size_mb.weight=5 does nothing for a bound"),
    ("threads=0", "threads=0: a whole number from 1 to 1024"),
    ("study=mlflow.db", "study='mlflow.db': letters, digits"),
    ("~kpis.size", "unknown key 'kpis.size'. Did you mean 'size_mb'?"),
    ("budget.trials=[1", "cannot read '"),
    ("budget.trials=0", "budget.trials=0: a whole number from 1"),
    ("budget.trials=2.5", "budget.trials=2.5: a whole number"),
    ("budget.trials=many", "budget.trials='many': a whole number"),
    ("budget.hours=-1", "budget.hours=-1: a finite number > 0"),
    ("budget.hours=null", "the budget has no limit: type budget.hours=8"),
    ("budget.until=25:00", "budget.until='25:00': a local time of day is allowed, such as 07:00"),
    ("budget.until=soon", "budget.until='soon'"),
    ("budget.stop=never", "budget.stop='never': spent or kpis"),
    ("kpis.cost_per_million.max=5", "kpis.cost_per_million needs a price: type runtime.price_per_hour=0.2"),
    ("runtime.price_per_hour=-1", "runtime.price_per_hour"),
    ("runtime.max_spread=0", "runtime.max_spread=0: a finite number > 0"),
    ("kpis.latency_p99_ms.max=5", "kpis.latency_p99_ms needs more calls than runtime.blocks=20 and runtime.calls=40"),
    ("exam.batch_sizes=8", "exam.batch_sizes=8: a list is allowed, such as 'exam.batch_sizes=[4,16]'"),
    ("exam.clients=[0]", "exam.clients=0: a whole number from 1"),
    ("exam.rule=mean", "exam.rule=mean: upper_limit or point is allowed"),
    ("exam.finalists=0", "exam.finalists=0: a whole number from 1"),
    ("budget.plateau=0", "budget.plateau=0: a whole number from 1"),
    ("budget=null", "budget=null: type budget=NAME with one of custom, digits"),
    ("kpis=5", "kpis=5: type kpis=NAME with one of agent, custom"),
    ("kpis.acuracy.min=0.9", "unknown KPI 'acuracy'. Did you mean 'accuracy'?"),
    ("kpis.accuracy.mn=0.9", "unknown key 'mn'. Did you mean 'min'?"),
    ("kpis.size_mb.max=-x", "kpis.size_mb.max='-x': a number > 0 is allowed"),
    ("kpis.latency_p95_ms.min_ratio=0.9", "min_ratio=0.9 is above max_ratio=0.5"),
    ("kpis.weight_sparsity.max_ratio=2", "the baseline has no weight_sparsity to compare with"),
    ("kpis.throughput_qps={}", "kpis.throughput_qps has no role"),
    ("space.student=[]", "space.student=[] is empty"),
    (
        "space.student=vit",
        "unknown student in space.student 'vit'. Known: bag, bigru, bilstm, cnn, mlp, teacher, text_cnn",
    ),
    (
        "space.quantization=int8_statc",
        "unknown quantization in space.quantization 'int8_statc'. Did you mean 'int8_static'?",
    ),
    ("space.optimizer=[sgd,muo]", "unknown optimizer in space.optimizer 'muo'. Did you mean 'muon'?"),
    ("space.pruning=magnitude", "unknown pruning in space.pruning 'magnitude'"),
    ("space.calibration=max", "unknown calibration in space.calibration 'max'. Did you mean 'minmax'?"),
    ("space.schedule=cos", "unknown schedule in space.schedule 'cos'"),
    ("space.float_layers=-1", "space.float_layers=-1 is not allowed: a whole number from 0 to 1000"),
    ("space.temprature=3", "unknown knob space.temprature. Did you mean 'temperature'?"),
    ("space.temperature=0", "space.temperature=0 is not allowed: in [0.001, 1000]"),
    ("space.epochs=0", "space.epochs=0 is not allowed: a whole number from 1"),
    ("space.sparsity=1", "space.sparsity=1 is not allowed: in (0, 0.999]"),
    ("space.pruning_ratio={low: 0.5, high: 0.2}", "swap them"),
    ("space.learning_rate={sgd: 0.1}", "space.learning_rate has no values for optimizer 'adamw'"),
    ("space.epochs=null", "space.epochs is missing"),
    ("sampler.startup_trials=-1", "sampler.startup_trials=-1: a whole number from 0"),
    ("sampler.multivariate=3", "sampler.multivariate=3: true or false"),
    ("runtime.threads=0", "runtime.threads=0: a whole number from 1 to 1024"),
    ("runtime.name=tensorrt", "unknown runtime 'tensorrt'. Known: onnxruntime, openvino"),
    (
        "runtime=[onnxruntime,openvin]",
        "unknown runtime 'openvin'. Did you mean 'openvino'? Known: onnxruntime, openvino",
    ),
    ("runtime=[openvin,onnxruntime]", "unknown runtime 'openvin'. Did you mean 'openvino'?"),
    ("runtime=[]", "runtime.name=[]: name one at least, such as runtime=onnxruntime"),
    ("runtime=[openvino,]", "runtime.name=[]: name one at least"),
    ("runtime=[openvino,null]", "unknown runtime 'None'"),
    ("space.runtime=openvino", "space.runtime=openvino: a key of its own: type 'runtime=[onnxruntime,openvino]'"),
    ("tracking.uri=file:///tmp/x", "tracking.uri=file:///tmp/x: null, sqlite:///FILE or http://HOST:PORT"),
    ("engine=rey", "unknown engine 'rey'. Did you mean 'ray'? Known: local, ray, slurm"),
    ("engine.name=rey", "unknown engine 'rey'. Did you mean 'ray'?"),
    ("+engine.cpus=2", "engine local has no option 'cpus'. It has none. (Choose one by engine=NAME.)"),
    ("study=a/b", "study='a/b': letters, digits"),
    ("study=cache", "study='cache': letters, digits"),
    ("seed=-1", "seed=-1: a whole number from 0"),
    ("threads=0.5", "threads=0.5: a whole number from 1"),
    ("teacher.checkpoint=/nowhere.safetensors", "teacher.checkpoint=/nowhere.safetensors does not exist"),
    ("outputs=/proc/nowhere", "outputs=/proc/nowhere: cannot write there"),
]


WRONG_OF_ENGINES = [
    ("engine=ray engine.adress=auto", "unknown key 'engine.adress'. Did you mean 'address'?"),
    ("engine=ray engine.address=somewhere", "engine.address=somewhere: null, auto, HOST:PORT or ray://HOST:PORT"),
    ("engine=ray engine.cpus=0", "engine.cpus=0: a finite number > 0 is allowed"),
    ("engine=ray engine.cpus=0.00001", "engine.cpus=1e-05: 0.0001 is the least share that Ray knows"),
    ("engine=ray engine.gpus=1.5", "engine.gpus=1.5: a whole number, or a share of one such as 0.5 is allowed"),
    ("engine=ray engine.placement=PUSH", "engine.placement=PUSH: SPREAD or PACK is allowed"),
    ("engine=ray workers=0", "workers=0 with engine=ray: a number from 1 on is allowed, or engine=local"),
    ("engine=ray +engine.hours=1", "engine ray has no option 'hours'. Known: address, cpus, gpus, placement"),
    ("engine=slurm engine.cpus=0.5", "engine.cpus=0.5: a whole number from 1"),
    ("engine=slurm engine.partition='a b'", "engine.partition='a b': the name of a partition is allowed, or null"),
    ("engine=slurm engine.setup=module", "engine.setup='module': a list of shell commands is allowed"),
    ("engine=slurm engine.dry_run=maybe", "engine.dry_run='maybe': true or false is allowed"),
    ("engine=slurm engine.hours=0", "engine.hours=0: a finite number > 0 is allowed"),
    ("engine=slurm workers=0", "workers=0 with engine=slurm: a number from 1 on is allowed"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG_OF_ENGINES, ids=[typed for typed, _ in WRONG_OF_ENGINES])
def test_wrong_input_of_an_engine_is_named(overrides: str, message: str, outputs: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings([outputs, *re.findall(r"(?:[^ ']|'[^']*')+", overrides)])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "threads"),
    [
        (["workers=2", "threads=4"], 2),
        (["workers=2", "engine=ray", "engine.cpus=3"], 3),
        (["workers=64", "engine=ray", "engine.cpus=0.03"], 1),
        (["workers=2", "engine=ray", "engine.cpus=3", "threads=8"], 4),
    ],
)
def test_a_worker_trains_with_what_its_engine_gives_it(overrides: list[str], threads: int, outputs: str) -> None:
    assert load_settings([outputs, *overrides]).worker_threads == threads


@pytest.mark.parametrize(("override", "message"), WRONG, ids=[override for override, _ in WRONG])
def test_wrong_input_is_named(override: str, message: str, outputs: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings([override] if override.startswith("outputs=") else [outputs, override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_layers_stay_in_float_by_their_place_or_by_their_damage(outputs: str) -> None:
    with pytest.raises(ConfigError, match=r"type space\.keep_float=none, or space\.float_layers=0"):
        load_settings([outputs, "space.keep_float=[none,first]", "space.float_layers=[0,2]"])
    for harmless in (["space.keep_float=none", "space.float_layers=[0,2]"], ["space.keep_float=first"]):
        load_settings([outputs, *harmless])


@pytest.mark.parametrize(
    "typed", ["[openvino,onnxruntime]", "[openvino, 'onnxruntime']", "[openvino,onnxruntime,openvino]"]
)
def test_several_runtimes_are_a_knob(typed: str, outputs: str) -> None:
    settings = load_settings([f"runtime={typed}", "runtime.threads=2", outputs])
    assert settings.runtimes == ("openvino", "onnxruntime")
    assert settings.space.knobs["runtime"] == Choice(("openvino", "onnxruntime"))
    assert settings.runtime_threads == 2
    assert parse_settings(settings.raw).runtimes == settings.runtimes, "as it is saved"


@pytest.mark.parametrize("typed", ["openvino", "[openvino]"])
def test_one_runtime_is_no_knob(typed: str, outputs: str) -> None:
    settings = load_settings([f"runtime={typed}", outputs])
    assert settings.runtimes == ("openvino",)
    assert "runtime" not in settings.space.knobs


def test_a_runtime_that_is_not_installed_is_named_with_what_to_type(
    outputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"^runtime=openvino needs openvino: type pip install 'autoopt\[openvino\]'$"):
        load_settings(["runtime=openvino", outputs])


def test_a_scheme_that_is_not_installed_is_named_with_what_to_type(
    outputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    load_settings([outputs])
    with pytest.raises(
        ConfigError, match=r"^space.quantization=nncf_int8 needs nncf: type pip install 'autoopt\[openv"
    ):
        load_settings(["space.quantization=[none,nncf_int8]", outputs])


def test_the_same_twice_is_no_mistake(outputs: str) -> None:
    assert load_settings([outputs, outputs, "seed=3"]).seed == 3


def test_a_saved_configuration_is_checked_like_any_other(outputs: str) -> None:
    raw = dict(load_settings([outputs]).raw)
    with pytest.raises(ConfigError, match="unknown key 'kpi'. Did you mean 'kpis'"):
        parse_settings({**raw, "kpi": {}})


def test_of_a_key_that_is_typed_twice_the_last_counts(tmp_path: Path) -> None:
    """As in Hydra: a script's own words come before the user's."""
    assert load_settings(["budget.trials=3", f"outputs={tmp_path}", "budget.trials=5"]).budget.trials == 5
