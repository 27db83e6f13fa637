"""KPIs: what "good enough" and "better" mean."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import lookup, suggestion
from autoopt.core.metric import BOUNDED, SIGNED


@dataclass(frozen=True)
class Facts:
    """What is known of a measurement before it is taken."""

    unit: str
    higher_is_better: bool
    meaning: str
    has_baseline: bool = True
    """False where the baseline has no such value to compare with, so that ratios and drops mean nothing."""
    of_structure: bool = False
    """True where it does not depend on the values of the weights: it is known before a trial trains."""


Interval = tuple[float, float]


@dataclass(frozen=True)
class Measurement:
    """A number taken from an artifact, and the baseline's, taken with it: their ratio holds on a noisy machine."""

    value: float
    baseline: float | None = None
    spread: float = 0.0
    """How far off the value may be, either way, in its unit; 0 where it is exact."""
    interval: Interval | None = None
    """95%, of the value; None where none was estimated."""
    ratio_interval: Interval | None = None
    """95%, of the ratio."""
    unstable: bool = False
    """True where its spread stayed above what is allowed, though it was taken again: see Kpi.violations."""

    def to_list(self) -> list[Any]:
        """Plain JSON values, for from_list; what is not known at the end is left out."""
        whole = [self.value, self.baseline, self.spread, self.interval, self.ratio_interval, self.unstable]
        return whole if self.interval or self.ratio_interval or self.unstable else whole[:3]

    def beside_itself(self) -> "Measurement":
        """With the baseline's value for its own: a ratio of 1, as uncertain as before."""
        if self.baseline is None:
            return self
        low, high = self.ratio_interval or (1.0, 1.0)
        about_one = self.ratio_interval and (1 - (high - low) / 2, 1 + (high - low) / 2)
        shift = self.baseline - self.value
        around = self.interval and (self.interval[0] + shift, self.interval[1] + shift)
        return replace(self, value=self.baseline, interval=around, ratio_interval=about_one)

    def to_dict(self) -> dict[str, Any]:
        """For a card: with its ratio, and where they were estimated with its intervals."""
        sure = {"value_95": self.interval, "ratio_95": self.ratio_interval, "unstable": self.unstable}
        numbers = {"value": self.value, "baseline": self.baseline, "ratio": self.ratio}
        return numbers | (sure if self.interval else {})

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> "Measurement":
        """Of to_list."""
        value, baseline, spread, own, ratios, unstable = [*raw, None, None, False][:6] if len(raw) == 3 else raw
        return cls(value, baseline, spread, own and tuple(own), ratios and tuple(ratios), unstable)

    @property
    def ratio(self) -> float | None:
        """value / baseline; None where the baseline has none, or none above 0, where a ratio would mean nothing."""
        return self.value / self.baseline if self.baseline is not None and self.baseline > 0 else None


Measurements = Mapping[str, Measurement]


