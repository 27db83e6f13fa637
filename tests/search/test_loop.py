import logging
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoopt.core.errors import AutooptError, Interrupted, TrialError
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import Choice, Space
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, Evaluation, Trial
from autoopt.search.budget import Budget
from autoopt.search.loop import Watch, run_search
from autoopt.search.record import read_trials
from tests.search.table import KPIS, SPACE, begin, failing, look_up, make_search


def test_it_runs_exactly_the_trials_asked_for(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert run_search(make_search(study)) == "trials"
    trials = read_trials(study)
    assert len(trials) == 20
    assert all(trial.state == COMPLETE for trial in trials)


def test_the_baseline_is_trial_zero_and_quantization_comes_next(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study))
    trials = read_trials(study)
    assert (trials[0].number, trials[0].recipe) == (0, BASELINE)
    assert trials[1].recipe == Recipe("teacher", "none", "int8_static")


def test_the_baseline_is_measured_even_where_the_space_excludes_it(tmp_path: Path) -> None:
    study = begin(tmp_path)
    space = Space({**SPACE.knobs, "student": Choice(("cnn",))}, SPACE.needs)
    run_search(make_search(study, space=space, budget=Budget(trials=5)))
    trials = read_trials(study)
    assert trials[0].recipe == BASELINE
    assert {trial.recipe.student for trial in trials[1:]} == {"cnn"}


def test_what_is_recorded_is_read_back_as_it_was(tmp_path: Path) -> None:
    study = begin(tmp_path)
    seen: dict[int, Trial] = {}
    run_search(make_search(study, watch=Watch(on_end=lambda trial, _: seen.update({trial.number: trial}))))
    reopened = begin(tmp_path)
    assert {trial.number: trial for trial in read_trials(reopened)} == seen


def test_constraints_and_values_are_optunas_too(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, budget=Budget(trials=40)))
    front = standing(read_trials(study), KPIS).front
    assert front
    ours = {tuple(kpi.loss(trial.measurements[kpi.name]) for kpi in KPIS) for trial in front}
    assert {tuple(trial.values) for trial in study.best_trials} == ours
    feasible = {
        t.number for t in study.trials if t.state == TrialState.COMPLETE and all(v <= 0 for v in t.constraints.values())
    }
    assert {trial.number for trial in standing(read_trials(study), KPIS).feasible} <= feasible


def test_a_trial_error_ends_its_trial_only(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, evaluate=failing(every=5)))
    trials = read_trials(study)
    failed = [trial for trial in trials if trial.state == FAILED]
    assert failed
    assert all(trial.reason == f"no luck with trial {trial.number}" for trial in failed)
    assert all("TrialError" in trial.trace for trial in failed)
    assert len(trials) - len(failed) == 20, "failed trials are not counted against the budget"


def test_out_of_memory_ends_its_trial_only(tmp_path: Path) -> None:
    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        if number == 3:
            raise MemoryError("300 GB")
        return look_up(recipe, number)

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate))
    assert [(t.number, t.reason) for t in read_trials(study) if t.state == FAILED] == [(3, "MemoryError: 300 GB")]


def test_a_bug_ends_the_run_after_the_study_is_safe(tmp_path: Path) -> None:
    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        if number == 3:
            raise ZeroDivisionError("oops")
        return look_up(recipe, number)

    study = begin(tmp_path)
    with pytest.raises(ZeroDivisionError):
        run_search(make_search(study, evaluate=evaluate))
    trials = read_trials(begin(tmp_path))
    assert [trial.state for trial in trials] == [COMPLETE] * 3 + [FAILED]
    assert trials[3].reason == "a bug: ZeroDivisionError: oops"
    assert "oops" in trials[3].trace


def test_a_search_in_which_everything_fails_ends(tmp_path: Path) -> None:
    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        if number:
            raise TrialError("nothing works")
        return look_up(recipe, number)

    study = begin(tmp_path)
    with pytest.raises(AutooptError, match="the first 10 trials all failed, the last one with: nothing works"):
        run_search(make_search(study, evaluate=evaluate))
    assert len(read_trials(study)) == 11


def test_a_region_that_fails_does_not_end_a_search_that_has_results(tmp_path: Path) -> None:
    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        if 4 <= number < 24:
            raise TrialError("a bad patch")
        return look_up(recipe, number)

    study = begin(tmp_path)
    assert run_search(make_search(study, evaluate=evaluate)) == "trials"
    assert sum(trial.state == FAILED for trial in read_trials(study)) >= 10


