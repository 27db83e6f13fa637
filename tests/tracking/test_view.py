"""MLflow as a view: real stores in a folder of their own."""

import json
import multiprocessing
from pathlib import Path

import pytest

from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial
from autoopt.search.budget import Budget
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.rules import Rules
from autoopt.tracking.board import TAG
from autoopt.tracking.content import run_name
from autoopt.tracking.parent import without_links
from autoopt.tracking.store import default_uri, how_to_look, open_client
from autoopt.tracking.view import View
from tests.search.table import KPIS, begin, make_search
from tests.tracking.stores import (
    DATA,
    children,
    client_of,
    content,
    copy_store,
    last_word,
    open_view,
    parent,
    runs,
    search_table,
    stand,
    watched_by,
)


@pytest.fixture(scope="module")
def searched(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial], Standing]:
    """A search of 20 trials, some of which fail, watched by a view and finished."""
    outputs = copy_store(prepared, tmp_path_factory.mktemp("outputs"))
    view = open_view(outputs)
    trials = search_table(outputs / "table", watch=watched_by(view))
    view.sync(stand(trials), last_word(outputs))
    assert view.missing(stand(trials)) == []
    return outputs, trials, stand(trials)


def test_each_trial_is_one_child_of_the_one_parent(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, _ = searched
    client = client_of(outputs)
    experiment = client.get_experiment_by_name("toy")
    parents = client.search_runs([experiment.experiment_id], "tags.`autoopt.study` = 'table'")
    assert len(parents) == 1
    found = children(outputs)
    assert set(found) == {trial.number for trial in trials}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parents[0].info.run_id}


