import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoopt.core.errors import AutooptError, Bug, Interrupted, TrialError
from autoopt.core.kpi import Measurement
from autoopt.core.recipe import BASELINE, Recipe
from autoopt.core.space import Choice, Space
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Draft, Trial
from autoopt.search.budget import Budget
from autoopt.search.jobs import Evaluate
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate
from autoopt.search.search import Watch
from autoopt.search.session import last_ended
from tests.search.table import KPIS, SPACE, TRIALS, begin, failing, look_up, make_search


def failing_at(which: int | range, error: Exception) -> Evaluate:
    """look_up, but the evaluations of these places (the baseline is 0) raise."""
    count = -1

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        nonlocal count
        count += 1
        if count in ([which] if isinstance(which, int) else which):
            raise error
        return look_up(draft, gate)

    return evaluate


def test_it_runs_exactly_the_trials_asked_for(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert run_search(make_search(study)) == "trials"
    trials = read_trials(study)
    assert len(trials) == TRIALS
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
    assert all(trial.reason.startswith("no luck the ") for trial in failed)
    assert all("TrialError" in trial.trace for trial in failed)
    assert len(trials) - len(failed) == TRIALS, "failed trials are not counted against the budget"


def test_out_of_memory_ends_its_trial_only(tmp_path: Path) -> None:
    evaluate = failing_at(3, MemoryError("300 GB"))

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate))
    assert [(t.number, t.reason) for t in read_trials(study) if t.state == FAILED] == [(3, "out of memory: 300 GB")]


def test_a_bug_ends_the_run_after_the_study_is_safe(tmp_path: Path) -> None:
    evaluate = failing_at(3, ZeroDivisionError("oops"))

    study = begin(tmp_path)
    with pytest.raises(Bug, match="ZeroDivisionError: oops"):
        run_search(make_search(study, evaluate=evaluate))
    trials = read_trials(begin(tmp_path))
    assert [trial.state for trial in trials] == [COMPLETE] * 3 + [FAILED]
    assert trials[3].reason == "a bug: ZeroDivisionError: oops"
    assert "oops" in trials[3].trace


def test_a_search_in_which_everything_fails_ends(tmp_path: Path) -> None:
    evaluate = failing_at(range(1, 1000), TrialError("nothing works"))

    study = begin(tmp_path)
    with pytest.raises(AutooptError, match="the first 10 trials all failed, the last one with: nothing works"):
        run_search(make_search(study, evaluate=evaluate))
    assert len(read_trials(study)) == 11


def test_a_region_that_fails_does_not_end_a_search_that_has_results(tmp_path: Path) -> None:
    evaluate = failing_at(range(4, 24), TrialError("a bad patch"))

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

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        evaluated.append(draft.recipe)
        return look_up(draft, gate)

    study = begin(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert run_search(make_search(study, space=space, evaluate=evaluate, first=[])) == "exhausted"
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

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        if len(evaluated) == 6:
            raise Interrupted("Ctrl-C")
        evaluated.append(draft.recipe)
        return look_up(draft, gate)

    study = begin(tmp_path)
    assert run_search(make_search(study, evaluate=evaluate)) == "interrupt"
    lost = read_trials(study)[-1]
    assert (lost.state, lost.reason) == (FAILED, "interrupted; its recipe was queued again")
    resumed = begin(tmp_path)
    assert run_search(make_search(resumed)) == "trials"
    trials = read_trials(resumed)
    assert trials[7].recipe == lost.recipe
    assert sum(trial.state == COMPLETE for trial in trials) == TRIALS, "the budget goes on where it was cut short"


def test_a_trial_that_is_still_training_when_time_is_over_waits_for_the_next_session(tmp_path: Path) -> None:
    study, began = begin(tmp_path), []

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        began.append(draft.recipe)
        while len(began) > 4:  # trains on and on
            gate.check()
            time.sleep(0.01)
        return look_up(draft, gate)

    search = make_search(study, evaluate=evaluate, budget=Budget(hours=3 / 3600))
    assert run_search(search) == "hours"
    trials = read_trials(study)
    assert any(trial.is_feasible(KPIS) for trial in trials)
    assert (trials[-1].state, trials[-1].reason) == (
        FAILED,
        "the budget's time was over; its recipe waits for the next session",
    )
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert any(trial.user_attrs.get("retry_of") == trials[-1].number for trial in waiting)


def test_with_nothing_feasible_the_trial_that_runs_may_end(tmp_path: Path) -> None:
    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        if draft.recipe != BASELINE:
            time.sleep(0.3)
            gate.check()
        return look_up(draft, gate)

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate, budget=Budget(hours=0.1 / 3600)))
    assert all(trial.state != FAILED for trial in read_trials(study))


