"""Who takes the final exam first, and who is champion after it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autoopt.champion import package
from autoopt.champion.exam import taken_exams
from autoopt.champion.finalists import finalists
from autoopt.commands.bench import make_bench
from autoopt.config import load_settings
from autoopt.core import artifact
from autoopt.core.errors import TrialError
from autoopt.core.exam import RULES, ExamRules
from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Kpi
from autoopt.core.recipe import BASELINE
from autoopt.core.trial import COMPLETE, Trial
from autoopt.measurements.process import run_fresh
from autoopt.measurements.quality import predict
from autoopt.pipeline import Bench
from autoopt.runtimes import RUNTIMES
from autoopt.tasks import Task
from tests.search.table import begin

KPIS = (Kpi("accuracy", True, objective=True, max_drop=0.03),)
WRONG = {4: 0.025, 5: 0.0, 6: 0.02, 7: 0.0, 8: 0.5}  # share of the answers that differ from the baseline's, by trial
*FRONT, HOPELESS = [Trial(number, COMPLETE, BASELINE) for number in WRONG]
DOUBTFUL, PROVEN, *_ = FRONT


@pytest.fixture
def bench(digits: Task, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The models of the front all are the trained cnn; each gives so many answers less."""
    settings = load_settings(["task=digits", f"outputs={tmp_path}", "threads=1"])
    torch.manual_seed(0)
    made = make_bench(settings, digits, digits.build_teacher().eval(), "untrained")
    cnn = RUNTIMES["onnxruntime"](exported["cnn"], 1)
    for trial in (*FRONT, HOPELESS):
        artifact.write(artifact.trial_folder(tmp_path, trial.number), exported["cnn"], BASELINE, {"card": trial.number})

    def open_in(name: str, path: Path) -> Callable[[Inputs], np.ndarray]:
        own, rng = path.parent.name, np.random.default_rng(0)
        share = WRONG[int(own)] if own.isdigit() else 0.0
        return lambda inputs: -cnn(inputs) if rng.random() < share else cnn(inputs)

    monkeypatch.setattr(package, "card_file", lambda card: {})  # these cards say nothing
    monkeypatch.setattr(package, "measure_fresh", lambda *models, **how: {})
    outputs = predict(cnn, digits.validation.inputs.numpy())
    return replace(made, open_in=open_in, baseline_session=cnn, baseline_outputs=outputs)


