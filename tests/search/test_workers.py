"""Worker processes on the lookup table: what kills one costs its trial only."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoopt.core.errors import AutooptError, Bug, ConfigError
from autoopt.core.left import Left
from autoopt.core.recipe import Recipe
from autoopt.core.trial import COMPLETE, FAILED, Trial
from autoopt.search import running as running_module
from autoopt.search.budget import Budget
from autoopt.search.jobs import Acts
from autoopt.search.limits import Limits
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.search.search import Watch
from autoopt.search.workers import Workers
from tests.search.table import TRIALS, begin, make_search, start, start_deadly

INT8 = Recipe("teacher", "none", "int8_static")
CNN = Recipe("cnn", "none", "int8_static", width=1.0, epochs=4, optimizer="sgd", learning_rate=0.01)
FP16 = Recipe("teacher", "none", "fp16")


@contextmanager
def crew(folder: Path, started: Callable[[], Acts], count: int = 2) -> Iterator[Workers]:
    with Workers(count, folder / "work", preload="tests.search.table") as workers:
        workers.open(started)
        yield workers


def failed(study: optuna.Study) -> list[Trial]:
    return [trial for trial in read_trials(study) if trial.state == FAILED]


def test_workers_run_side_by_side_exactly_the_trials_asked_for(tmp_path: Path) -> None:
    going, most = set[int](), 0

    def on_start(number: int, recipe: Recipe) -> None:
        nonlocal most
        going.add(number)
        most = max(most, len(going))

    study, watch = begin(tmp_path), Watch(on_start=on_start, on_free=going.discard)
    with crew(tmp_path, partial(start, 0.5)) as workers:
        assert run_search(make_search(study, crew=workers, watch=watch, budget=Budget(trials=9))) == "trials"
    trials = read_trials(study)
    assert most == 2
    assert [trial.state for trial in trials] == [COMPLETE] * 9
    assert max(Counter(trial.recipe for trial in trials).values()) == 1, "nothing is evaluated twice"


@pytest.mark.parametrize(
    ("how", "words"),
    [("kill", "signal 9, SIGKILL"), pytest.param("segfault", "signal 11, SIGSEGV", marks=pytest.mark.slow)],
)
def test_a_recipe_that_kills_its_worker_is_tried_once_more_and_never_again(
    how: str, words: str, tmp_path: Path
) -> None:
    study = begin(tmp_path)
    with crew(tmp_path, partial(start_deadly, how, "fp16")) as workers:
        search = make_search(study, crew=workers, first=[FP16, INT8], budget=Budget(trials=12))
        assert run_search(search) == "trials"
    deaths = [trial for trial in failed(study) if trial.recipe == FP16]
    assert [trial.reason.startswith(f"its worker died: {words}") for trial in deaths] == [True, True]
    assert [trial.reason.rpartition("; ")[2] for trial in deaths] == [
        "its recipe was queued again",
        "its recipe is not tried again",
    ]
    assert all(f"about to {how}" in trial.trace for trial in deaths), "its last words are on record"
    assert how == "kill" or all("Fatal Python error: Segmentation fault" in trial.trace for trial in deaths)
    first, second = (study.trials[trial.number] for trial in deaths)
    assert first.state == TrialState.FAIL, "nothing that samplers learn from"
    assert (second.state, second.constraints["failed"] > 1e12) == (TrialState.PRUNED, True), "bad, and not missing"
    assert sum(trial.state == COMPLETE for trial in read_trials(study)) == 12
    again = begin(tmp_path)
    with crew(tmp_path, partial(start_deadly, how, "fp16")) as workers:
        run_search(make_search(again, crew=workers, budget=Budget(trials=3)))
    assert sum(trial.recipe == FP16 for trial in failed(again)) == 2


def test_a_worker_killed_by_hand_costs_nothing_but_time(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with crew(tmp_path, partial(start, 0.1)) as workers:
        turns = 0

        def on_turn(left: Left) -> None:
            nonlocal turns
            turns += 1
            if turns in (10, 25):
                for pid in workers.pids():
                    os.kill(pid, signal.SIGKILL)

        run_search(make_search(study, crew=workers, watch=Watch(on_turn=on_turn)))
    assert 1 <= len(failed(study)) <= 4
    complete = {trial.recipe for trial in read_trials(study) if trial.state == COMPLETE}
    assert len(complete) == TRIALS
    assert {trial.recipe for trial in failed(study)} <= complete


def test_a_sibling_that_kills_the_worker_costs_no_other_sibling(tmp_path: Path) -> None:
    study = begin(tmp_path)
    rules = Rules(screens=False, bar=False)
    with crew(tmp_path, partial(start_deadly, "kill", "fp16", True), count=1) as workers:
        run_search(make_search(study, crew=workers, rules=rules, first=[CNN], budget=Budget(trials=4)))
    trials = read_trials(study)
    parents = [t for t in trials if t.sibling_of is None and t.recipe.is_trained and t.recipe.quantization != "fp16"]
    assert parents
    for parent in parents:
        family = Counter((t.recipe.quantization, t.state) for t in trials if t.sibling_of == parent.number)
        others = {"none", "int8_static"} - {parent.recipe.quantization}
        assert family == {("fp16", FAILED): 2, **{(other, COMPLETE): 1 for other in others}}


@pytest.mark.parametrize(
    ("how", "limits", "reason"),
    [
        pytest.param(
            *("loop", {"trial_minutes": 0.5 / 60}, "it took longer than limits.trial_minutes=0.00833333"),
            marks=pytest.mark.slow,
        ),
        ("hang", {"trial_minutes": 0.5 / 60}, "it took longer than limits.trial_minutes=0.00833333"),
        ("eat", {"trial_gb": 0.6}, "limits.trial_gb=0.6"),
    ],
)
def test_a_trial_over_its_limit_ends_and_is_not_tried_again(
    how: str, limits: dict[str, float], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "RESPONSE_S", 1.0)
    study = begin(tmp_path)
    with crew(tmp_path, partial(start_deadly, how, "fp16"), count=1) as workers:
        run_search(
            make_search(study, crew=workers, first=[FP16, INT8], limits=Limits(**limits), budget=Budget(trials=3))
        )
    (ended,) = (trial for trial in failed(study) if trial.recipe == FP16)
    assert reason in ended.reason
    assert study.trials[ended.number].state == TrialState.PRUNED


@pytest.mark.parametrize("how", [pytest.param("loop", marks=pytest.mark.slow), "hang"])
def test_a_stop_abandons_what_runs_within_its_grace(how: str, tmp_path: Path) -> None:
    study, asked_at = begin(tmp_path), 0.0

    def should_stop() -> bool:
        nonlocal asked_at
        if not asked_at and any(trial.user_attrs for trial in study.get_trials(states=(TrialState.RUNNING,))):
            asked_at = time.monotonic()
        return bool(asked_at)

    with crew(tmp_path, partial(start_deadly, how, "fp16"), count=1) as workers:
        search = make_search(study, crew=workers, first=[FP16], should_stop=should_stop, limits=Limits(grace_s=1.0))
        assert run_search(search) == "interrupt"
    assert time.monotonic() - asked_at < 3.0
    assert [trial.reason for trial in failed(study)] == ["interrupted; its recipe was queued again"]
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.system_attrs["fixed_params"]["quantization"] for trial in waiting] == ["fp16"]


def test_workers_do_not_outlive_a_search_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import time
from functools import partial
from pathlib import Path
from autoopt.search.loop import run_search
from autoopt.search.workers import Workers
from tests.search.table import begin, make_search, start

if __name__ == "__main__":
    folder = Path({str(tmp_path)!r})
    with Workers(2, folder / "work", preload="tests.search.table") as workers:
        workers.open(partial(start, 0.2))
        print(*workers.pids(), flush=True)
        run_search(make_search(begin(folder), crew=workers))
"""
    (tmp_path / "main.py").write_text(script)
    command = [sys.executable, str(tmp_path / "main.py")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as search:
        assert search.stdout is not None
        pids = [int(pid) for pid in search.stdout.readline().split()]
        time.sleep(1.0)
        search.kill()
    end = time.monotonic() + 5
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)
    study = begin(tmp_path)
    assert not study.get_trials(states=(TrialState.RUNNING,))
    with crew(tmp_path, start) as workers:
        run_search(make_search(study, crew=workers))
    assert sum(trial.state == COMPLETE for trial in read_trials(study)) == TRIALS


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_sigterm_to_one_worker_alone_ends_that_worker(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with crew(tmp_path, partial(start, 4.0), count=1) as workers:

        def on_start(number: int, recipe: Recipe) -> None:
            if number == 1 and not failed(study):
                os.kill(workers.pids()[0], signal.SIGTERM)

        run_search(make_search(study, crew=workers, watch=Watch(on_start=on_start), budget=Budget(trials=2)))
    assert [trial.reason for trial in failed(study)] == [
        "its worker died: signal 15, SIGTERM; its recipe was queued again"
    ]


def refuse() -> Acts:
    raise ConfigError("no such data")


def stumble() -> Acts:
    raise ZeroDivisionError("oops")


def fall() -> Acts:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_workers_that_cannot_begin_say_why(tmp_path: Path) -> None:
    for started, kind, message in (
        (refuse, AutooptError, "^no such data$"),
        (stumble, Bug, "ZeroDivisionError: oops"),
        (fall, AutooptError, "workers die before they can begin, the last one: signal 9"),
    ):
        with pytest.raises(kind, match=message), crew(tmp_path, started, count=1):
            pass


def test_a_baseline_that_kills_its_worker_ends_the_search(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with (
        crew(tmp_path, partial(start_deadly, "kill", "none", also_baseline=True), count=1) as workers,
        pytest.raises(AutooptError, match="^the baseline cannot be measured: its worker died: signal 9, SIGKILL"),
    ):
        run_search(make_search(study, crew=workers))
    assert read_trials(study) == []


@pytest.mark.slow
def test_a_word_about_a_job_that_is_over_harms_no_other(tmp_path: Path) -> None:
    """The search may be busy recording while the limit passes, and the worker idle by then."""
    study = begin(tmp_path)
    watch = Watch(on_end=lambda trial, now: time.sleep(0.3))
    with crew(tmp_path, partial(start, 0.2)) as workers:
        limits = Limits(trial_minutes=0.35 / 60)
        run_search(make_search(study, crew=workers, watch=watch, limits=limits, budget=Budget(trials=12)))
    assert [trial.reason for trial in failed(study) if trial.killed_worker] == []


def test_siblings_have_a_time_of_their_own(tmp_path: Path) -> None:
    """What the trial itself took is not theirs."""
    study, rules = begin(tmp_path), Rules(screens=False, bar=False)
    with crew(tmp_path, partial(start, 0.6), count=1) as workers:
        limits, watch = Limits(trial_minutes=0.8 / 60), Watch(on_end=lambda trial, now: time.sleep(0.15))
        search = make_search(study, crew=workers, rules=rules, limits=limits, watch=watch, first=[CNN])
        run_search(replace(search, budget=Budget(trials=3)))
    assert failed(study) == []
    assert any(trial.sibling_of is not None for trial in read_trials(study))


def test_a_worker_that_dies_while_it_speaks_costs_its_trial_only(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with crew(tmp_path, partial(start_deadly, "mumble", "fp16"), count=1) as workers:
        run_search(make_search(study, crew=workers, first=[FP16], budget=Budget(trials=3)))
    assert [trial.recipe for trial in failed(study)][:2] == [FP16, FP16]


def test_no_deadline_is_outlived_by_siblings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is ended after a while, and waits for the next session with the others."""
    monkeypatch.setattr(running_module, "LATE_S", 0.5)
    study, rules = begin(tmp_path), Rules(screens=False, bar=False)
    freed: list[int] = []
    with crew(tmp_path, partial(start_deadly, "hang", "fp16", True), count=1) as workers:
        search = make_search(
            study,
            crew=workers,
            rules=rules,
            first=[INT8, CNN],
            watch=Watch(on_free=freed.append),
            budget=Budget(hours=3 / 3600),
        )
        assert run_search(search) == "hours"
    parent = next(trial.number for trial in read_trials(study) if trial.recipe == CNN)
    assert parent not in freed, "its weights are kept for them"
    assert not any(trial.sibling_of == parent and trial.recipe.quantization == "fp16" for trial in read_trials(study))