def test_a_stop_between_trials_is_an_interrupt(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert run_search(make_search(study, should_stop=lambda: len(read_trials(study)) >= 8)) == "interrupt"
    assert len(read_trials(study)) == 8


def test_an_orderly_end_gives_the_next_run_a_budget_of_its_own(tmp_path: Path) -> None:
    run_search(make_search(begin(tmp_path)))
    again = begin(tmp_path)
    run_search(make_search(again, budget=Budget(trials=5)))
    assert [trial.number for trial in read_trials(again)][-1] >= TRIALS + 4
    assert len(read_trials(again)) == TRIALS + 5


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


@pytest.mark.parametrize("rules", [Rules(), Rules(screens=False, bar=False, siblings=False)], ids=["rules", "plain"])
@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "random"])
def test_every_sampler_searches_the_conditional_space(name: str, rules: Rules, tmp_path: Path) -> None:
    from autoopt.search.samplers import make_sampler

    study = begin(tmp_path)
    study.sampler = make_sampler(name, 0, {})
    trials = 14 if name == "gp" else 24  # past the random start of each; a proposal of GP's takes a second
    run_search(make_search(study, rules=rules, budget=Budget(trials=trials)))
    assert sum(trial.sibling_of is None for trial in read_trials(study)) == trials


@pytest.mark.slow
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


def test_trained_weights_serve_every_scheme_of_the_space(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, rules=Rules(screens=False, bar=False), budget=Budget(trials=12)))
    trials = read_trials(study)
    trained = [t for t in trials if t.sibling_of is None and t.recipe.is_trained]
    assert sum(t.sibling_of is None for t in trials) == 12, "the budget does not count siblings"
    for trial in trained:
        family = [trial, *(t for t in trials if t.sibling_of == trial.number)]
        assert {t.recipe.quantization for t in family} <= {"none", "fp16", "int8_static"}
        assert {replace(t.recipe, quantization="none") for t in family} == {replace(trial.recipe, quantization="none")}
    assert all(t.sibling_of is None for t in trials if not t.recipe.is_trained)
    assert {t.recipe for t in trials if t.recipe.is_trained} == {
        replace(t.recipe, quantization=scheme) for t in trained for scheme in ("none", "fp16", "int8_static")
    }
    assert len({t.recipe for t in trials}) == len(trials), "nothing is evaluated twice"


def test_siblings_are_complete_trials_of_the_study_that_the_sampler_learns_from(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, rules=Rules(screens=False, bar=False), budget=Budget(trials=8)))
    by_number = {trial.number: trial for trial in study.trials}
    siblings = [trial for trial in read_trials(study) if trial.sibling_of is not None]
    assert siblings
    for sibling in siblings:
        frozen = by_number[sibling.number]
        assert frozen.params["quantization"] == sibling.recipe.quantization
        assert frozen.values == [kpi.loss(sibling.measurements[kpi.name]) for kpi in KPIS]
        assert frozen.constraints == sibling.violations(KPIS)


def test_a_sibling_that_fails_says_so_and_takes_nothing_along(tmp_path: Path) -> None:
    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        for sibling in found:
            if sibling.recipe.quantization == "fp16":
                sibling.error = TrialError("no fp16 here")
        return found

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate, rules=Rules(screens=False, bar=False), budget=Budget(trials=6)))
    failed = [trial for trial in read_trials(study) if trial.state == FAILED]
    assert failed
    assert {(trial.reason, trial.sibling_of is None) for trial in failed} == {("no fp16 here", False)}
    assert all("TrialError: no fp16 here" in trial.trace for trial in failed)
    assert sum(trial.sibling_of is None for trial in read_trials(study)) == 6


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_siblings_that_a_stop_has_cost_are_made_up_for(how: str, tmp_path: Path) -> None:
    """Both between the record of a trial and that of its siblings, the second of which never comes."""
    rules, study = Rules(screens=False, bar=False), begin(tmp_path)

    def stop() -> bool:
        return how == "stopped" and sum(trial.sibling_of is not None for trial in read_trials(study)) == 1

    def killed(trial: Trial, _: Standing) -> None:
        if how == "killed" and trial.sibling_of is not None:
            raise SystemExit("kill -9")

    first = make_search(study, rules=rules, should_stop=stop, watch=Watch(before_record=killed))
    if how == "killed":
        with pytest.raises(SystemExit):
            run_search(first)
    else:
        assert run_search(first) == "interrupt"
    parent = next(trial for trial in reversed(read_trials(study)) if trial.sibling_of is None)
    asked_for: list[tuple[int, list[Recipe]]] = []

    def make_up(trial: Trial, recipes: Sequence[Recipe]) -> list[Draft]:
        asked_for.append((trial.number, list(recipes)))
        return look_up(Draft(trial.recipe, tuple(recipes)), Gate(rules, KPIS, (), trial.recipe))

    run_search(make_search(begin(tmp_path), rules=rules, make_up=make_up, left=[parent.number]))
    trials = read_trials(study)
    family = [trial for trial in trials if parent.number in (trial.number, trial.sibling_of)]
    assert sorted(trial.recipe.quantization for trial in family) == ["fp16", "int8_static", "none"]
    assert [number for number, _ in asked_for] == [parent.number]
    assert len(asked_for[0][1]) == (1 if how == "stopped" else 2)


