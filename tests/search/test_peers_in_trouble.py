"""What may happen between two statements: kills, answers that are lost, and others that take a process for dead."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import sqlalchemy.exc
from optuna.trial import TrialState, create_trial

from autoopt.core.recipe import Recipe
from autoopt.core.trial import Draft
from autoopt.search import ledger, loop, queue, storage
from autoopt.search.asking import ask
from autoopt.search.budget import Budget
from autoopt.search.crew import Baseline, Here
from autoopt.search.jobs import Acts, Died, Ended, Job
from autoopt.search.loop import Run, run_search
from autoopt.search.peers import Peers
from autoopt.search.record import BUILT, RECORD, read_trials, running
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate
from autoopt.search.search import Search
from autoopt.search.session import SESSION, Session, joined_ended
from autoopt.search.study import open_study
from tests.search.table import KPIS, SPACE, look_up, make_search, start
from tests.services import has_postgres, postgres

pytestmark = pytest.mark.skipif(not has_postgres(), reason="PostgreSQL is not installed")
FP16 = Recipe("teacher", "none", "fp16")
QUEUED = {
    **{"student": "teacher", "pruning": "none", "epochs": 1, "optimizer": "adamw"},
    **{"learning_rate": 0.01, "quantization": "fp16"},
}


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with postgres(Path(f"/tmp/autoopt-pgt-{os.getpid()}")) as server:
        yield server.uri


@pytest.fixture(autouse=True)
def soon_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "BEAT_S", 1)
    monkeypatch.setattr(storage, "STALE_S", 3)


@pytest.fixture
def study(uri: str, request: pytest.FixtureRequest) -> optuna.Study:
    return again(uri, request.node.name)


def again(uri: str, name: str) -> optuna.Study:
    """As another process has it."""
    found = open_study(Path(), name, KPIS, {"space": {"a": 1}, "teacher": {"weights": "none"}}, storage=uri)
    found.sampler = optuna.samplers.RandomSampler(seed=1)
    return found


def searching(study: optuna.Study, trials: int, peers: Peers | None = None, **changes: Any) -> Search:
    peers = peers or Peers(study, SPACE)
    parts: dict[str, Any] = {
        "crew": Here(start(0.01)),
        "rules": Rules(screens=False, bar=False, siblings=False),
        "should_stop": lambda: peers.over,
    }
    return make_search(study, budget=Budget(trials=trials), peers=peers, **{**parts, **changes})


def lose_one_answer(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """The first call is heard, and its answer is not."""
    real, left = getattr(module, name), [1]

    def call(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        if left:
            left.pop()
            raise sqlalchemy.exc.OperationalError("commit", {}, Exception("terminating connection"))
        return found

    monkeypatch.setattr(module, name, call)


@pytest.mark.slow
def test_a_sibling_without_a_heartbeat_is_not_waited_for(study: optuna.Study) -> None:
    run_search(searching(study, 2))
    left = create_trial(state=TrialState.RUNNING, user_attrs={RECORD: running(FP16, sibling_of=1)})
    study._storage.create_new_trial(study._study_id, left)
    end = time.monotonic() + 30
    assert run_search(searching(study, 2, should_stop=lambda: time.monotonic() > end)) == "trials"


@pytest.mark.parametrize("what", ["tell_repeat", "leave"])
def test_an_answer_that_is_lost_is_asked_for_again(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    gives_way = [True]
    if what == "leave":
        monkeypatch.setattr(Peers, "claims", lambda *args: not (gives_way and gives_way.pop()))
    lose_one_answer(monkeypatch, loop, what)
    for _ in range(3):
        study.enqueue_trial(QUEUED)
    assert run_search(searching(study, 4)) == "trials"


def test_there_is_one_baseline_though_the_answer_to_it_was_lost(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_one_answer(monkeypatch, ledger, "add")
    run_search(searching(study, 3))
    assert [trial.number for trial in read_trials(study) if not trial.recipe.is_trained][:1] == [0]
    assert len([trial for trial in read_trials(study) if trial.recipe.quantization == "none"]) >= 1
    recipes = [trial.recipe for trial in read_trials(study)]
    assert len(recipes) == len(set(recipes))


def test_who_was_taken_for_dead_before_it_began_goes_on(study: optuna.Study, uri: str) -> None:
    run_search(searching(study, 2))
    closed: list[int] = []

    def close_once(asked: optuna.Trial) -> optuna.Trial:
        if not closed:
            closed.append(asked.number)
            other = again(uri, study.study_name)
            other._storage.set_trial_state_values(asked._trial_id, TrialState.FAIL)
        return asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "ask", lambda asking: close_once(ask(asking)))
        assert run_search(searching(study, 3)) == "trials"
    assert closed


def test_what_is_handed_over_by_who_was_taken_for_dead_counts(study: optuna.Study, uri: str) -> None:
    run_search(searching(study, 2))
    other = again(uri, study.study_name)
    study.set_user_attr(SESSION, {**study.user_attrs[SESSION], "ended_by": None})
    peers = Peers(other, SPACE, leads=False)
    handed: list[int] = []

    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        trials = study.get_trials(deepcopy=False)
        study._storage.set_trial_state_values(max(t._trial_id for t in trials), TrialState.FAIL)
        handed.append(1)
        return look_up(draft, gate)

    changes = {"crew": Here(Acts(evaluate)), "measures": False, "should_stop": lambda: bool(handed)}
    run_search(searching(other, 9, peers, **changes))
    waiting = [t for t in study.get_trials(deepcopy=False) if BUILT in t.user_attrs]
    assert [trial.state for trial in waiting] == [TrialState.RUNNING]


def test_a_worker_that_dies_after_its_trial_was_handed_over_costs_the_siblings_only(study: optuna.Study) -> None:
    run_search(searching(study, 2))
    peers = Peers(study, SPACE, leads=False)
    search = searching(study, 9, peers, measures=False, rules=Rules(screens=False, bar=False))
    run = Run(search, Session.join(study), read_trials(study))
    run.running.search.crew.begin = lambda *args: None  # type: ignore[method-assign]
    asked = ask(study)
    peers.begin(asked)
    trained = Recipe("teacher", "none", "fp16", optimizer="adamw", learning_rate=0.01, epochs=2)
    sibling = replace(trained, quantization="none")
    assert peers.claims(asked, trained, (sibling,))
    run.running.begin(Job(asked.number, trained, (sibling,), search.rules, KPIS), asked)
    run.running.handle(Ended(asked.number, trained, "complete", Draft(trained).evaluation()))
    run.running.handle(Died(asked.number, "signal 9", ""))
    assert run.owed == []


def handed_over(study: optuna.Study) -> Peers:
    """The process that has made an artifact, which waits to be measured elsewhere."""
    maker = Peers(study, SPACE, leads=False)
    asked = ask(study)
    maker.begin(asked)
    assert maker.claims(asked, FP16, ())
    maker.hand_over(asked, Ended(asked.number, FP16, "complete", Draft(FP16).evaluation()), None)
    return maker


def test_an_artifact_is_measured_by_one_process_alone(study: optuna.Study, uri: str) -> None:
    run_search(searching(study, 2))
    handed_over(study)
    first, second = (Peers(again(uri, study.study_name), SPACE, leads=leads) for leads in (True, False))
    for peers in (first, second):
        peers.news(now=True)
    taken = first.take()
    assert taken is not None
    assert taken[1] == FP16
    assert second.take() is None, "it knew of it before the other had it"


@pytest.mark.slow
def test_an_artifact_whose_maker_has_ended_waits_for_who_measures(study: optuna.Study, uri: str) -> None:
    run_search(searching(study, 2))
    maker = handed_over(study)
    (number,) = maker._handed
    measurer = Peers(again(uri, study.study_name), SPACE)
    measurer._measures = True
    with measurer.knowing(read_trials(study)):
        end = time.monotonic() + 2 * storage.STALE_S + 1
        while time.monotonic() < end:
            measurer.news()
            time.sleep(0.2)
    (frozen,) = (trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    assert frozen.state == TrialState.RUNNING


def test_two_that_close_the_same_trial_are_no_trouble(study: optuna.Study, uri: str) -> None:
    run_search(searching(study, 2))
    asked, real, other = ask(study), queue._note, again(uri, study.study_name)

    def note(closing: optuna.Study, *words: Any) -> None:
        real(closing, *words)
        other._storage.set_trial_state_values(asked._trial_id, TrialState.FAIL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "_note", note)
        queue.close_unbegun(study, asked.number)
    assert study._storage.get_trial(asked._trial_id).state == TrialState.FAIL


def test_a_database_that_was_away_says_nothing_about_the_search(study: optuna.Study) -> None:
    peers = Peers(study, SPACE, leads=False, is_led=lambda: False)
    peers._led_at = peers._steady_since = time.monotonic() - 100
    assert peers.is_leaderless()
    peers._steady_since = time.monotonic()
    assert not peers.is_leaderless()


def test_who_conducts_ends_as_the_jobs_have_found(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoopt.commands import slurm

    peers = Peers(study, SPACE)
    look = slurm.Looking(["7"], Path("logs"), peers, _looked_at=-slurm.LOOK_S)
    monkeypatch.setattr(slurm, "are_gone", lambda jobs: True)
    run_search(searching(study, 1, peers))
    with pytest.raises(loop.AutooptError, match="^all jobs of Slurm have ended, and the budget is not spent"):
        look()
    Session.join(study).save("interrupt")
    assert joined_ended(study) is None, "it was told to end"
    Session.join(study).save("exhausted")
    look._looked_at = -slurm.LOOK_S
    look()
    crew = Baseline(start(), measured=True)
    assert run_search(searching(study, 9, peers, crew=crew)) == "exhausted"
    assert joined_ended(study) is None, "the next session begins anew"


def test_what_others_searched_after_a_kill_counts(study: optuna.Study) -> None:
    run_search(searching(study, 2))
    study.set_user_attr(
        SESSION, {"first_trials": 0, "first_s": 0.0, "searched_s": 3600.0, "seconds": {}, "ended_by": None}
    )
    trials = [replace(trial, ended_at_s=8 * 3600.0) for trial in read_trials(study)]
    assert Session.begin(study, trials).session_s >= 8 * 3600


@pytest.mark.slow
def test_who_was_stopped_by_hand_does_not_close_its_own_trials(study: optuna.Study) -> None:
    run_search(searching(study, 2))
    peers = Peers(study, SPACE)
    asked = ask(study)
    peers.begin(asked)
    assert peers.claims(asked, FP16, ())
    peers._steady_since -= 100
    time.sleep(4)  # nobody beats
    peers.news(now=True)
    assert study._storage.get_trial(asked._trial_id).state == TrialState.RUNNING


@pytest.mark.slow
def test_who_waits_for_a_baseline_that_never_comes_ends(study: optuna.Study) -> None:
    peers = Peers(study, SPACE, leads=False, is_led=lambda: False)
    with pytest.raises(loop.AutooptError, match="the search ended before it had measured the baseline"):
        run_search(searching(study, 2, peers))


def test_a_search_that_cannot_go_on_says_so_to_the_others(study: optuna.Study) -> None:
    def fail(draft: Draft, gate: Gate) -> list[Draft]:
        raise ValueError("a bug")

    with pytest.raises(loop.Bug):
        run_search(searching(study, 2, crew=Here(Acts(fail))))
    assert Session.join(study).first_trials == 0
    other = Peers(study, SPACE, leads=False)
    other.news(now=True)
    assert other.over


def test_who_conducts_does_the_baseline_and_no_more() -> None:
    assert Baseline(start(), measured=False).idle()
    assert not Baseline(start(), measured=True).idle()


def test_an_artifact_of_another_study_is_none_of_this_trial(tmp_path: Path) -> None:
    from autoopt.commands.keeper import Keeper
    from autoopt.core import artifact
    from autoopt.core.trial import Evaluation, Trial

    model = tmp_path / "m.onnx"
    model.write_bytes(b"of another study")
    artifact.write(tmp_path / "s" / "trials" / "0007", model, FP16, {"trial": 7}, {})
    keeper = Keeper(SimpleNamespace(store=None), SimpleNamespace(folder=tmp_path / "s", storage="x"))  # type: ignore
    missing: Callable[[Trial], str] = keeper.missing
    other = replace(FP16, quantization="int8_static")
    assert missing(Trial(7, "complete", FP16, Evaluation({}))) == ""
    assert missing(Trial(7, "complete", other, Evaluation({}))) == "is damaged or gone"
    assert missing(Trial(7, "complete", FP16, Evaluation({}, facts={"model_sha256": "0" * 64}))) == "is damaged or gone"
