"""autoopt worker: one more process, on this or another machine, that searches a study which a search has begun."""

import json
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count

from optuna import Study

from autoopt.commands.bench import bench_as_begun, load_task, narrow
from autoopt.commands.logs import log_to
from autoopt.commands.saved import tracking_address
from autoopt.commands.searching import begin_work, hired, search_on
from autoopt.commands.stand_in import StandIn
from autoopt.commands.stop import StopSignal
from autoopt.commands.unlike import MACHINE, check_machine, provider_of
from autoopt.compose import compose_config, with_local
from autoopt.config import Settings, parse_settings
from autoopt.config_sections import WORKERS
from autoopt.core.errors import ConfigError, Interrupted
from autoopt.core.passwords import masked
from autoopt.core.trial import HOST, MADE_ON
from autoopt.pipeline import Bench
from autoopt.report.live import Display
from autoopt.runtimes.providers import CPU
from autoopt.search.lock import lock_folder, search_lock
from autoopt.search.patience import waited_out
from autoopt.search.peers import Peers
from autoopt.search.record import read_trials
from autoopt.search.samplers import make_sampler
from autoopt.search.session import last_ended
from autoopt.search.storage import has_begun
from autoopt.search.study import CONFIGURATION, FINGERPRINT, READY, check_same, load_study
from autoopt.tasks import Task

LONGEST_S, ENDED_S = 600.0, 60.0  # that it waits for a search to begin: the first of a study, and the next one
LOOK_S = 1.0
LOCAL = ("study", "outputs", "storage", "host", "workers", "threads", "device", "limits", "engine")
"""Sections that are this machine's own; all else is the study's."""

log = logging.getLogger(__name__)


def worker(settings: Settings, *, local: Sequence[str]) -> int:
    """Search a study that another process leads, until that has ended or the budget is spent. `local`: overrides of
    keys that differ on this machine, such as task.path. Prints one JSON document.
    """
    if settings.storage is None:
        raise ConfigError(
            "worker joins a search by its database: type storage=postgresql+psycopg://… as autoopt search has it"
        )
    display = Display(settings.study, settings.kpis)
    with ExitStack() as closing:
        stop = closing.enter_context(StopSignal())
        try:
            with stop.abandoned_after(0):
                study = _when_ready(settings, display)
                if study is None:
                    return 0
                settings = as_joined(settings, study, local)
                settings = closing.enter_context(in_own_folder(settings))
                log_to(settings.folder / "search.log")
                display = Display(settings.study, settings.kpis)
                display.say(f"worker of study {settings.study} on {settings.host}, in {settings.folder}")
                workers = closing.enter_context(hired(settings, display.say))
                task, bench = _prepare(settings, study)
                begin_work(workers, settings, study)
        except Interrupted:
            display.say("stopped before it had joined")
            return stop.exit_code
        space = narrow(settings, task)
        study.sampler = make_sampler(settings.sampler, _seed(), settings.sampler_options)
        leader = search_lock(settings.study, str(settings.storage))
        peers = Peers(study, space, settings.host, leads=False, is_led=leader.is_taken)
        view = StandIn(settings, study, leader, display.say)
        search_on(
            *(settings, study, space, bench),
            workers=workers,
            display=display,
            tracker=view,
            stop=stop,
            peers=peers,
            looks=[view.look],
        )
        waited_out(view.finish, stop)
        waited_out(lambda: _tell(settings, study, display), stop)
        return stop.exit_code


