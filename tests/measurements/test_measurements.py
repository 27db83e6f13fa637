"""Contract of every measurement."""

import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Kpi
from autoopt.core.metric import Metric
from autoopt.measurements import FACTS, MEASURES, Options, Subject, serve_once, wanted
from autoopt.measurements.classes import calibration_error
from autoopt.measurements.drift import MOST, Drift
from autoopt.measurements.latency import calm, estimate, mixed
from autoopt.measurements.quality import predict
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export
from autoopt.tasks import Task
from autoopt.tasks.goal import METRICS


@pytest.fixture
def subject(digits: Task, exported: dict[str, Path]) -> Subject:
    """The mlp against the cnn as its baseline."""
    session, baseline = (RUNTIMES["onnxruntime"](exported[name], 1) for name in ("mlp", "cnn"))
    inputs = digits.validation.inputs.numpy()
    return Subject(
        path=exported["mlp"],
        float_path=exported["mlp"],
        session=session,
        baseline_path=exported["cnn"],
        baseline_session=baseline,
        inputs=inputs,
        targets=digits.validation.targets.numpy(),
        metrics=digits.goal.metrics,
        slices=tuple(str(i % 3) for i in range(len(inputs))),
        baseline_outputs=predict(baseline, inputs),
        options=Options(blocks=6, calls=20, slices=2, slice_s=0.05, price_per_hour=0.36),
    )


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_it_gives_what_its_facts_name(name: str, subject: Subject) -> None:
    found = MEASURES[name].take(subject)
    assert set(found) == set(MEASURES[name].facts) - {"r2", "quality", "latency_p99_ms"}
    for key, measured in found.items():
        assert np.isfinite(measured.value)
        assert (measured.baseline is not None) == FACTS[key].has_baseline


def test_outputs_and_qualities_that_are_no_numbers_are_not_scored(subject: Subject) -> None:
    def overflown(inputs: Inputs) -> np.ndarray:
        found = subject.session(inputs)
        return found * np.inf if next(iter(inputs))[0, 0, 3, 3] > 0.5 else found

    with pytest.raises(TrialError, match=r"^the artifact's outputs are not finite in \d+ of 300 rows of validation"):
        MEASURES["quality"].take(replace(subject, session=overflown))
    silent = (Metric("quality", lambda outputs, targets: np.nan),)
    with pytest.raises(TrialError, match="^quality on the validation split is no number$"):
        MEASURES["quality"].take(replace(subject, metrics=silent, slices=()))


def test_accuracy_agrees_with_scikit_learn(subject: Subject, accuracy_of: Callable[..., float]) -> None:
    found = MEASURES["quality"].take(subject)["accuracy"]
    batched = subject.session(subject.inputs).argmax(1)
    assert found.value == accuracy_score(subject.targets, batched) == accuracy_of(subject.session)
    assert found.baseline == accuracy_score(subject.targets, subject.baseline_outputs.argmax(1))


def test_what_lies_beneath_accuracy_agrees_with_scikit_learn(subject: Subject) -> None:
    found = MEASURES["quality"].take(subject)
    mine, base = subject.session(subject.inputs), subject.baseline_outputs
    for place, outputs in (("value", mine), ("baseline", base)):
        worst = recall_score(subject.targets, outputs.argmax(1), average=None).min()
        assert getattr(found["worst_class_recall"], place) == pytest.approx(worst)
    assert found["agreement"].value == accuracy_score(base.argmax(1), mine.argmax(1))


def test_macro_f1_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    outputs, targets = rng.random((200, 6)), rng.integers(0, 5, 200)  # one class is answered, and never right
    assert METRICS["macro_f1"].score(outputs, targets) == pytest.approx(
        f1_score(targets, outputs.argmax(1), average="macro")
    )


def test_the_worst_slice_is_where_the_metric_is_lowest(subject: Subject) -> None:
    rows = np.arange(len(subject.targets))
    right = subject.session(subject.inputs).argmax(1) == subject.targets
    names = np.where(right, "easy", np.where(rows % 2 == 0, "hard", "easy")).astype(object)
    names[rows[right][:15]], names[rows[right][-5:]] = "hard", "too few to tell"
    sliced = replace(subject, slices=tuple(names))
    found = MEASURES["quality"].take(sliced)["worst_slice"]
    scores = {name: right[names == name].mean() for name in ("easy", "hard")}
    large = {name: score for name, score in scores.items() if (names == name).sum() >= 20}
    assert found.value == pytest.approx(min(large.values()))
    assert "worst_slice" not in MEASURES["quality"].take(replace(subject, slices=()))


