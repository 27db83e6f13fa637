"""Aliases move as one, whatever is killed between two of them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from autoopt.core.user import user_at_host
from autoopt.tracking.registry import FORCED, MOVING, SHA256, STUDY, TRIAL, YOUNG_S, Busy, Registry, open_registry
from autoopt.tracking.store import default_uri


class Kill(BaseException):
    """Nothing of ours catches it."""


def save(target: Path, model: Model) -> None:
    target.mkdir()
    model.save(target / "MLmodel")
    (target / "weights").write_text(str(target))


def tags(trial: int) -> dict[str, str]:
    return {STUDY: "some-id", TRIAL: str(trial), SHA256: f"{trial:064d}", FORCED: "no"}


@pytest.fixture
def registry(outputs: Path) -> Iterator[Registry]:
    """With versions 1 to 4, of which 1 to 3 have an alias."""
    with open_registry(default_uri(outputs), "toy", outputs) as found:
        for trial in range(4):
            found.add("toy", outputs, tags(trial), f"trial {trial}", None, save)
        found.move({"backup": "1", "previous": "2", "champion": "3"}, {})
        yield found


def reopened(outputs: Path) -> dict[str, str]:
    with open_registry(default_uri(outputs), "toy", outputs) as found:
        return found.aliases()


BEFORE = {"backup": "1", "previous": "2", "champion": "3"}
MOVES = {
    "promote": {"backup": "1", "previous": "3", "champion": "4"},
    "rollback": {"previous": "3", "champion": "2"},
    "promote of a study with another teacher": {"backup": "2", "previous": "3", "champion": "4"},
}


@pytest.mark.parametrize("move", MOVES)
def test_a_kill_between_any_two_calls_leaves_all_or_nothing(
    move: str, registry: Registry, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = {**BEFORE, **MOVES[move]}
    registry.client.get_registered_model("toy")
    writers = ("set_registered_model_alias", "set_registered_model_tag", "delete_registered_model_tag")
    ends = []
    for calls in range(len(MOVES[move]) + 3):
        left = calls

        def counted(name: str) -> None:
            real = getattr(MlflowClient, name)

            def call(self: MlflowClient, *args: str) -> None:
                nonlocal left
                if left == 0:
                    raise Kill
                left -= 1
                real(self, *args)

            monkeypatch.setattr(MlflowClient, name, call)

        with monkeypatch.context():
            for name in writers:
                counted(name)
            try:
                registry.move(MOVES[move], BEFORE)
                killed = False
            except Kill:
                killed = True
        monkeypatch.undo()
        registry.settle()
        ends.append(registry.aliases())
        assert ends[-1] in ([BEFORE, after] if killed else [after])
        assert "autoopt.moving" not in registry.client.get_registered_model("toy").tags
        registry.move(BEFORE, registry.aliases())
    assert ends[0] == BEFORE
    assert ends[-1] == after


def test_an_alias_that_was_not_there_is_gone_after_a_kill(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_registry(default_uri(outputs), "toy", outputs) as registry:
        registry.add("toy", outputs, tags(0), "", None, save)
        real = MlflowClient.set_registered_model_alias

        def call(self: MlflowClient, name: str, alias: str, version: str) -> None:
            if alias == "champion":
                raise Kill
            real(self, name, alias, version)

        monkeypatch.setattr(MlflowClient, "set_registered_model_alias", call)
        with pytest.raises(Kill):
            registry.move({"backup": "1", "champion": "1"}, {})
        monkeypatch.undo()
        assert registry.aliases() == {"backup": "1"}
    assert reopened(outputs) == {}


def test_the_same_is_found_by_what_it_is(registry: Registry) -> None:
    found = registry.find(tags(2))
    assert found is not None
    assert int(found.version) == 3
    assert registry.find(tags(9)) is None
    assert registry.find({**tags(2), STUDY: "another-id"}) is None
    assert registry.find({**tags(2), FORCED: "yes"}) is None


def test_leftovers_of_a_kill_before_there_was_a_version_are_removed(registry: Registry, outputs: Path) -> None:
    def killed(target: Path, model: Model) -> None:
        raise Kill

    with pytest.raises(Kill):
        registry.add("toy", outputs, tags(5), "", None, killed)
    place = registry.client.get_experiment_by_name("toy").experiment_id
    before = {model.model_id for model in registry.client.search_logged_models([place])}
    assert len(before) == 5
    added = registry.add("toy", outputs, tags(5), "", None, save)
    assert len(registry.client.search_logged_models([place])) == 5
    assert int(added.version) == 5
    assert (registry.download("5", outputs / "copy") / "weights").is_file()


def test_where_there_is_no_model_there_are_no_aliases(outputs: Path) -> None:
    assert reopened(outputs) == {}


def test_what_another_name_has_registered_is_left_alone(registry: Registry, outputs: Path) -> None:
    """The same model under two names, and under one of them a version that is not written whole yet."""

    def not_yet(target: Path, model: Model) -> None:
        raise Kill

    with open_registry(default_uri(outputs), "other", outputs) as other:
        for _ in range(2):
            other.add("toy", outputs, tags(2), "", None, save)
        with pytest.raises(Kill):
            other.add("toy", outputs, tags(2), "", None, not_yet)
    registry.add("toy", outputs, tags(2), "", None, save)
    place = registry.client.get_experiment_by_name("toy").experiment_id
    found = registry.client.search_logged_models([place])
    alive = {model.artifact_location for model in found if model.status == "READY"}
    assert [model.name for model in found if model.status != "READY"] == ["other"]
    versions = [v for name in ("toy", "other") for v in registry.client.search_model_versions(f"name = '{name}'")]
    assert len(versions) == 7
    assert {version.source for version in versions} == alive


def note(registry: Registry, **more: Any) -> None:
    """As a move leaves it that began a second ago, of somebody else's."""
    noted = {"from": BEFORE, "to": {"previous": "3", "champion": "4"}, "by": "ann@far", "lock": "/far/lock"}
    noted |= {"at": time.time() - 1, "what": "promote"}
    registry.client.set_registered_model_tag("toy", MOVING, json.dumps({**noted, **more}))