@dataclass(frozen=True)
class Kpi:
    """A measurement with a direction, and a role: objective, bound, or both."""

    name: str
    higher_is_better: bool
    of_structure: bool = False
    """See Facts."""
    objective: bool = False
    weight: float = 1.0
    """Share in kpi_score among the objectives, > 0."""
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    """How much worse than the baseline it may be, in the measurement's unit."""
    max_ratio: float | None = None
    min_ratio: float | None = None

    def bounds(self) -> dict[str, float]:
        """The bounds that are set, by kind."""
        return {kind: value for kind in BOUNDS if (value := getattr(self, kind)) is not None}

    def violations(self, measured: Measurement) -> dict[str, float]:
        """By kind of bound: how far past it, divided by its magnitude (by 1 for a bound of 0); <= 0 is met.

        What lies past it by no more than rounding (1e-9) is met: 2713 of 3000 is a drop of 0.015 from 2758 of 3000. An
        unstable measurement breaks a bound only where it does so by more than its spread: the final exam decides.
        """
        return self.certain_violations(measured) if measured.unstable else self._violations(measured)

    def _violations(self, measured: Measurement) -> dict[str, float]:
        return {
            kind: _forgive_rounding(_overshoot(self, kind, bound, measured) / (abs(bound) or 1.0))
            for kind, bound in self.bounds().items()
        }

    def certain_violations(self, measured: Measurement) -> dict[str, float]:
        """The violations if the measurement is off by its whole spread, to the good side of each bound: what is broken
        even so is broken for certain.
        """
        low, high = (
            self._violations(Measurement(measured.value + shift, measured.baseline))
            for shift in (-measured.spread, measured.spread)
        )
        return {kind: min(low[kind], high[kind]) for kind in low}

    def least(self, baseline: Measurement) -> float | None:
        """The worst value that meets every bound, None where there is no bound on that side."""
        values = self._values_at_bounds(baseline)
        return (max(values) if self.higher_is_better else min(values)) if values else None

    def loss(self, measured: Measurement) -> float:
        """What the sampler sees, smaller is better: ratio to the baseline (the value where there is none), signed."""
        value = measured.value if measured.ratio is None else measured.ratio
        return -value if self.higher_is_better else value

    def gain(self, measured: Measurement) -> float:
        """Log improvement over the baseline: log 2 is twice as good. Of a metric that may be 0 or below, or with such a
        baseline: the difference, relative to its magnitude (for r2: as it is). Without a baseline: the signed value.
        """
        if measured.baseline is None:
            gain = measured.value
        elif measured.ratio is None or self.name in SIGNED:
            scale = 1.0 if self.name in BOUNDED else abs(measured.baseline) or 1.0
            gain = (measured.value - measured.baseline) / scale
        else:
            gain = math.log(max(measured.ratio, 1e-12))
        return gain if self.higher_is_better else -gain

    def reference_loss(self, baseline: Measurement) -> float:
        """The loss at this KPI's bound: the corner of the hypervolume. Without a bound: the baseline, or where higher
        is better the baseline less its magnitude, which is 0 for most.
        """
        base = baseline.baseline or 0.0
        values = self._values_at_bounds(baseline) or [
            base - (abs(base) or 1.0) if self.higher_is_better else baseline.value
        ]
        return min(self.loss(Measurement(value, baseline.baseline)) for value in values)

    def _values_at_bounds(self, baseline: Measurement) -> list[float]:
        base = baseline.baseline or 0.0
        worse = -1.0 if self.higher_is_better else 1.0
        at = {
            "min": lambda bound: bound,
            "max": lambda bound: bound,
            "max_drop": lambda bound: base + worse * bound,
            "max_ratio": lambda bound: base * bound,
            "min_ratio": lambda bound: base * bound,
        }
        wrong_side = ("max", "max_ratio") if self.higher_is_better else ("min", "min_ratio")
        return [at[kind](bound) for kind, bound in self.bounds().items() if kind not in wrong_side]


BOUNDS = ("min", "max", "max_drop", "max_ratio", "min_ratio")


def _forgive_rounding(violation: float) -> float:
    return 0.0 if 0 < violation <= 1e-9 else violation


def _overshoot(kpi: Kpi, kind: str, bound: float, measured: Measurement) -> float:
    value, base, ratio = measured.value, measured.baseline, measured.ratio
    if kind == "min":
        return bound - value
    if kind == "max":
        return value - bound
    if base is None or (ratio is None and kind != "max_drop"):
        return math.inf  # nothing to compare with: such a bound cannot be met
    if kind == "max_drop":
        return (base - value if kpi.higher_is_better else value - base) - bound
    assert ratio is not None
    return ratio - bound if kind == "max_ratio" else bound - ratio


def violations(kpis: Iterable[Kpi], measurements: Measurements) -> dict[str, float]:
    """`name.kind` -> violation, for every bound of every KPI that was measured (a screened trial lacks some)."""
    return {
        f"{kpi.name}.{kind}": violation
        for kpi in kpis
        if kpi.name in measurements
        for kind, violation in kpi.violations(measurements[kpi.name]).items()
    }


def kpi_score(kpis: Iterable[Kpi], measurements: Measurements) -> float:
    """One number to sort by. Feasible: the weighted mean log improvement over the baseline across the objectives, at
    least 0. Infeasible: minus the summed violation, below 0."""
    kpis = list(kpis)
    broken = sum(v for v in violations(kpis, measurements).values() if v > 0)
    return -broken if broken else max(0.0, mean_gain(kpis, measurements))