def test_params_are_the_recipe_and_metrics_the_measurements(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, _ = searched
    found = children(outputs)
    for trial in trials:
        run = found[trial.number]
        assert run.data.params == {name: str(value) for name, value in trial.recipe.to_dict().items()}
        if trial.state == FAILED:
            assert set(run.data.metrics) == {"seconds_total", "seconds_train"}
            continue
        metrics = run.data.metrics
        assert metrics["accuracy"] == trial.measurements["accuracy"].value
        assert metrics["latency_p95_ms_ratio"] == trial.measurements["latency_p95_ms"].ratio
        assert metrics["kpi_score"] == pytest.approx(trial.score(KPIS))
        assert metrics["seconds_train"] == 0.01
        assert metrics.get("epoch_quality") == (trial.evaluation.curve[-1] if trial.evaluation.curve else None)


def test_siblings_say_whose_weights_they_have_and_screened_trials_what_is_known(outputs: Path) -> None:
    study = begin(outputs / "table")
    view = open_view(outputs)
    run_search(make_search(study, rules=Rules(), budget=Budget(trials=15), watch=watched_by(view)))
    found = children(outputs)
    trials = read_trials(study)
    assert set(found) == {trial.number for trial in trials}
    for trial in trials:
        tags = found[trial.number].data.tags
        assert tags.get("autoopt.sibling_of") == (None if trial.sibling_of is None else str(trial.sibling_of))
        if trial.state == SCREENED:
            assert found[trial.number].data.metrics["latency_p95_ms"] == trial.measurements["latency_p95_ms"].value
            assert "kpi_score" not in found[trial.number].data.metrics
            assert tags["autoopt.reason"] == trial.reason
            assert found[trial.number].info.status == "KILLED"
    assert {trial.state for trial in trials} == {COMPLETE, SCREENED}


def test_learning_curves_have_an_epoch_axis(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, _ = searched
    trained = next(trial for trial in trials if trial.recipe.is_trained and trial.state != FAILED)
    run = children(outputs)[trained.number]
    history = client_of(outputs).get_metric_history(run.info.run_id, "epoch_quality")
    assert [(point.step, point.value) for point in history] == list(enumerate(trained.evaluation.curve, start=1))


def test_tags_say_state_feasible_pareto_and_rank(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, now = searched
    found = children(outputs)
    feasible = {trial.number for trial in now.feasible}
    rank = {trial.number: str(place) for place, trial in enumerate(now.front, start=1)}
    assert rank
    for trial in trials:
        tags = found[trial.number].data.tags
        assert tags["autoopt.state"] == trial.state
        assert tags["autoopt.feasible"] == ("true" if trial.number in feasible else "false")
        assert tags["autoopt.pareto"] == ("true" if trial.number in rank else "false")
        assert tags["autoopt.rank"] == rank.get(trial.number, "")
        assert found[trial.number].info.status == ("FAILED" if trial.state == FAILED else "FINISHED")
        assert tags["mlflow.runName"] == run_name(trial)


def test_a_failure_says_its_reason(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, _ = searched
    failed = next(trial for trial in trials if trial.state == FAILED)
    tags = children(outputs)[failed.number].data.tags
    assert tags["autoopt.reason"] == failed.reason
    assert failed.reason in tags["mlflow.note.content"]


def test_models_are_kept_of_the_front_only_cards_of_all(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, _, now = searched
    client = client_of(outputs)
    front = {trial.number for trial in now.front}
    for number, run in children(outputs).items():
        files = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {"card.json", "recipe.yaml"} <= files
        assert ("model.onnx" in files) == (number in front)


def test_the_parent_has_note_report_and_progress(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, now = searched
    client = client_of(outputs)
    top = parent(outputs)
    assert top.data.tags["mlflow.note.content"] == "# the note"
    assert (top.data.metrics["kpi_score"], top.data.metrics["accuracy"]) == (0.5, 0.9)
    assert top.data.tags["autoopt.champion"] == "3"
    assert top.info.status == "FINISHED"
    assert [item.path for item in client.list_artifacts(top.info.run_id)] == ["leaderboard.md", "report.html"]
    assert top.data.metrics["hypervolume"] == pytest.approx(now.hypervolume)
    history = client.get_metric_history(top.info.run_id, "trials")
    assert [(point.step, point.value) for point in history] == [(n, n) for n in range(1, len(trials) + 1)]
    assert Path(outputs / "mlartifacts" / "toy").is_dir()


def test_the_parent_says_who_where_on_which_data_and_against_which_bounds(
    searched: tuple[Path, list[Trial], Standing],
) -> None:
    top = parent(searched[0])
    assert {top.data.tags[key] for key in ("autoopt.owner", "mlflow.user")} == {"ann"}
    assert (top.data.tags["autoopt.machine"], top.data.tags["autoopt.task"]) == ("here", "toy")
    assert top.data.params["kpis.latency_p95_ms"] == "objective, max_ratio=0.5"
    (found,) = top.inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == (DATA.name, DATA.digest)
    assert json.loads(found.dataset.profile) == {"num_rows": 1000, "rows_train": 700, "rows_test": 300}
    assert {run.data.tags["mlflow.user"] for run in children(searched[0]).values()} == {"ann"}


def test_the_note_tells_how_it_stands_while_it_is_searched_and_its_numbers_are_links(
    searched: tuple[Path, list[Trial], Standing], outputs: Path
) -> None:
    _, trials, _ = searched
    open_view(outputs).sync(stand(trials[:3]))
    written = parent(outputs).data.tags["mlflow.note.content"]
    top, child = parent(outputs), children(outputs)[0]
    address = f"#/experiments/{top.info.experiment_id}/runs/{child.info.run_id}"
    assert written == f"so far 3, [0]\n[0]: {address}"


def test_a_note_that_is_edited_while_files_are_sent_stays(
    searched: tuple[Path, list[Trial], Standing], outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, now = searched
    view, send = open_view(outputs), View._log_file
    view.sync(now)

    def edited_meanwhile(self: View, run_id: str, path: Path) -> None:
        client_of(outputs).set_tag(parent(outputs).info.run_id, "mlflow.note.content", "mine")
        send(self, run_id, path)

    monkeypatch.setattr(View, "_log_file", edited_meanwhile)
    view.sync(now, last_word(outputs))
    assert parent(outputs).data.tags["mlflow.note.content"] == "mine"


def test_a_leaderboard_outside_of_mlflow_has_no_links() -> None:
    assert without_links("[7] won, see [trials]\n\n\\[8\\]\n\n![front.png]\n") == "7 won, see trials\n\n\\[8\\]\n"


def test_a_note_that_a_person_edited_stays_until_it_is_emptied(
    searched: tuple[Path, list[Trial], Standing], outputs: Path
) -> None:
    _, trials, now = searched
    note = "mlflow.note.content"
    open_view(outputs).sync(stand(trials[:3]))
    run_id, client = parent(outputs).info.run_id, client_of(outputs)
    client.set_tag(run_id, note, "mine")
    for _ in range(2):
        open_view(outputs).sync(now)
        open_view(outputs).sync(now, last_word(outputs))
        assert parent(outputs).data.tags[note] == "mine"
    assert Path(client.download_artifacts(run_id, "leaderboard.md")).read_text() == "# the note\n"
    client.set_tag(run_id, note, "")
    open_view(outputs).sync(now, last_word(outputs))
    assert parent(outputs).data.tags[note] == "# the note"


def test_the_views_that_the_ui_opens_on_name_what_is_there(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, now = searched
    experiment = client_of(outputs).get_experiment_by_name("toy")
    shown = {key: json.loads(state) for key, state in experiment.tags.items() if key.startswith(TAG)}
    assert len(shown) == 2
    top, best = parent(outputs), children(outputs)[now.feasible[0].number]
    for key, view in shown.items():
        listed = runs(outputs, view["searchFilter"])
        expected = [top.info.run_id] if "studies" in key else [t.number for t in trials if t.state == COMPLETE]
        assert len(listed) == len(expected)
        sample = top if "studies" in key else best
        there = {
            *(f"metrics.`{name}`" for name in sample.data.metrics),
            *(f"params.`{name}`" for name in sample.data.params),
            *(f"tags.`{name}`" for name in sample.data.tags),
        }
        assert set(view["selectedColumns"]) - {"tags.`autoopt.stopped_by`"} <= there


def test_what_the_search_shows_is_what_its_study_says(
    searched: tuple[Path, list[Trial], Standing], outputs: Path
) -> None:
    """It is told of trials as they end, not as they are read from the record later."""
    watched, _, now = searched
    open_view(outputs).sync(now, last_word(outputs))
    assert content(outputs) == content(watched)


def test_another_view_writes_nothing_twice(searched: tuple[Path, list[Trial], Standing]) -> None:
    outputs, trials, now = searched
    again = open_view(outputs)
    again.sync(now, last_word(outputs))
    assert again.written == set()
    assert again.removed == 0
    assert len(children(outputs)) == len(trials)


def test_how_to_look_keeps_a_password_to_itself() -> None:
    assert how_to_look("http://me:secret@host:5000/", "#/page") == "open http://me:***@host:5000/#/page"


def test_how_to_look_keeps_a_server_without_passwords_on_this_machine() -> None:
    assert how_to_look("sqlite:////a/mlflow.db", "#/page").startswith("mlflow ui --host 127.0.0.1 --backend-store-uri ")


def _open(outputs: Path) -> None:
    open_client(default_uri(outputs))


@pytest.mark.slow
def test_a_fresh_store_survives_four_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert client_of(tmp_path).search_experiments()
