"""Speed is measured again in a process of its own."""

from pathlib import Path

import pytest

from autoopt.champion.fresh import _load, _save, measure_fresh
from autoopt.core.errors import TrialError
from autoopt.core.exam import ExamRules
from autoopt.measurements import MEASURES, Options
from autoopt.runtimes import RUNTIMES
from autoopt.tasks import Task

OPTIONS = Options(blocks=4, calls=10, slices=1)
RULES = ExamRules(clients=(1, 3), batch_sizes=(2,))


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_it_gives_what_the_measurements_give(runtime: str, digits: Task, exported: dict[str, Path]) -> None:
    inputs = digits.validation.inputs.numpy()
    how = {"runtime": runtime, "baseline_runtime": "onnxruntime", "threads": 1}
    found = measure_fresh(exported["mlp"], exported["cnn"], inputs, **how, options=OPTIONS, drift=0.02, rules=RULES)
    names = {name for measure in ("latency", "throughput", "cold_start") for name in MEASURES[measure].facts}
    loads = {f"{name}_{clients}_clients" for name in ("throughput_qps", "load_p95_ms") for clients in (1, 3)}
    batches = {f"latency_p{percentile}_ms_batch_2" for percentile in (50, 95)}
    assert set(found) == names - {"cost_per_million", "latency_p99_ms"} | loads | batches
    assert all(m.value > 0 and m.baseline > 0 for m in found.values())


def test_what_goes_wrong_there_is_told_here(digits: Task, exported: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    inputs = digits.validation.inputs.numpy()
    how = {"runtime": "openvino", "baseline_runtime": "onnxruntime", "threads": 1}
    with pytest.raises(TrialError, match="measuring in a fresh process failed: .*openvino cannot load the model"):
        measure_fresh(
            tmp_path / "broken.onnx", exported["cnn"], inputs, **how, options=OPTIONS, drift=0.02, rules=RULES
        )


def test_sentences_keep_their_lengths_on_the_way(sentences: Task, tmp_path: Path) -> None:
    inputs = sentences.validation.inputs.numpy()
    _save(inputs, tmp_path / "inputs.npz")
    found = _load(tmp_path / "inputs.npz")
    assert found.sequences == inputs.sequences
    assert (found.lengths == inputs.lengths).all()
    for name, array in inputs.arrays.items():
        assert (found.arrays[name] == array).all()
        assert (found[:1].arrays[name] == inputs[:1].arrays[name]).all()