def test_what_a_person_has_set_after_a_kill_stays(registry: Registry) -> None:
    note(registry, at=0)
    registry.client.set_registered_model_alias("toy", "champion", "1")
    assert registry.settle() is None
    assert registry.aliases() == {**BEFORE, "champion": "1"}
    assert MOVING not in registry.client.get_registered_model("toy").tags


def test_nobody_settles_what_another_may_still_be_moving(registry: Registry) -> None:
    note(registry)
    registry.client.set_registered_model_alias("toy", "previous", "3")
    with pytest.raises(Busy, match=r"ann@far moves the aliases of toy \(promote .*\): try again in a minute"):
        registry.settle()
    with pytest.raises(Busy, match="ann@far moves the aliases"):
        registry.move({"champion": "2"}, registry.aliases())
    assert registry.aliases() == {**BEFORE, "previous": "3"}
    note(registry, at=time.time() - YOUNG_S - 1)
    assert registry.settle() is None
    assert registry.aliases() == BEFORE


def test_a_move_of_ours_that_was_killed_is_settled_at_once(registry: Registry) -> None:
    note(registry, by=user_at_host(), lock=registry.lock)
    registry.client.set_registered_model_alias("toy", "previous", "3")
    assert registry.settle() is None
    assert registry.aliases() == BEFORE


def test_aliases_that_were_decided_on_must_be_there_still(registry: Registry) -> None:
    before = registry.aliases()
    registry.client.set_registered_model_alias("toy", "champion", "1")
    with pytest.raises(Busy, match="by now: look, then type the same again"):
        registry.move({"champion": "2", "previous": "3"}, before)
    assert registry.aliases() == {**BEFORE, "champion": "1"}


def test_of_two_that_begin_at_once_the_first_gives_way(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MlflowClient.set_registered_model_tag

    def both(self: MlflowClient, *args: str) -> None:
        monkeypatch.undo()
        real(self, *args)
        note(registry)

    monkeypatch.setattr(MlflowClient, "set_registered_model_tag", both)
    with pytest.raises(Busy, match="ann@far"):
        registry.move({"champion": "2", "previous": "3"}, BEFORE)
    assert registry.aliases() == BEFORE
