"""A worker that writes the view of a study whose search is gone, while the database blinks."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from autoopt.commands import stand_in
from autoopt.commands.stand_in import StandIn

AWAY = OperationalError("select", {}, Exception("terminating connection"))


class Tracker:
    def __init__(self) -> None:
        self.words: list[Any] = []

    def finish(self, standing: Any, word: Any) -> None:
        self.words.append(word)


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    settings: Any = SimpleNamespace(tracker="mlflow", tracking_uri="http://there", kpis=())
    leader: Any = SimpleNamespace(is_taken=lambda: False)
    study: Any = None
    monkeypatch.setattr(stand_in, "LOOK_S", 0.0)
    monkeypatch.setattr(stand_in, "command_of", lambda study: "")
    monkeypatch.setattr(stand_in, "last_word", lambda outcome, files, command: "the last word")
    return StandIn(settings, study, leader, print)


def answers(*found: Any) -> Any:
    """One after the other; what is an exception is raised."""
    left = list(found)

    def answer(*words: Any) -> Any:
        now = left.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    return answer


def test_a_view_that_cannot_be_begun_now_is_begun_at_the_next_look(
    view: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker()
    monkeypatch.setattr(stand_in, "start_tracker", answers(AWAY, tracker))
    view.look()
    assert view._tracker is None
    view.look()
    assert view._tracker is tracker
    view._tracker = None
    monkeypatch.setattr(stand_in, "start_tracker", answers(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        view.look()


def test_the_last_word_is_said_when_the_database_is_back(view: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker()
    view._tracker = tracker  # type: ignore[assignment]
    monkeypatch.setattr(stand_in, "read_outcome", answers(AWAY, SimpleNamespace(standing=None)))
    with pytest.raises(OperationalError):
        view.finish()
    view.finish()
    view.finish()
    assert tracker.words == ["the last word"]