def test_a_bug_in_a_sibling_is_on_record_before_it_ends_the_run(tmp_path: Path) -> None:
    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        for sibling in found[:1]:
            sibling.error = ZeroDivisionError("oops")
        return found

    study = begin(tmp_path)
    with pytest.raises(Bug, match="ZeroDivisionError: oops"):
        run_search(make_search(study, evaluate=evaluate, rules=Rules(screens=False, bar=False)))
    last = read_trials(study)[-1]
    assert (last.state, last.reason) == (FAILED, "a bug: ZeroDivisionError: oops")
    assert last.sibling_of is not None
    assert "ZeroDivisionError" in last.trace


def test_siblings_are_tried_where_the_trials_own_scheme_fails(tmp_path: Path) -> None:
    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        if draft.recipe.is_trained:
            draft.error = TrialError("no such scheme here")
        return found

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate, rules=Rules(screens=False, bar=False), budget=Budget(trials=3)))
    trials = read_trials(study)
    failed = [trial for trial in trials if trial.state == FAILED]
    assert failed
    assert {trial.reason for trial in failed} == {"no such scheme here"}
    for trial in failed:
        assert sum(other.sibling_of == trial.number for other in trials) == 2


def test_without_screens_bar_and_siblings_every_trial_is_asked_and_complete(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, rules=Rules(screens=False, bar=False, siblings=False), budget=Budget(trials=30)))
    assert {(t.state, t.sibling_of) for t in read_trials(study)} == {(COMPLETE, None)}