def test_numbers_have_no_classes(subject: Subject) -> None:
    metric = Metric("quality", lambda outputs, targets: 1.0)
    numbers = replace(subject, targets=subject.targets.astype(np.float32)[:, None], metrics=(metric,), slices=())
    assert set(MEASURES["quality"].take(numbers)) == {"quality"}


def test_calibration_is_off_by_what_confidence_is_off() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 20_000)
    right = rng.random(20_000) < 0.8
    answers = np.where(right, targets, 1 - targets)

    def sure(confidence: float) -> np.ndarray:
        outputs = np.full((20_000, 2), 1 - confidence)
        outputs[np.arange(20_000), answers] = confidence
        return outputs

    assert calibration_error(sure(0.8), targets) == pytest.approx(0.0, abs=0.01)
    assert calibration_error(sure(0.95), targets) == pytest.approx(0.15, abs=0.01)
    assert calibration_error(np.log(sure(0.95)), targets) == pytest.approx(0.15, abs=0.01), "of logits, too"


def test_size_is_that_of_the_files(subject: Subject) -> None:
    found = MEASURES["size"].take(subject)
    content = subject.path.read_bytes()
    assert found["size_mb"].value == len(content) / 1e6
    assert found["download_mb"].value == len(zlib.compress(content, 6)) / 1e6
    assert found["size_mb"].baseline == subject.baseline_path.stat().st_size / 1e6


def test_a_baseline_that_changes_is_counted_anew(subject: Subject, exported: dict[str, Path], tmp_path: Path) -> None:
    copied = replace(subject, baseline_path=tmp_path / "baseline.onnx")
    for name in ("cnn", "mlp"):
        copied.baseline_path.write_bytes(exported[name].read_bytes())
        found, own = (MEASURES["size"].take(x) for x in (copied, replace(subject, path=exported[name])))
        assert found["size_mb"].baseline == own["size_mb"].value
        assert found["download_mb"].baseline == own["download_mb"].value


def test_params_are_the_modules(subject: Subject, trained) -> None:
    folded = sum(p.numel() for name, p in trained["mlp"].named_parameters() if name.startswith(("1.", "4.", "7.")))
    assert MEASURES["size"].take(subject)["params_m"].value == pytest.approx(folded / 1e6, rel=1e-3)


def slow(session: Callable, seconds: float) -> Callable:
    def run(inputs: Inputs) -> np.ndarray:
        time.sleep(seconds)
        return session(inputs)

    return run


def test_latency_sees_a_slower_model(subject: Subject) -> None:
    found = MEASURES["latency"].take(
        replace(subject, session=slow(subject.session, 0.005), options=Options(blocks=3, calls=10))
    )
    assert found["latency_p50_ms"].value >= 5.0
    assert found["latency_p95_ms"].value >= found["latency_p50_ms"].value
    assert (found["latency_p50_ms"].ratio or 0) > 5


def test_latency_interleaves_artifact_and_baseline(subject: Subject) -> None:
    order: list[str] = []

    def spy(name: str, session: Callable) -> Callable:
        def run(inputs: Inputs) -> np.ndarray:
            order.append(name)
            return session(inputs)

        return run

    options = Options(blocks=3, calls=4, warmup_calls=2, attempts=1)
    MEASURES["latency"].take(
        replace(
            subject,
            session=spy("a", subject.session),
            baseline_session=spy("b", subject.baseline_session),
            options=options,
        )
    )
    assert "".join(order) == "aabb" + "aaaabbbb" * 3


def test_a_burst_of_other_work_does_not_move_the_percentile(subject: Subject) -> None:
    calls = iter(range(10_000))

    def burst(inputs: Inputs) -> np.ndarray:
        if 20 + 80 <= next(calls) < 20 + 120:  # one block in five
            time.sleep(0.01)
        return subject.session(inputs)

    options = Options(blocks=5, calls=40)
    found = MEASURES["latency"].take(replace(subject, session=burst, options=options))
    assert found["latency_p95_ms"].value < 5.0


