"""What a search is made of."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import optuna

from autoopt.core.kpi import Kpi
from autoopt.core.left import Left
from autoopt.core.recipe import Recipe
from autoopt.core.space import Space
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial
from autoopt.search.budget import Budget
from autoopt.search.crew import Crew
from autoopt.search.limits import Limits
from autoopt.search.peers import Peers
from autoopt.search.rules import Rules


@dataclass(frozen=True)
class Watch:
    """Told about the search as it goes: the live display, the tracker, the house-keeping of artifacts."""

    on_start: Callable[[int, Recipe], None] = lambda number, recipe: None
    on_stage: Callable[[int, str], None] = lambda number, stage: None
    """Number of the trial, the stage that it begins."""
    on_epoch: Callable[[int, int, float], None] = lambda number, epoch, quality: None
    """Number of the trial, epoch from 1, quality."""
    before_record: Callable[[Trial, Standing], None] = lambda trial, standing: None
    """Before the study knows of the trial: what the record will refer to has to be there."""
    on_end: Callable[[Trial, Standing], None] = lambda trial, standing: None
    on_free: Callable[[int], None] = lambda number: None
    """A trial and all its siblings are on record."""
    on_news: Callable[[Sequence[Trial], Standing], None] = lambda trials, standing: None
    """Trials that other processes have ended."""
    on_wait: Callable[[str], None] = lambda reason: None
    """The search waits, for what the reason says; '' where it goes on."""
    on_turn: Callable[[Left], None] = lambda left: None
    """A few times a second."""


@dataclass(frozen=True)
class Search:
    """A study and what it is searched with."""

    study: optuna.Study
    space: Space
    kpis: tuple[Kpi, ...]
    crew: Crew
    budget: Budget
    first: Sequence[Recipe]
    """Asked before the sampler has a say; those outside of the space are left out."""
    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)
    watch: Watch = field(default_factory=Watch)
    should_stop: Callable[[], bool] = lambda: False
    has_room: Callable[[Standing], bool] = lambda standing: True
    """Whether the disk has room for one more trial."""
    at_work: Callable[[], AbstractContextManager[None]] = nullcontext
    """Around what the search itself does: nobody measures meanwhile."""
    again: Collection[Recipe] = ()
    """Recipes on record whose artifacts are gone: they are evaluated once more, as trials of their own."""
    measures: bool = True
    """False: artifacts made here are handed over to the machine that measures, through the peers."""
    peers: Peers | None = None
    """Where other processes may search the same study."""
    left: Collection[int] = ()
    """Numbers of trials whose weights an earlier session left behind: their siblings may be made up for."""