def numbers(trials: list[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_those_for_whom_the_rule_holds_on_validation_come_first(bench: Bench, tmp_path: Path) -> None:
    for wanted, expected in ((1, [5]), (2, [5, 7]), (3, [5, 7, 4]), (9, [5, 7, 4, 6])):
        assert numbers(finalists(tmp_path, FRONT, {}, bench, KPIS, ExamRules(finalists=wanted))) == expected
    at_the_point = ExamRules(rule="point", finalists=3)
    assert numbers(finalists(tmp_path, FRONT, {}, bench, KPIS, at_the_point)) == [4, 5, 6]


def test_who_has_taken_the_exam_is_not_judged_again(bench: Bench, tmp_path: Path) -> None:
    taken = {5: {"broken_by_rule": {"upper_limit": ["accuracy.max_drop"]}}, 6: {"broken_by_rule": {"upper_limit": []}}}
    assert numbers(finalists(tmp_path, FRONT, taken, bench, KPIS, ExamRules())) == [6, 7, 4]


def test_a_damaged_finalist_takes_no_exam_and_the_next_one_does(bench: Bench, tmp_path: Path) -> None:
    model, study = artifact.trial_folder(tmp_path, PROVEN.number) / artifact.MODEL, begin(tmp_path)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert package.crown(tmp_path, study, [PROVEN, FRONT[3]], bench, KPIS, ExamRules()) == tmp_path / "champion"
    assert list(taken_exams(study)) == [FRONT[3].number]
    assert artifact.verify(tmp_path / "champion")["card"] == FRONT[3].number


def test_another_rule_judges_the_same_exam(bench: Bench, tmp_path: Path) -> None:
    """What was read of the test split stays as it was."""
    study = begin(tmp_path)
    assert package.crown(tmp_path, study, [DOUBTFUL], bench, KPIS, ExamRules()) is None
    read = taken_exams(study)[4]
    blind = replace(bench, open_in=None)  # type: ignore[arg-type]
    assert package.crown(tmp_path, study, [DOUBTFUL], blind, KPIS, ExamRules(rule="point")) == tmp_path / "champion"
    assert taken_exams(study)[4] == {**read, "rule": "point", "passed": True, "broken": []}
    assert package.crown(tmp_path, study, [DOUBTFUL], blind, KPIS, ExamRules()) is None


def test_the_best_that_has_passed_is_champion(bench: Bench, tmp_path: Path) -> None:
    """As the report says it, whoever was asked last."""
    study = begin(tmp_path)
    point = ExamRules(rule="point")
    package.crown(tmp_path, study, [DOUBTFUL], bench, KPIS, point)
    package.crown(tmp_path, study, [PROVEN], bench, KPIS, point)
    package.crown(tmp_path, study, [DOUBTFUL, PROVEN], bench, KPIS, point)
    assert artifact.verify(tmp_path / "champion")["card"] == DOUBTFUL.number


@pytest.mark.parametrize("rule", RULES)
def test_a_model_that_cannot_be_opened_does_not_end_the_night(rule: str, bench: Bench, tmp_path: Path) -> None:
    def open_in(name: str, path: Path) -> Callable[[Inputs], np.ndarray]:
        if path.parent.name == f"{PROVEN.number:04d}":
            raise TrialError("it is gone")
        return bench.open_in(name, path)

    study, rules, front = begin(tmp_path), ExamRules(rule=rule), [PROVEN, FRONT[3]]
    assert package.crown(tmp_path, study, front, replace(bench, open_in=open_in), KPIS, rules) == tmp_path / "champion"
    assert artifact.verify(tmp_path / "champion")["card"] == FRONT[3].number


def test_an_exam_that_somebody_stopped_is_none(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*models: Path, **how: object) -> dict:
        return run_fresh("-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")  # type: ignore[no-any-return]

    study, passing = begin(tmp_path), package.measure_fresh
    monkeypatch.setattr(package, "card_file", lambda card: {})  # these cards say nothing
    monkeypatch.setattr(package, "measure_fresh", stopped)
    assert package.crown(tmp_path, study, [PROVEN], bench, KPIS, ExamRules()) is None
    assert taken_exams(study) == {}
    monkeypatch.setattr(package, "card_file", lambda card: {})  # these cards say nothing
    monkeypatch.setattr(package, "measure_fresh", passing)
    assert package.crown(tmp_path, study, [PROVEN], bench, KPIS, ExamRules()) == tmp_path / "champion"


def test_all_exams_that_were_taken_are_judged_by_the_rule_of_today(bench: Bench, tmp_path: Path) -> None:
    study, front = begin(tmp_path), [DOUBTFUL, PROVEN]
    package.crown(tmp_path, study, [DOUBTFUL], bench, KPIS, ExamRules())
    package.crown(tmp_path, study, [PROVEN], bench, KPIS, ExamRules())
    package.crown(tmp_path, study, front, bench, KPIS, ExamRules(rule="point"))
    assert {n: (exam["rule"], exam["passed"]) for n, exam in taken_exams(study).items()} == {
        4: ("point", True),
        5: ("point", True),
    }
    assert artifact.verify(tmp_path / "champion")["card"] == DOUBTFUL.number


def test_nobody_reads_the_test_split_who_cannot_pass_on_validation(bench: Bench, tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert package.crown(tmp_path, study, FRONT, bench, KPIS, ExamRules()) == tmp_path / "champion"
    assert set(taken_exams(study)) == {5}
    assert artifact.verify(tmp_path / "champion")["card"] == 5


def test_who_has_passed_stays_champion_until_a_better_one_passes(bench: Bench, tmp_path: Path) -> None:
    study, rules = begin(tmp_path), ExamRules(rule="point", finalists=1)
    package.crown(tmp_path, study, [PROVEN], bench, KPIS, rules)
    package.crown(tmp_path, study, [HOPELESS, PROVEN], bench, KPIS, rules)
    assert not taken_exams(study)[HOPELESS.number]["passed"]
    assert artifact.verify(tmp_path / "champion")["card"] == 5


def test_where_nobody_passes_there_is_no_champion(bench: Bench, tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert package.crown(tmp_path, study, [DOUBTFUL], bench, KPIS, ExamRules()) is None
    assert not taken_exams(study)[4]["passed"]
    assert not (tmp_path / "champion").exists()
