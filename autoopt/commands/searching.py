"""What `search` and `worker` have in common: a study, searched with the means of this machine."""

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Protocol

import optuna

from autoopt.artifacts.outbox import Outbox
from autoopt.artifacts.trouble import StoreError
from autoopt.commands.acts import UNSENT, limited, make_acts, start_worker
from autoopt.commands.conclude import read_outcome
from autoopt.commands.first import first_recipes
from autoopt.commands.keeper import Keeper
from autoopt.commands.stop import StopSignal
from autoopt.commands.unlike import MACHINE, provider_of
from autoopt.config import Settings
from autoopt.core.errors import AutooptError
from autoopt.core.left import Left
from autoopt.core.memory import machine_gb
from autoopt.core.recipe import Recipe
from autoopt.core.space import Space, trains
from autoopt.core.standing import Standing
from autoopt.core.trial import FAILED, Trial
from autoopt.pipeline import Bench
from autoopt.report.live import Display
from autoopt.search.crew import Baseline, Here, Hired
from autoopt.search.engines import Local, Place, Slurm, row_of
from autoopt.search.limits import Limits
from autoopt.search.loop import run_search
from autoopt.search.peers import Peers
from autoopt.search.search import Search, Watch
from autoopt.search.study import FINGERPRINT

BRIEFLY_S = 2.0  # that the search waits for who measures: it has signals and limits to look after
MEMORY_SHARE = 0.9  # of the machine's, for all workers together

log = logging.getLogger(__name__)


class Told(Protocol):
    """Who hears of each standing: a tracker, or who stands in for one."""

    def update(self, now: Standing) -> None: ...


def hired(settings: Settings, say: Callable[[str], None]) -> AbstractContextManager[Hired | None]:
    """The workers, who import what they need while the search prepares; None where they come by themselves, or trials
    run in this process.
    """
    hire = row_of(settings.engine).hire
    if not settings.workers or hire is None:
        return nullcontext()
    shared = settings.raw["artifacts"]["uri"]
    place = Place(settings.folder, "autoopt.commands.acts", settings.worker_threads, shared, say)
    return hire(settings.engine, settings.workers, place)


def begin_work(workers: Hired | None, settings: Settings, study: optuna.Study) -> None:
    """Have the workers make what trials are done with; what they need not know, the storage, they are not told. Raises
    AutooptError where they cannot.
    """
    if workers:
        raw = {**settings.raw, "outputs": str(settings.outputs), "storage": None}
        raw["runtime"] = {**raw["runtime"], "provider": provider_of(study)}
        begun = {**study.user_attrs[FINGERPRINT], "machine": study.user_attrs[MACHINE]}
        workers.open(partial(start_worker, raw, settings.worker_threads, begun))


def conducts(settings: Settings) -> bool:
    """Whether the search measures the baseline, and leaves all else to the jobs that it submits."""
    return isinstance(settings.engine, Slurm) and settings.measure_host is None


def search_on(
    settings: Settings,
    study: optuna.Study,
    space: Space,
    bench: Bench,
    *,
    workers: Hired | None,
    display: Display,
    tracker: Told | None,
    stop: StopSignal,
    peers: Peers | None,
    looks: Sequence[Callable[[], None]],
) -> Keeper:
    """Search until the budget is spent, or whatever ends it; returns what keeps the artifacts. `looks` are called a few
    times a second.
    """
    keeper = Keeper(bench, settings)
    before = read_outcome(settings, study, settings.kpis).standing
    display.on_resume(before)
    here = limited(
        make_acts(bench, keeper.work, settings.host, measures=settings.measures),
        partial(stop.abandoned_after, settings.limits.grace_s),
    )
    job = Search(
        study=study,
        space=space,
        kpis=settings.kpis,
        crew=workers or (Baseline(here, measured=bool(before.trials)) if conducts(settings) else Here(here)),
        budget=settings.budget,
        first=first_recipes(space) if settings.rules.warm_start else (),
        rules=settings.rules if trains(space) else replace(settings.rules, screens=False, bar=False),
        limits=_limits(settings),
        watch=_watch(display, keeper, tracker, looks),
        should_stop=lambda: bool(stop) or (peers is not None and peers.over),
        has_room=keeper.has_room,
        at_work=lambda: bench.quiet.working(BRIEFLY_S),
        again=keeper.damaged(before) if peers is None or peers.leads else (),
        left=() if conducts(settings) else keeper.left(),
        peers=peers,
        measures=settings.measures,
    )
    with display:
        try:
            run_search(job)
        except AutooptError as error:
            log.error("%s", error)
            raise
    if workers:
        workers.close()
    if bench.store is not None:
        _send_the_rest(Outbox(bench.store, settings.folder / UNSENT), display.say)
    if not keeper.left():  # else it serves siblings that the stop, or the deadline, has cost
        shutil.rmtree(keeper.work, ignore_errors=True)
    return keeper


def _send_the_rest(outbox: Outbox, say: Callable[[str], None]) -> None:
    """Models that the store did not take when they were made."""
    try:
        outbox.flush()
    except StoreError as error:
        log.warning("not all models could be shared: %s", error)
        say(f"warning: models wait in {outbox.folder} for artifacts.uri, which is away: the same command sends them")


def _limits(settings: Settings) -> Limits:
    """With a share of the machine's memory where none is given: a trial is ended before the system ends the search.
    Workers elsewhere do not share this machine's: Ray and Slurm look after theirs.
    """
    if not isinstance(settings.engine, Local):
        return settings.limits
    share = MEMORY_SHARE * machine_gb() / max(1, settings.workers)
    return settings.limits if settings.limits.trial_gb else replace(settings.limits, trial_gb=share)


def _watch(display: Display, keeper: Keeper, tracker: Told | None, looks: Sequence[Callable[[], None]]) -> Watch:
    def on_start(number: int, recipe: Recipe) -> None:
        display.on_start(number, recipe)
        keeper.on_start(number, recipe)

    def tell(trial: Trial, standing: Standing) -> None:
        log.log(logging.WARNING if trial.state == FAILED else logging.INFO, "trial%s", display.on_end(trial, standing))
        keeper.on_end()

    def on_end(trial: Trial, standing: Standing) -> None:
        tell(trial, standing)
        if tracker is not None:
            tracker.update(standing)
        keeper.make_room(standing)

    def on_news(trials: Sequence[Trial], standing: Standing) -> None:
        for trial in trials:
            tell(trial, standing)
        if tracker is not None:
            tracker.update(standing)

    def on_free(number: int) -> None:
        display.on_free(number)
        keeper.on_free(number)

    def on_turn(left: Left) -> None:
        display.on_turn(left)
        keeper.on_turn()
        for look in looks:
            look()

    return Watch(
        on_start=on_start,
        on_stage=display.on_stage,
        on_epoch=display.on_epoch,
        before_record=keeper.keep,
        on_end=on_end,
        on_free=on_free,
        on_news=on_news,
        on_wait=display.on_wait,
        on_turn=on_turn,
    )
