"""MLflow fails at any moment, with or without having done what it was asked: each trial is there once, and whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from autoopt.core.standing import Standing
from autoopt.core.trial import Trial
from autoopt.search.rules import Rules
from autoopt.tracking.view import View
from tests.tracking.stores import (
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
    target,
)

FAULTS_AT_MOST = 200


class Faulty:
    """A client whose n-th call fails: before it has an effect, or after."""

    def __init__(self, client: MlflowClient, n: int, *, landed: bool) -> None:
        self._client, self._left, self._landed = client, n, landed

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return getattr(self._client, name)(*args, **kwargs)
            if self._landed:
                getattr(self._client, name)(*args, **kwargs)
            raise MlflowException("the connection was lost")

        return call

    @property
    def failed(self) -> bool:
        return self._left <= 0


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    """Complete and failed ones, a sibling, some on the front."""
    rules = Rules(screens=False, bar=False)
    return search_table(tmp_path_factory.mktemp("study") / "table", trials=3, every=3, rules=rules)


@pytest.fixture(scope="module")
def shared(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_store(prepared, tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def untroubled(shared: Path, trials: list[Trial]) -> dict[str, Any]:
    write(shared, "untroubled", trials)
    return content(shared, "untroubled")


def write(outputs: Path, identity: str, trials: list[Trial]) -> None:
    """As a search does: some trials, then all, then the last word; after trouble another view goes on."""
    steps: list[tuple[Standing, Any]] = [(stand(trials[:2]), None), (stand(trials), last_word(outputs))]
    view = None
    while steps:
        try:
            view = view or View.open(target(outputs, identity))
            view.sync(*steps[0])
            steps.pop(0)
        except MlflowException:
            view = None


@pytest.mark.slow
@pytest.mark.parametrize("landed", [False, True])
def test_a_failure_at_any_call_leaves_each_trial_once_and_whole(
    landed: bool, shared: Path, trials: list[Trial], untroubled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(shared)
    for n in range(1, FAULTS_AT_MOST):
        faulty = Faulty(client, n, landed=landed)
        monkeypatch.setattr("autoopt.tracking.view.open_client", lambda uri, faulty=faulty: faulty)
        write(shared, f"{landed}-{n}", trials)
        if not faulty.failed:
            break
        assert content(shared, f"{landed}-{n}") == untroubled, f"after a failure of call {n}"
    assert 25 < n < FAULTS_AT_MOST - 1, "every call has failed once"


def test_a_run_that_came_late_is_removed(outputs: Path, trials: list[Trial]) -> None:
    write(outputs, "some-id", trials)
    before = content(outputs)
    kept = children(outputs)[1].info.run_id
    top = parent(outputs)
    of_parent = {key: top.data.tags[key] for key in ("autoopt.study", "autoopt.study_id")}
    for tags in (children(outputs)[1].data.tags, of_parent):  # their creation was held up on the way, and came to pass
        client_of(outputs).create_run(top.info.experiment_id, tags=tags, start_time=2**41)
    view = open_view(outputs)
    view.sync(stand(trials), last_word(outputs))
    assert view.removed == 2
    assert children(outputs)[1].info.run_id == kept
    assert content(outputs) == before


def test_what_was_deleted_comes_back(outputs: Path, trials: list[Trial]) -> None:
    write(outputs, "some-id", trials)
    before = content(outputs)
    client, found = client_of(outputs), children(outputs)
    client.delete_run(found[1].info.run_id)
    client.delete_run(parent(outputs).info.run_id)  # its children stay
    view = open_view(outputs)
    view.sync(stand(trials), last_word(outputs))
    assert view.written == {1}
    assert content(outputs) == before


def test_a_deleted_experiment_comes_back(outputs: Path, trials: list[Trial]) -> None:
    write(outputs, "some-id", trials)
    before = content(outputs)
    client = client_of(outputs)
    client.delete_run(children(outputs)[2].info.run_id)
    open_view(outputs).sync(stand(trials))  # there is a deleted run and its successor
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    write(outputs, "some-id", trials)
    assert content(outputs) == before


def test_a_store_that_was_removed_is_written_anew(outputs: Path, prepared: Path, trials: list[Trial]) -> None:
    view = open_view(outputs)
    view.sync(stand(trials[:2]))
    for file in outputs.glob("mlflow.db*"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="removed"):
        view.sync(stand(trials))
    copy_store(prepared, outputs)  # what opening one would make, but sooner
    again = open_view(outputs)
    again.sync(stand(trials), last_word(outputs))
    assert again.written == {trial.number for trial in trials}
    assert set(children(outputs)) == again.written


def test_rebuilt_is_as_written_first_and_other_studies_stay(outputs: Path, trials: list[Trial]) -> None:
    for identity in ("some-id", "other"):
        write(outputs, identity, trials)
    mine, other = content(outputs), {run.info.run_id for run in children(outputs, "other").values()}
    view = open_view(outputs)
    view.clear()
    assert runs(outputs, "tags.`autoopt.study_id` = 'some-id'") == []
    view.sync(stand(trials), last_word(outputs))
    assert (view.removed, view.written) == (len(trials) + 1, {trial.number for trial in trials})
    assert content(outputs) == mine
    assert {run.info.run_id for run in children(outputs, "other").values()} == other


def test_what_mlflow_refuses_keeps_no_other_trial_out(
    outputs: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MlflowClient.log_batch

    def picky(self: MlflowClient, run_id: str, *args: Any, **kwargs: Any) -> Any:
        if self.get_run(run_id).data.tags.get("autoopt.trial") == "1":
            raise MlflowException.invalid_parameter_value("no such name")
        return real(self, run_id, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", picky)
    view = open_view(outputs)
    with pytest.raises(MlflowException):
        view.sync(stand(trials))
    assert view.missing(stand(trials)) == [1]


def test_a_server_that_is_too_old_for_the_comforts_gets_the_trials(
    outputs: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise MlflowException("API not found", ENDPOINT_NOT_FOUND)

    for name in ("log_inputs", "set_experiment_tag"):
        monkeypatch.setattr(MlflowClient, name, refuse)
    write(outputs, "some-id", trials)
    assert set(children(outputs)) == {trial.number for trial in trials}
    assert parent(outputs).info.status == "FINISHED"


def test_a_study_that_is_searched_on_is_running_again(outputs: Path, trials: list[Trial]) -> None:
    write(outputs, "some-id", trials[:2])
    assert parent(outputs).info.status == "FINISHED"
    view = open_view(outputs)
    view.sync(stand(trials[:2]))
    assert parent(outputs).info.status == "RUNNING"
    view.sync(stand(trials), last_word(outputs))
    assert parent(outputs).info.status == "FINISHED"


def test_a_users_note_on_a_trial_stays(outputs: Path, trials: list[Trial]) -> None:
    write(outputs, "some-id", trials)
    run_id = children(outputs)[1].info.run_id
    client_of(outputs).set_tag(run_id, "mlflow.note.content", "the one I like")
    write(outputs, "some-id", trials)
    assert children(outputs)[1].data.tags["mlflow.note.content"] == "the one I like"