def test_an_unsteady_measurement_is_taken_again_and_its_calm_blocks_count(subject: Subject) -> None:
    calls = iter(range(10_000))

    def noisy_at_first(inputs: Inputs) -> np.ndarray:
        call = next(calls)
        if 20 <= call < 20 + 5 * 40 and ((call - 20) // 40) % 2:  # every other block of the first attempt
            time.sleep(0.005)
        return subject.session(inputs)

    options = Options(blocks=5, calls=40, attempts=3)
    found = MEASURES["latency"].take(replace(subject, session=noisy_at_first, options=options))
    assert next(calls) > 20 + 5 * 40, "it was not taken again"
    assert found["latency_p95_ms"].value < 2.0


def test_every_block_has_short_and_long_sentences(sentences: Task) -> None:
    inputs = mixed(sentences.validation.inputs.numpy(), 12)
    assert inputs.lengths is not None
    means = inputs.lengths.reshape(-1, 12).mean(1)
    before = np.asarray(sentences.validation.inputs.lengths).reshape(-1, 12).mean(1)
    assert np.ptp(means) < 1.5 < np.ptp(before)
    assert sorted(inputs.lengths) == sorted(sentences.validation.inputs.lengths.tolist())  # type: ignore[union-attr]


def test_no_length_is_left_out_and_a_batch_is_a_mixture(sentences: Task) -> None:
    """Of 190 rows and blocks of 60, ten are left over; a batch of eight is not of neighbours in length."""
    inputs = sentences.train.inputs.numpy()
    inputs = inputs[np.argsort(inputs.lengths)][:190]  # type: ignore[arg-type]
    assert inputs.lengths is not None
    chosen = mixed(inputs, 60).lengths
    assert chosen is not None
    assert len(chosen) == 180
    assert (chosen.min(), chosen.max()) == (inputs.lengths.min(), inputs.lengths.max())
    assert np.percentile(chosen, 95) == pytest.approx(np.percentile(inputs.lengths, 95), abs=0.5)
    assert [len(set(block)) > 1 for block in chosen[:176].reshape(-1, 8)] == [True] * 22
    assert (np.diff(chosen.reshape(3, 60).astype(int)) < 0).any(1).all(), "not in the order of their lengths"


def test_a_slow_model_takes_fewer_blocks(subject: Subject) -> None:
    calls: list[int] = []

    def slower(inputs: Inputs) -> np.ndarray:
        calls.append(len(inputs))
        time.sleep(0.01)
        return subject.session(inputs)

    options = Options(blocks=30, calls=10, warmup_calls=3, attempts=1)
    MEASURES["latency"].take(replace(subject, session=slower, baseline_session=slower, options=options))
    assert 2 * 8 * 10 <= len(calls) - 6 <= 2 * 11 * 10, "two seconds, not six"


def test_a_99th_percentile_needs_a_hundred_calls_a_block(subject: Subject) -> None:
    def rarely_slow(inputs: Inputs) -> np.ndarray:
        time.sleep(0.02 if next(calls) % 50 == 0 else 0.0)
        return subject.session(inputs)

    calls = iter(range(10**9))
    options = Options(blocks=10, calls=100, attempts=1)
    found = MEASURES["latency"].take(replace(subject, session=rarely_slow, options=options))
    assert found["latency_p99_ms"].value >= 20.0 > found["latency_p95_ms"].value
    few = replace(subject, options=replace(options, calls=99))
    assert "latency_p99_ms" not in MEASURES["latency"].take(few)


def test_a_batch_is_of_different_inputs_round_and_round(subject: Subject) -> None:
    given: list[np.ndarray] = []

    def spy(inputs: Inputs) -> np.ndarray:
        given.append(inputs.arrays["input"])
        return subject.session(inputs)

    small = subject.inputs[:20]
    options = Options(blocks=2, calls=3, batch=8, warmup_calls=1, attempts=1)
    MEASURES["latency"].take(replace(subject, session=spy, inputs=small, options=options))
    first, *_, last = given[1:]
    assert (first == small.arrays["input"][:8]).all()
    assert (last == small.arrays["input"][(np.arange(8) + 5 * 8) % 20]).all()


def test_the_interval_holds_the_value_nine_times_in_ten() -> None:
    """Blocks of an artifact and a baseline, each with a drift of its own over some blocks, and one in ten slowed."""
    rng = np.random.default_rng(0)
    truth = 0.5

    def drifting(scale: float) -> list[np.ndarray]:
        noise = rng.normal(0, 0.02, 24)
        blocks = np.exp(np.convolve(noise, np.full(5, 0.6), "valid")) * np.where(rng.random(20) < 0.1, 2, 1)
        return list(scale * blocks[:, None] * np.exp(rng.normal(0, 0.05, (20, 40))))

    found = [
        estimate(drifting(truth), drifting(1.0), percentile, max_spread=0.1, drift=0.02)
        for percentile in (50, 95)
        for _ in range(500)
    ]
    held = [low <= truth <= high for low, high in (m.ratio_interval for m in found)]
    assert np.mean(held) >= 0.9
    assert np.mean([(high - low) / truth for low, high in (m.ratio_interval for m in found)]) < 0.12
    assert all(m.interval[0] <= m.value <= m.interval[1] for m in found)


def test_a_percentile_is_that_of_all_calls_in_the_calm_blocks() -> None:
    """One call in ten of a calm block is slow: the blocks with the lowest 95th percentiles would hide it."""
    rng = np.random.default_rng(0)
    quiet = [np.where(rng.random(40) < 0.1, 3.0, 1.0) + i * 1e-6 for i in range(10)]
    busy = [np.full(40, 2.0) for _ in range(10)]
    assert calm(busy + quiet, 95) == np.percentile(np.concatenate(quiet), 95) > 2.9
    assert calm(quiet + busy, 50) == pytest.approx(1.0, abs=1e-3)


def test_a_baseline_that_drifts_widens_the_intervals() -> None:
    blocks = [np.full(40, 1.0) for _ in range(20)]
    steady, drifting = Drift(), Drift()
    for i in range(10):
        steady.note(4.0 if i < 6 else 8.0)  # an hour in which all was slower
        drifting.note(4.0 * (1.04 if i % 2 else 1.0))
    assert steady.share == Drift().share < 0.05 < drifting.share < 0.1
    narrow, wide = (
        estimate(blocks, blocks, 50, max_spread=0.1, drift=drift.share).ratio_interval for drift in (steady, drifting)
    )
    assert wide[0] < 0.95 < narrow[0] < 1.0 < narrow[1] < 1.05 < wide[1]  # type: ignore[index]
    wild = Drift()
    for i in range(10):
        wild.note(4.0 * (3 if i % 2 else 1))
    assert wild.share == MOST


def test_each_measurement_tells_how_the_baseline_drifts(subject: Subject) -> None:
    options = Options(blocks=2, calls=5, warmup_calls=1, attempts=1)
    for seconds in (0.001, 0.003, 0.001, 0.003):
        before = subject.drift.share
        baseline = slow(subject.session, seconds)
        MEASURES["latency"].take(replace(subject, baseline_session=baseline, options=options))
    assert before == Drift().share < subject.drift.share, "after four of them"


def test_what_stays_unsteady_says_so(subject: Subject) -> None:
    calls = iter(range(10**9))

    def noisy(inputs: Inputs) -> np.ndarray:
        time.sleep(0.004 if (next(calls) - 20) // 60 % 2 else 0.001)  # three blocks slow, three fast
        return subject.session(inputs)

    options = replace(subject.options, attempts=2, warmup_calls=20)
    found = MEASURES["latency"].take(replace(subject, session=noisy, options=options))
    assert found["latency_p50_ms"].unstable
    assert next(calls) >= 20 + 2 * 6 * 20, "it was taken again"
    easy = replace(options, max_spread=10.0)
    assert not MEASURES["latency"].take(replace(subject, session=noisy, options=easy))["latency_p50_ms"].unstable


def test_throughput_counts_all_clients(subject: Subject) -> None:
    options = Options(clients=4, slices=1, slice_s=0.3)
    found = MEASURES["throughput"].take(replace(subject, session=slow(subject.session, 0.02), options=options))[
        "throughput_qps"
    ]
    one_client = 1 / 0.02
    assert 2 * one_client < found.value <= 4 * one_client


def test_under_load_a_call_waits_and_a_query_costs_its_share_of_the_hour(subject: Subject) -> None:
    """One lock: of four clients three wait."""
    lock = threading.Lock()

    def one_at_a_time(inputs: Inputs) -> np.ndarray:
        with lock:
            time.sleep(0.005)
            return subject.session(inputs)

    options = Options(clients=4, slices=2, slice_s=0.3, price_per_hour=0.36)
    found = MEASURES["throughput"].take(replace(subject, session=one_at_a_time, options=options))
    rate = found["throughput_qps"].value
    assert 50 < rate < 200
    assert found["load_p95_ms"].value > 15
    assert found["cost_per_million"].value == pytest.approx(100 / rate, rel=0.2)
    assert found["cost_per_million"].ratio > 1
    free = replace(options, price_per_hour=None)
    assert "cost_per_million" not in MEASURES["throughput"].take(replace(subject, options=free))


def test_predictions_are_made_one_input_a_call(subject: Subject) -> None:
    sizes: list[int] = []

    def spy(inputs: Inputs) -> np.ndarray:
        sizes.append(len(inputs))
        return subject.session(inputs)

    assert predict(spy, subject.inputs[:5]).shape == (5, 10)
    assert sizes == [1] * 5


def test_what_the_structure_decides_is_known_before_the_rest() -> None:
    assert [name for name, measure in MEASURES.items() if measure.of_structure] == [
        "size",
        "latency",
        "throughput",
        "cold_start",
    ]
    assert [name for name, measure in MEASURES.items() if measure.needs_weights] == ["quality", "size"]
    assert not FACTS["accuracy"].of_structure
    assert not FACTS["download_mb"].of_structure


@pytest.mark.parametrize("name", ["latency", "throughput"])
def test_what_is_timed_says_how_far_off_it_may_be(name: str, subject: Subject) -> None:
    steady = slow(subject.session, 0.002)
    for measured in MEASURES[name].take(replace(subject, session=steady, baseline_session=steady)).values():
        assert 0 < measured.spread < measured.value


def test_the_spread_grows_with_the_noise(subject: Subject) -> None:
    calls = iter(range(10**9))

    def noisy(inputs: Inputs) -> np.ndarray:
        time.sleep(0.004 if next(calls) % 120 < 60 else 0.001)  # three blocks of 20 slow, three fast
        return subject.session(inputs)

    def steady(inputs: Inputs) -> np.ndarray:
        time.sleep(0.002)
        return subject.session(inputs)

    options = replace(subject.options, attempts=1, warmup_calls=0)
    spreads = []
    for session in (steady, noisy):
        timed = replace(subject, session=session, baseline_session=steady, options=options)
        measured = MEASURES["latency"].take(timed)["latency_p50_ms"]
        spreads.append(measured.spread / measured.value)
    assert spreads[0] < 0.2 < spreads[1]


def test_memory_is_the_models_and_not_the_parents(subject: Subject, exported: dict[str, Path], tmp_path: Path) -> None:
    """A process that is forked from a fat one inherits its peak, as getrusage tells it."""
    ballast = np.ones(50_000_000)  # 400 MB
    big = tmp_path / "big.onnx"
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 400_000), torch.nn.Linear(400_000, 10))
    export(model, Inputs({"input": torch.zeros(2, 1, 8, 8)}), big)
    found = MEASURES["cold_start"].take(replace(subject, path=big))
    memory, own = found["peak_rss_mb"], found["runtime_rss_mb"]
    assert memory.baseline < 200 < ballast.nbytes / 1e6
    assert 100 < memory.value - memory.baseline < 600, "118 MB of weights, read and packed"
    assert own.value == pytest.approx(own.baseline, rel=0.1)
    assert found["load_ms"].value > found["load_ms"].baseline > 0


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_a_fresh_process_serves_by_the_runtime_that_is_measured(runtime: str, subject: Subject, tmp_path: Path) -> None:
    assert set(serve_once.RUNTIMES) == set(RUNTIMES)
    found = MEASURES["cold_start"].take(replace(subject, runtime=runtime))
    assert found["peak_rss_mb"].value > found["runtime_rss_mb"].value > 20
    (tmp_path / "half.onnx").write_bytes(subject.path.read_bytes()[:1000])
    with pytest.raises(TrialError, match={"onnxruntime": "ONNXRuntimeError", "openvino": "can't be parsed"}[runtime]):
        MEASURES["cold_start"].take(replace(subject, runtime=runtime, path=tmp_path / "half.onnx"))
    with pytest.raises(TrialError, match="KeyError: 'nothing'"):
        MEASURES["cold_start"].take(replace(subject, runtime=runtime, baseline_runtime="nothing"))


def test_what_is_set_up_by_the_first_calls_does_not_count(subject: Subject) -> None:
    began = time.perf_counter()

    def cold(inputs: Inputs) -> np.ndarray:
        time.sleep(0.2 if time.perf_counter() - began < 0.1 else 0.001)
        return subject.session(inputs)

    options = Options(clients=4, slices=3, slice_s=0.05)
    found = MEASURES["throughput"].take(replace(subject, session=cold, options=options))
    assert found["load_p95_ms"].value < 150


def test_what_costs_seconds_is_taken_where_a_kpi_asks_for_it() -> None:
    latency = Kpi("latency_p95_ms", False, objective=True)
    assert wanted([latency]) == {"quality", "size", "latency", "throughput"}
    assert wanted([latency, Kpi("peak_rss_mb", False, max=100)]) == set(MEASURES)