def as_joined(settings: Settings, study: Study, local: Sequence[str]) -> Settings:
    """The study's configuration with what is this machine's own. Raises ConfigError."""
    own = {key: settings.raw[key] for key in LOCAL}
    raw = with_local({**compose_config([]), **study.user_attrs[CONFIGURATION], **own}, local)
    if settings.store is not None:
        raw["artifacts"] = settings.raw["artifacts"]
    only_trains = raw["measure"]["host"] not in (None, settings.host)
    raw["runtime"]["provider"] = CPU if only_trains else provider_of(study)
    joined = parse_settings(raw)
    if joined.store is None:
        raise ConfigError(
            f"study {joined.study!r} has no place for artifacts that all its machines see: type autoopt search … "
            "artifacts.uri=FOLDER, or s3://BUCKET/PREFIX; then workers may join"
        )
    joined.store.check()
    if settings.tracker == "none":
        return replace(joined, tracker="none")
    return replace(joined, tracking_uri=tracking_address(settings.tracking_uri, joined.tracking_uri))


def _when_ready(settings: Settings, display: Display) -> Study | None:
    """Waits for a search that goes on; None where it has ended before. Raises ConfigError where there never was one."""
    has_begun(settings.folder, settings.study, settings.storage)  # raises where the database does not answer
    began, told = time.monotonic(), False
    while True:
        study = _begun(settings)
        if study is not None:
            ended = last_ended(study).stopped_by
            if study.user_attrs.get(READY) and ended is None:
                return study
            if ended is not None and time.monotonic() - began > ENDED_S:
                display.say(f"the search of study {settings.study} has ended ({ended}) before this worker joined")
                return None
        where = f"study {settings.study!r} in storage={masked(str(settings.storage))}"
        if not told:
            told = True
            state = "there is none yet" if study is None else f"its last one has ended ({last_ended(study).stopped_by})"
            display.say(f"no search of {where} goes on, {state}: waiting for one to begin; Ctrl-C ends this")
        if time.monotonic() - began > LONGEST_S:
            raise ConfigError(
                f"no search of {where} began in {LONGEST_S / 60:g} minutes: type autoopt search study={settings.study} "
                "storage=…"
            )
        time.sleep(LOOK_S)


def _begun(settings: Settings) -> Study | None:
    """None where there is no such study yet, or only its name."""
    with suppress(ConfigError):  # that it does not answer was told before
        if has_begun(settings.folder, settings.study, settings.storage):
            return load_study(settings.folder, settings.study, settings.storage)
    return None


@contextmanager
def in_own_folder(settings: Settings) -> Iterator[Settings]:
    """outputs/workers/HOST-N, which no other process uses meanwhile: it finds its own work there again."""
    for number in count(1):
        found = replace(settings, outputs=settings.outputs / WORKERS / f"{settings.host}-{number}")
        found = replace(found, raw={**settings.raw, "outputs": str(found.outputs)})
        try:
            lock = lock_folder(found.folder)
        except ConfigError:
            continue
        with lock:
            yield found
            return


def _prepare(settings: Settings, study: Study) -> tuple[Task, Bench]:
    """Raises ConfigError where data or teacher are others here, or the machine may not measure for the study."""
    from autoopt.commands.search import fingerprint

    task = load_task(settings)
    begun = study.user_attrs[FINGERPRINT]

    def accept(weights: str) -> None:
        here = fingerprint(settings, task, weights)
        check_same(settings.study, begun, here if settings.measures else {**here, "runtime": begun["runtime"]})

    bench = bench_as_begun(settings, task, accept)
    check_machine(settings, study.user_attrs[MACHINE], bench)
    return task, bench


def _seed() -> int:
    """Another one than any other process's: two samplers of one seed would propose the same."""
    return secrets.randbits(30)


def _tell(settings: Settings, study: Study, display: Display) -> None:
    ended = last_ended(study).stopped_by
    facts = [trial.evaluation.facts for trial in read_trials(study) if trial.evaluation]
    done = [each for each in facts if each.get(MADE_ON, each.get(HOST)) == settings.host]
    why = f"the search has ended ({ended})" if ended else "nothing is left to do here"
    display.say(f"{why}: trials of study {settings.study} that were made on {settings.host}: {len(done)}")
    print(json.dumps({"study": settings.study, "host": settings.host, "trials": len(done)}), flush=True)