def mean_gain(kpis: Iterable[Kpi], measurements: Measurements) -> float:
    """The weighted mean log improvement across the objectives, of either sign: what feasible trials are ranked by."""
    objectives = [kpi for kpi in kpis if kpi.objective]
    total = sum(kpi.weight * kpi.gain(measurements[kpi.name]) for kpi in objectives)
    return total / sum(kpi.weight for kpi in objectives)


def parse_kpis(raw: Mapping[str, Any], facts: Mapping[str, Facts]) -> tuple[Kpi, ...]:
    """From `{name: {objective, min, max, max_drop, max_ratio, min_ratio, weight}}`. Raises ConfigError."""
    kpis = tuple(_parse(name, spec, lookup(facts, name, "KPI")) for name, spec in raw.items())
    if not any(kpi.objective for kpi in kpis):
        raise ConfigError("no KPI is an objective: type, for one of them, kpis.NAME.objective=true")
    return kpis


def _parse(name: str, spec: Any, facts: Facts) -> Kpi:
    keys = [field.name for field in fields(Kpi) if field.name not in ("name", "higher_is_better", "of_structure")]
    example = "min" if facts.higher_is_better else "max"
    if not isinstance(spec, Mapping):
        raise ConfigError(
            f"kpis.{name}={spec!r}: give it a role, such as kpis.{name}.{example}=1 (allowed: {', '.join(keys)})"
        )
    for key, value in spec.items():
        if key not in keys:
            raise ConfigError(f"kpis.{name}: unknown key {key!r}. {suggestion(key, keys)}")
        _check_value(f"kpis.{name}.{key}", key, value, facts.unit)
    given = {key: value for key, value in spec.items() if value is not None}
    kpi = Kpi(name, facts.higher_is_better, facts.of_structure, **given)
    _check_roles(kpi, facts)
    return kpi


ANY_SIGN = ("R2", "score", "share")
"""Units of quantities that may be 0 or below; of shares it is told below. Sizes, times and rates may not: such a bound
would be met by all of them or by none.
"""


def _check_value(path: str, key: str, value: Any, unit: str) -> None:
    if key == "objective":
        if not isinstance(value, bool):
            raise ConfigError(f"{path}={value!r}: true or false is allowed")
        return
    if value is None and key != "weight":
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    rule = " > 0" if key in ("weight", "max_ratio", "max") else " >= 0"
    rule = "" if key in ("min", "max") and unit in ANY_SIGN else rule
    if not number or (rule and value < 0) or (rule == " > 0" and value == 0):
        raise ConfigError(f"{path}={value!r}: a number{rule} is allowed")


def _check_roles(kpi: Kpi, facts: Facts) -> None:
    path = f"kpis.{kpi.name}"
    if not kpi.objective and not kpi.bounds():
        raise ConfigError(f"{path} has no role: set {path}.objective=true or a bound ({', '.join(BOUNDS)})")
    if kpi.weight != 1.0 and not kpi.objective:
        raise ConfigError(
            f"{path}.weight={kpi.weight} does nothing for a bound: set {path}.objective=true, or leave it"
        )
    for low, high in (("min", "max"), ("min_ratio", "max_ratio")):
        a, b = getattr(kpi, low), getattr(kpi, high)
        if a is not None and b is not None and a > b:
            raise ConfigError(f"{path}: {low}={a} is above {high}={b}: nothing can meet both")
    out = [
        kind for kind in ("min", "max", "max_drop") if facts.unit == "share" and not 0 <= (getattr(kpi, kind) or 0) <= 1
    ]
    if out:
        hint = "0.02 for 2 points" if out[0] == "max_drop" else "0.9 for 90%"
        raise ConfigError(f"{path}.{out[0]}={getattr(kpi, out[0])}: a share lies in [0, 1]: write {hint}")
    relative = [kind for kind in ("max_drop", "max_ratio", "min_ratio") if getattr(kpi, kind) is not None]
    if relative and not facts.has_baseline:
        raise ConfigError(
            f"{path}.{relative[0]}: the baseline has no {kpi.name} to compare with: use {path}.min or {path}.max"
        )
