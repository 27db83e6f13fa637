"""A trial: one recipe evaluated in a study, as it stands in the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoopt.core.clock import StageClock
from autoopt.core.kpi import Kpi, Measurement, Measurements, kpi_score, mean_gain, violations
from autoopt.core.recipe import Recipe

COMPLETE, SCREENED, FAILED = "complete", "screened", "failed"
DIED = "died"
"""Among the facts of a trial whose process died: how."""
WITH_SEARCH = "with the search"
HOST, CPU, MADE_ON = "host", "cpu", "made_on"
"""Among the facts of a trial: the machine that measured it, by name and by kind, and the one that made it where that is
another.
"""


@dataclass(frozen=True)
class Evaluation:
    """What building and measuring a recipe gave; of a screened or failed trial what was known by then."""

    measurements: Measurements
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds by stage of the trial."""
    curve: tuple[float, ...] = ()
    """Quality on validation after each epoch, of the module before export."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen or found on the way: parity, quantizer settings, layers removed. Plain JSON values."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "measurements": {name: m.to_list() for name, m in self.measurements.items()},
            "seconds": dict(self.seconds),
            "curve": list(self.curve),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Evaluation":
        measurements = {name: Measurement.from_list(numbers) for name, numbers in raw["measurements"].items()}
        return cls(measurements, raw["seconds"], tuple(raw["curve"]), raw["facts"])


@dataclass
class Draft:
    """A trial while it runs. It is filled stage by stage, so that whatever ends it, what was known is recorded."""

    recipe: Recipe
    siblings: tuple[Recipe, ...] = ()
    """Recipes that differ in the quantization scheme and the runtime alone: the same weights serve them."""
    clock: StageClock = field(default_factory=StageClock)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    """What ended it, where it came to nothing after its weights were there: its siblings are spared."""

    def evaluation(self) -> Evaluation:
        return Evaluation(dict(self.measurements), dict(self.clock.seconds), tuple(self.curve), dict(self.facts))


@dataclass(frozen=True)
class Trial:
    """`reason` says why a trial was screened or failed; trace is for people. `sibling_of` is the number of the trial
    that trained its weights.
    """

    number: int
    state: str
    recipe: Recipe
    evaluation: Evaluation | None = None
    reason: str = ""
    trace: str = ""
    ended_at_s: float = 0.0
    """Search seconds since the study began, at the trial's end."""
    sibling_of: int | None = None
    again: bool = False
    """It failed by what came from outside, and its recipe is asked again: it says nothing about the recipe."""
    ended_unix_s: float = 0.0
    """Its end on the wall clock, in seconds since 1970; in the record, so that who reads it later reads the same."""

    @property
    def killed_worker(self) -> bool:
        """Whether its process died, and the search did not."""
        return self.evaluation is not None and self.evaluation.facts.get(DIED, WITH_SEARCH) != WITH_SEARCH

    @property
    def measurements(self) -> Measurements:
        return self.evaluation.measurements if self.evaluation else {}

    def violations(self, kpis: tuple[Kpi, ...]) -> dict[str, float]:
        return violations(kpis, self.measurements)

    def is_feasible(self, kpis: tuple[Kpi, ...]) -> bool:
        return self.state == COMPLETE and all(v <= 0 for v in self.violations(kpis).values())

    def blocking(self, kpis: tuple[Kpi, ...]) -> list[str]:
        """Names of the KPIs with a broken bound, worst first."""
        broken = sorted(((v, key) for key, v in self.violations(kpis).items() if v > 0), reverse=True)
        return list(dict.fromkeys(key.partition(".")[0] for _, key in broken))

    def gain(self, kpis: tuple[Kpi, ...]) -> float:
        return mean_gain(kpis, self.measurements)

    def score(self, kpis: tuple[Kpi, ...]) -> float:
        return kpi_score(kpis, self.measurements)
