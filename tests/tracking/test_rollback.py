"""autoopt rollback through the command line: what it says is true, whatever answer of MLflow's is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from autoopt.champion.serving import CONTENT
from autoopt.cli import main
from autoopt.commands.aliases import of_registry
from autoopt.core import artifact
from autoopt.core.recipe import BASELINE
from autoopt.tracking.registry import MOVING, STUDY, open_registry
from autoopt.tracking.store import default_uri
from tests.tracking.test_registry import BEFORE, Kill, tags

SWAPPED = {"backup": "1", "previous": "3", "champion": "2"}


@pytest.fixture
def shipped(outputs: Path) -> Path:
    """Outputs with a registered model of three versions whose files are whole."""
    (outputs / "weights").write_text("some")

    def save(target: Path, model: Model) -> None:
        target.mkdir()
        model.save(target / "MLmodel")
        artifact.write(target / "data" / CONTENT, outputs / "weights", BASELINE, {"trial": 0})

    with open_registry(default_uri(outputs), "toy", outputs) as registry:
        for trial in range(3):
            registry.add("toy", outputs, tags(trial), f"trial {trial}", None, save)
        registry.move(BEFORE, {})
    return outputs


def rollback(outputs: Path) -> int:
    return main(["rollback", "registry.model=toy", f"outputs={outputs}"])


def aliases(outputs: Path) -> tuple[dict[str, str], bool]:
    """They, and whether a move is noted."""
    found = MlflowClient(default_uri(outputs), default_uri(outputs)).get_registered_model("toy")
    return {alias: str(version) for alias, version in found.aliases.items()}, MOVING in found.tags


def failing(name: str, error: BaseException, *, done: bool, when: Callable[..., bool] = lambda *args: True) -> Callable:
    """A method of MLflow's client that raises, after it was `done` or without that."""
    real = getattr(MlflowClient, name)

    def call(self: MlflowClient, *args: str) -> object:
        if not when(*args):
            return real(self, *args)
        if done:
            real(self, *args)
        raise error

    return call


LOST = MlflowException("the answer was lost")


def test_what_has_moved_is_told_as_moved_though_the_last_answer_was_lost(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "delete_registered_model_tag"
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, name, failing(name, LOST, done=True))
        assert rollback(shipped) == 0
    out = capsys.readouterr().out
    assert "MLflow ended with an error (the answer was lost…), but the aliases have moved" in out
    assert json.loads(out.splitlines()[-1])["aliases"] == SWAPPED
    assert aliases(shipped) == (SWAPPED, False)


def test_what_has_not_moved_is_told_as_such_and_the_same_again_moves_it(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "set_registered_model_alias"
    with monkeypatch.context() as patch:
        of_the_champion = failing(name, LOST, done=False, when=lambda _, alias, to: (alias, to) == ("champion", "2"))
        patch.setattr(MlflowClient, name, of_the_champion)
        assert rollback(shipped) == 1
    err = capsys.readouterr().err
    assert "did not move the aliases (the answer was lost…): models:/toy@champion is version 3. Is it up at" in err
    assert aliases(shipped) == (BEFORE, False)
    assert rollback(shipped) == 0
    assert aliases(shipped) == (SWAPPED, False)


def test_where_nobody_can_tell_one_is_told_to_look_first(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = False

    def cut(self: MlflowClient, *args: str) -> None:
        nonlocal gone
        gone = True
        raise LOST

    with monkeypatch.context() as patch:
        name = "get_registered_model"
        patch.setattr(MlflowClient, name, failing(name, LOST, done=False, when=lambda *args: gone))
        patch.setattr(MlflowClient, "delete_registered_model_tag", cut)
        assert rollback(shipped) == 1
    err = capsys.readouterr().err
    assert "whether models:/toy@champion is version 2 by now or 3 as before is not known: look first, by" in err
    assert "get_registered_model" in err
    assert "the same again" not in err
    assert aliases(shipped) == (SWAPPED, True)


@pytest.mark.parametrize("name", ["delete_registered_model_tag", "set_registered_model_alias"])
@pytest.mark.parametrize("done", [False, True])
def test_the_same_again_finishes_what_a_kill_cut_short_and_swaps_once(
    name: str, done: bool, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, name, failing(name, Kill(), done=done, when=lambda *args: "previous" not in args))
        with pytest.raises(Kill):
            rollback(shipped)
    known = aliases(shipped)[1]
    if known:
        assert rollback(shipped) == 0
    assert aliases(shipped) == (SWAPPED, False)
    assert known != (name.startswith("delete") and done), "after the last call there is nothing to be finished"
    out = capsys.readouterr().out
    assert ("a rollback was cut short" in out) == (known and (done or name.startswith("delete")))
    assert rollback(shipped) == 0
    assert aliases(shipped) == (BEFORE, False)


def test_an_mlflow_that_is_down_moves_nothing(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollback", "task=digits", f"outputs={shipped}", "tracking.uri=http://me:secret@127.0.0.1:9"]) == 1
    err = capsys.readouterr().err
    assert "and what it serves is as it was" in err
    assert "secret" not in err


def test_an_address_with_a_space_is_one_word_of_the_shell() -> None:
    assert of_registry("sqlite:////my outputs/mlflow.db") == "MLFLOW_TRACKING_URI='sqlite:////my outputs/mlflow.db'"


def test_the_backup_is_of_the_study_that_is_served(shipped: Path) -> None:
    """Another study has taken over, and its baseline is the backup: both go back."""

    def save(target: Path, model: Model) -> None:
        target.mkdir()
        model.save(target / "MLmodel")
        artifact.write(target / "data" / CONTENT, shipped / "weights", BASELINE, {"trial": 0})

    with open_registry(default_uri(shipped), "toy", shipped) as registry:
        for trial in (0, 7):
            registry.add("toy", shipped, {**tags(trial), STUDY: "another"}, f"trial {trial}", None, save)
        registry.move({"backup": "4", "previous": BEFORE["champion"], "champion": "5"}, registry.aliases())
    assert rollback(shipped) == 0
    assert aliases(shipped)[0] == {"backup": "1", "previous": "5", "champion": BEFORE["champion"]}
    assert rollback(shipped) == 0
    assert aliases(shipped)[0] == {"backup": "4", "previous": BEFORE["champion"], "champion": "5"}
