"""What a search is made of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import optuna

from autoopt.core.kpi import Kpi
from autoopt.core.recipe import Recipe
from autoopt.core.space import Space
from autoopt.core.standing import Standing
from autoopt.core.trial import Draft, Trial
from autoopt.search.budget import Budget
from autoopt.search.rules import Rules
from autoopt.search.screening import Gate

Evaluate = Callable[[Draft, Gate], Iterable[Draft]]
MakeUp = Callable[[Trial, Sequence[Recipe]], Iterable[Draft]]


@dataclass(frozen=True)
class Watch:
    """Told about the search as it goes: the live display, the tracker, the house-keeping of artifacts."""

    on_start: Callable[[int, Recipe], None] = lambda number, recipe: None
    before_record: Callable[[Trial, Standing], None] = lambda trial, standing: None
    """Before the study knows of the trial: what the record will refer to has to be there."""
    on_end: Callable[[Trial, Standing], None] = lambda trial, standing: None


@dataclass(frozen=True)
class Search:
    """A study and what it is searched with.

    `evaluate(draft, gate)` fills the draft, shows the gate what it finds, and returns the drafts of the siblings, which
    it may make one by one. It raises TrialError where a recipe fails; where only the draft's own scheme does, or a
    sibling's, the draft says so in `error`. `make_up(trial, recipes)` returns siblings of an earlier trial that a stop
    cost, as far as its weights are still there.
    """

    study: optuna.Study
    space: Space
    kpis: tuple[Kpi, ...]
    evaluate: Evaluate
    budget: Budget
    first: Sequence[Recipe]
    """Asked before the sampler has a say; those outside of the space are left out."""
    make_up: MakeUp = lambda trial, recipes: ()
    rules: Rules = field(default_factory=Rules)
    watch: Watch = field(default_factory=Watch)
    should_stop: Callable[[], bool] = lambda: False