def test_a_screened_trial_never_ranks_before_a_finished_one(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_search(make_search(study, rules=Rules(), budget=Budget(trials=20)))
    screened = {trial.number for trial in read_trials(study) if trial.state == SCREENED}
    assert screened
    totals: dict[TrialState, list[float]] = {TrialState.COMPLETE: [], TrialState.PRUNED: []}
    for trial in study.trials:  # repeats of screened trials among them
        totals[trial.state].append(sum(max(0.0, violation) for violation in trial.constraints.values()))
    assert min(totals[TrialState.PRUNED]) > max(totals[TrialState.COMPLETE])
    assert all(study.trials[n].state == TrialState.PRUNED for n in screened)


def test_a_screened_recipe_is_not_run_again(tmp_path: Path) -> None:
    space = Space({**SPACE.knobs, "epochs": Choice((4,)), "learning_rate": Choice((1e-3,))}, SPACE.needs)
    evaluated: list[Recipe] = []

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        evaluated.append(draft.recipe)
        return look_up(draft, gate)

    study = begin(tmp_path)
    run_search(make_search(study, space=space, evaluate=evaluate, rules=Rules(), budget=Budget(trials=80)))
    assert SCREENED in {trial.state for trial in read_trials(study)}
    assert len(evaluated) == len(set(evaluated))


def test_no_trial_is_begun_that_would_end_after_the_deadline(tmp_path: Path) -> None:
    def slow(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        draft.clock.seconds["train"] = 1e6 if draft.recipe.is_trained else 0.0  # as the record says, it takes weeks
        return found

    study = begin(tmp_path)
    first = [Recipe("cnn", "none", "int8_static", width=1.0, epochs=4, optimizer="sgd", learning_rate=0.01)]
    quick = make_search(study, evaluate=slow, first=first, budget=Budget(hours=1))
    assert run_search(quick) == "hours"
    trials = read_trials(study)
    assert [trial.recipe for trial in trials if trial.recipe.is_trained] == first
    assert trials[1].is_feasible(KPIS)


def test_what_was_queued_and_takes_too_long_waits_for_the_next_session(tmp_path: Path) -> None:
    """It neither ends the search, nor keeps the sampler from its say: of a cnn, one epoch fits into the hour."""

    def slow_cnn(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        draft.clock.seconds["train"] = 1500.0 * draft.recipe.epochs if draft.recipe.student == "cnn" else 0.0
        return found

    def cnn(width: float) -> Recipe:
        return Recipe("cnn", "none", "int8_static", width=width, epochs=4, optimizer="sgd", learning_rate=0.01)

    first = [
        Recipe("teacher", "none", "int8_static", epochs=1, optimizer="sgd", learning_rate=0.01),
        cnn(1.0),
        cnn(0.5),
    ]
    space = Space({**SPACE.knobs, "epochs": Choice((1, 4))}, SPACE.needs)
    study = begin(tmp_path)
    run_search(make_search(study, space=space, evaluate=slow_cnn, first=first, budget=Budget(hours=1, trials=12)))
    trials = read_trials(study)
    assert cnn(0.5) not in {trial.recipe for trial in trials}
    assert len(trials) > 4
    resumed = begin(tmp_path)
    run_search(make_search(resumed, space=space, evaluate=slow_cnn, first=first, budget=Budget(trials=1)))
    assert read_trials(resumed)[-1].recipe == cnn(0.5)


def test_a_kill_after_the_baseline_does_not_cost_the_first_recipes(tmp_path: Path) -> None:
    def killed(trial: Trial, _: Standing) -> None:
        raise SystemExit("kill -9")

    study = begin(tmp_path)
    with pytest.raises(SystemExit):
        run_search(make_search(study, watch=Watch(on_end=killed)))
    run_search(make_search(begin(tmp_path)))
    assert read_trials(study)[1].recipe == Recipe("teacher", "none", "int8_static")


def test_while_nothing_is_feasible_a_trial_is_begun_whatever_it_takes(tmp_path: Path) -> None:
    def slow_and_bad(draft: Draft, gate: Gate) -> list[Draft]:
        found = look_up(draft, gate)
        draft.clock.seconds["train"] = 1e6
        draft.measurements["accuracy"] = Measurement(0.5, 0.95)
        return found

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=slow_and_bad, budget=Budget(hours=1, trials=6)))
    assert len(read_trials(study)) == 6


def test_seconds_by_stage_cover_the_search(tmp_path: Path) -> None:
    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        with draft.clock("train"):
            time.sleep(0.02)
        found = look_up(draft, gate)
        draft.clock.seconds["train"] = 0.02 + 1e-4
        return found

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate, budget=Budget(trials=30)))
    ended = last_ended(study)
    parts = [ended.seconds, *(trial.evaluation.seconds for trial in read_trials(study) if trial.evaluation)]
    assert sum(sum(part.values()) for part in parts) >= 0.97 * ended.searched_s
    assert {"train", "log", "sampler"} <= set().union(*parts)


@pytest.mark.slow
def test_the_sampler_keeps_away_from_what_fails(tmp_path: Path) -> None:
    """Failed recipes are bad to it, not unknown: else half of its proposals would go on failing."""

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        if draft.recipe.optimizer == "sgd":
            raise TrialError("the loss became nan in epoch 1")
        return look_up(draft, gate)

    study = begin(tmp_path)
    run_search(make_search(study, evaluate=evaluate, first=[], budget=Budget(trials=40)))
    trained = [trial for trial in read_trials(study) if trial.recipe.is_trained]
    failed = [trial for trial in trained if trial.state == FAILED]
    assert len(failed) > 3
    assert all(study.trials[trial.number].state == TrialState.PRUNED for trial in failed)
    assert all(study.trials[trial.number].constraints["failed"] > 0 for trial in failed)
    assert len(failed) < 0.3 * len(trained), "by chance it would be half"


def test_a_search_in_which_nothing_works_any_more_ends(tmp_path: Path) -> None:
    """As under a limit that is too small for all that trains: failed trials do not use up a budget of trials."""
    evaluate = failing_at(range(6, 1000), TrialError("it took longer than it may"))
    study = begin(tmp_path)
    assert run_search(make_search(study, evaluate=evaluate, budget=Budget(trials=100))) == "failures"
    assert sum(trial.state == FAILED for trial in read_trials(study)) == 30