def test_a_known_recipe_is_answered_from_the_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    space = Space(
        {
            "student": Choice(("teacher",)),
            "pruning": Choice(("none",)),
            "quantization": Choice(("none", "fp16", "int8_static")),
        },
        {},
    )
    evaluated: list[Recipe] = []

    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        evaluated.append(recipe)
        return look_up(recipe, number)

    study = begin(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert run_search(make_search(study, space=space, evaluate=evaluate, first=[])) == "plateau"
    assert "the space is exhausted" in caplog.text
    assert len(evaluated) == len(set(evaluated)) == 3
    assert len(read_trials(study)) == 3
    repeats = [trial for trial in study.trials if "repeats" in trial.user_attrs]
    assert len(repeats) == 50
    by_number = {trial.number: trial for trial in study.trials}
    for trial in repeats:
        original = by_number[trial.user_attrs["repeats"]]
        assert (trial.values, trial.constraints) == (original.values, original.constraints)


def test_an_interrupted_trial_is_tried_again_on_resume(tmp_path: Path) -> None:
    evaluated: list[Recipe] = []

    def evaluate(recipe: Recipe, number: int) -> Evaluation:
        if len(evaluated) == 6:
            raise Interrupted("Ctrl-C")
        evaluated.append(recipe)
        return look_up(recipe, number)

    study = begin(tmp_path)
    assert run_search(make_search(study, evaluate=evaluate)) == "interrupt"
    lost = read_trials(study)[-1]
    assert (lost.state, lost.reason) == (FAILED, "interrupted; its recipe was queued again")
    resumed = begin(tmp_path)
    assert run_search(make_search(resumed)) == "trials"
    trials = read_trials(resumed)
    assert trials[7].recipe == lost.recipe
    assert sum(trial.state == COMPLETE for trial in trials) == 20, "the budget goes on where it was cut short"


def test_a_stop_between_trials_is_an_interrupt(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert run_search(make_search(study, should_stop=lambda: len(read_trials(study)) >= 8)) == "interrupt"
    assert len(read_trials(study)) == 8


def test_an_orderly_end_gives_the_next_run_a_budget_of_its_own(tmp_path: Path) -> None:
    run_search(make_search(begin(tmp_path)))
    again = begin(tmp_path)
    run_search(make_search(again, budget=Budget(trials=5)))
    assert [trial.number for trial in read_trials(again)][-1] >= 24
    assert len(read_trials(again)) == 25


def test_trials_that_a_dead_process_left_running_are_closed_and_tried_again(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, budget=Budget(trials=4)))
    orphan = study.ask()
    orphan.suggest_categorical("student", ("teacher", "cnn"))
    resumed = begin(tmp_path)
    closed = resumed.trials[orphan.number]
    assert closed.state == TrialState.FAIL
    waiting = [trial for trial in resumed.trials if trial.state == TrialState.WAITING]
    assert [trial.user_attrs["retry_of"] for trial in waiting] == [orphan.number]


def test_the_watch_is_told_in_order(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    def ended(trial: Trial, now: Standing) -> None:
        assert now.trials[-1] is trial
        told.append(("end", trial.number))

    watch = Watch(on_start=lambda number, _: told.append(("start", number)), on_end=ended)
    run_search(make_search(begin(tmp_path), watch=watch, budget=Budget(trials=5)))
    numbers = [number for event, number in told if event == "end"]
    assert len(numbers) == 5
    assert told == [(event, number) for number in numbers for event in ("start", "end")]


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_searches_the_conditional_space(name: str, tmp_path: Path) -> None:
    from autoopt.search.samplers import make_sampler

    study = begin(tmp_path)
    study.sampler = make_sampler(name, 0, {"population": 8} if name == "nsga2" else {})
    run_search(make_search(study, budget=Budget(trials=24)))  # past the random start of each
    assert len(read_trials(study)) == 24


def test_tpe_beats_random_on_the_table(tmp_path: Path) -> None:
    volumes: dict[str, list[float]] = {"tpe": [], "random": []}
    for name in volumes:
        for seed in range(3):
            study = begin(tmp_path / f"{name}{seed}")
            sampler = optuna.samplers.TPESampler if name == "tpe" else optuna.samplers.RandomSampler
            study.sampler = sampler(seed=seed)
            run_search(make_search(study, budget=Budget(trials=30), first=[]))
            volumes[name].append(standing(read_trials(study), KPIS).hypervolume)
    assert sum(volumes["tpe"]) > sum(volumes["random"])
