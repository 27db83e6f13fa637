"""Writing the view beside the search: a thread, so that nobody ever waits for MLflow."""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import Timeout

from autoopt.core.errors import one_line
from autoopt.core.passwords import masked
from autoopt.core.standing import Standing
from autoopt.tracking.store import database, open_client
from autoopt.tracking.target import LastWord, Target, WriterLock

if TYPE_CHECKING:
    from autoopt.tracking.view import View

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 5.0, 120.0
CHECK_S = 180.0  # from one look at what MLflow holds to the next: runs may have been deleted there
LAST_WORD_S, LAST_WORD_RETRY_S, LONGEST_LAST_WORD_S = 1.0, 0.25, 60.0
OPENING_S, ANSWER_S = 60.0, 2.0  # a new SQLite file takes ten seconds; a server's first answer
LONGEST_TAKEN_S = 120.0  # that a write is held back because somebody measures
POLL_S = 0.05
LOCK_S = 2.0  # between two attempts to become the one that writes


class Closed(Exception):
    """The tracker was closed while its thread was writing."""


class Tracker:
    """Brings MLflow to the newest standing that it was told; no queue: what an outage kept out is found by comparing.

    `lock` is held while it lives: one writer a study. `say` gets a line where trouble begins and where it ends, from
    the thread. `is_taken` says whether somebody measures: nothing is written meanwhile.
    """

    def __init__(
        self,
        target: Target,
        lock: WriterLock,
        now: Standing,
        *,
        say: Callable[[str], None] = lambda line: None,
        is_taken: Callable[[], bool] = lambda: False,
    ) -> None:
        self._target, self._lock, self._say, self._is_taken = target, lock, say, is_taken
        self.how_to_look = ""
        """Known once MLflow was reached."""
        self._changed = threading.Condition()
        self._now = now
        self._word: LastWord | None = None
        self._view: View | None = None
        self._whole: frozenset[int] = frozenset()
        self._failures, self._next_at = 0, 0.0
        self._told, self._concluded, self._closed = True, False, False
        self._warm, self._patience_until = threading.Event(), time.monotonic() + OPENING_S
        threading.Thread(target=self._live, name="tracker", daemon=True).start()

    def wait_until_warm(self, longest_s: float = OPENING_S) -> None:
        """Importing mlflow and making a new local store work this process for seconds, whatever state MLflow is in: a
        measurement must not share them.
        """
        self._warm.wait(longest_s)

    def update(self, now: Standing) -> None:
        """Something has changed. Returns at once."""
        with self._changed:
            self._now, self._told = now, True
            self._changed.notify_all()

    def finish(self, now: Standing, word: LastWord) -> str:
        """The end of the search. Waits for MLflow while that makes progress, no longer than a second while it is in
        trouble, and a minute at the most. Returns in words what MLflow lacks, nothing where it has all.
        """
        began = time.monotonic()
        with self._changed:
            self._now, self._word, self._told, self._next_at = now, word, True, began
            self._changed.notify_all()
            while not self._concluded and time.monotonic() < self._patient_until(began):
                self._changed.wait(POLL_S)
        self.close()
        return "" if self._concluded else self._lacking(now)

    def close(self) -> None:
        """The thread ends after the call to MLflow that it is in. Returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _patient_until(self, began: float) -> float:
        return min(max(began + LAST_WORD_S, self._patience_until), began + LONGEST_LAST_WORD_S)

    def _lacking(self, now: Standing) -> str:
        view = self._view
        lacking = sum(trial.number not in (view.whole if view else self._whole) for trial in now.trials)
        return f"{lacking} trial{'s' if lacking > 1 else ''}" if lacking else "the note and the report"

    def _live(self) -> None:
        try:
            self._warm_up()
            self._take_lock()
            while self._wait():
                self._attempt()
        except Closed:
            log.info("closed before MLflow had all: autoopt sync writes the rest")
        except Exception:
            log.exception("the view is not written any more: autoopt sync writes the rest")
        finally:
            self._lock.release()

    def _warm_up(self) -> None:
        try:
            import autoopt.tracking.view  # noqa: F401  mlflow costs two seconds to import

            file = database(self._target.uri)
            if file and not file.is_file():
                open_client(self._target.uri)
        except Exception as error:  # the first attempt meets it again
            log.info("no warm start of MLflow: %s", masked(one_line(error)))
        finally:
            self._warm.set()

    def _take_lock(self) -> None:
        """`autoopt sync` may be at work: then this waits for it."""
        while True:
            if self._closed:
                raise Closed
            with suppress(Timeout):
                self._lock.acquire(timeout=0)
                return
            with self._changed:
                self._changed.wait_for(lambda: self._closed, LOCK_S)

    def _wait(self) -> bool:
        """Until there is something to do; False once it is closed."""
        with self._changed:
            while not self._closed and (left := self._next_at - time.monotonic()) > 0:
                if self._told and not self._failures:
                    break
                self._changed.wait(left)
            return not (self._closed or self._concluded)

    def _attempt(self) -> None:
        with self._changed:
            now, word, checks = self._now, self._word, not self._told
            self._told = False
        try:
            view = self._view = self._view or self._open()
            if checks:
                view.refresh()
            view.sync(now, word)
        except Closed:
            raise
        except Exception as error:  # whatever it is, the search goes on
            self._note_trouble(error)
        else:
            self._note_success(len(now.trials), word)

    def _open(self) -> "View":
        self._beat(OPENING_S if database(self._target.uri) else ANSWER_S, answered=False)
        from autoopt.tracking.view import View

        view = View.open(self._target, self._beat)
        self.how_to_look = view.how_to_look
        return view

    def _note_trouble(self, error: Exception) -> None:
        """The next attempt opens another view, which reads what is there: a call that failed may have been heard."""
        level = logging.DEBUG if self._failures else logging.WARNING
        log.log(level, "MLflow did not take all, which is tried again: %s", masked(one_line(error, 300)))
        log.debug("%s", masked(traceback.format_exc()))
        with self._changed:
            self._whole = frozenset(self._view.whole) if self._view else self._whole
            self._view, self._told, self._failures = None, True, self._failures + 1
            pause = min(FIRST_RETRY_S * 2 ** (self._failures - 1), LAST_RETRY_S)
            self._next_at = time.monotonic() + (LAST_WORD_RETRY_S if self._word else pause)
            self._patience_until = 0.0
        if self._failures == 1 and not self._word:
            self._say("warning: MLflow is not reachable, the study keeps everything; why is in search.log")

    def _note_success(self, trials: int, word: LastWord | None) -> None:
        with self._changed:
            self._whole = frozenset(self._view.whole) if self._view else self._whole
            was_down, self._failures, self._next_at = self._failures > 0, 0, time.monotonic() + CHECK_S
            self._concluded = word is not None
            self._changed.notify_all()
        if was_down:
            self._say(f"MLflow is back: it has all {trials} trials")

    def _beat(self, seconds: float, *, answered: bool = True) -> None:
        """Before a call, which may take so many seconds where all is well. Raises Closed."""
        end = time.monotonic() + LONGEST_TAKEN_S
        while self._is_taken() and not self._word and not self._closed and time.monotonic() < end:
            time.sleep(POLL_S)
        with self._changed:
            if self._closed:
                raise Closed
            # In trouble, only an MLflow that has answered in this attempt is waited for.
            self._patience_until = 0.0 if self._failures and not answered else time.monotonic() + seconds
