"""The view of a study whose search is gone: a worker writes it, until a search is back."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from optuna import Study

from autoopt.commands.conclude import read_outcome
from autoopt.commands.origin import command_of
from autoopt.commands.tracking import last_word, start_tracker
from autoopt.config import Settings
from autoopt.core.standing import Standing
from autoopt.search.lock import DatabaseLock
from autoopt.search.patience import passing
from autoopt.tracking.tracker import Tracker

LOOK_S = 10.0  # between two looks whether a search is there

log = logging.getLogger(__name__)


@dataclass
class StandIn:
    """`leader`: the lock that a search holds. An MLflow that is a file is the search's own, and not written to."""

    settings: Settings
    study: Study
    leader: DatabaseLock
    say: Callable[[str], None]
    _tracker: Tracker | None = None
    _looked_at: float = 0.0

    def update(self, now: Standing) -> None:
        if self._tracker is not None:
            self._tracker.update(now)

    def look(self) -> None:
        """Called a few times a second."""
        if time.monotonic() - self._looked_at < LOOK_S or not self._reaches_mlflow():
            return
        self._looked_at = time.monotonic()
        try:
            led = self.leader.is_taken()
            if led and self._tracker is not None:
                self._tracker.close()
                self._tracker = None
            elif not led and self._tracker is None:
                log.info("the search is gone: MLflow is written from here")
                self._tracker = start_tracker(self.settings, self.study, self.say)
        except Exception as error:
            if passing(error) is None:
                raise
            log.info("%s: the next look", passing(error))

    def finish(self) -> None:
        """The last word, where no search will say it."""
        if self._tracker is not None:
            outcome = read_outcome(self.settings, self.study, self.settings.kpis)  # may raise: it is asked again then
            tracker, self._tracker = self._tracker, None
            tracker.finish(outcome.standing, last_word(outcome, [], command_of(self.study)))

    def _reaches_mlflow(self) -> bool:
        return self.settings.tracker != "none" and str(self.settings.tracking_uri).startswith("http")
