"""How a KPI lies along an axis of a chart: as a ratio to the baseline where that is what holds, else as it is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoopt.core.kpi import ANY_SIGN, Facts, Kpi, Measurement
from autoopt.core.trial import COMPLETE, Trial

DECADE = 8.0
"""From so large a span of ratios on, the axis is logarithmic."""


@dataclass(frozen=True)
class Axis:
    """`relative`: the axis shows ratios to the baseline, which hold on a noisy machine where milliseconds do not."""

    kpi: Kpi
    facts: Facts
    relative: bool
    span: tuple[float, float]
    """The least and the largest value of the trials and the bound."""
    bound: float | None
    """Where the KPI's bound lies."""

    def value(self, measured: Measurement) -> float:
        return measured.ratio if self.relative and measured.ratio is not None else measured.value

    def interval(self, measured: Measurement) -> tuple[float, float] | None:
        """95%, of what `value` shows."""
        return measured.ratio_interval if self.relative else measured.interval

    @property
    def is_share(self) -> bool:
        return self.facts.unit == "share"

    @property
    def is_log(self) -> bool:
        return self.relative and self.span[0] > 0 and self.span[1] / self.span[0] >= DECADE

    @property
    def title(self) -> str:
        unit = "ratio to the baseline" if self.relative else "" if self.is_share else self.facts.unit
        return f"{self.kpi.name}{f', {unit}' if unit else ''}"

    @property
    def better(self) -> str:
        return "higher is better" if self.kpi.higher_is_better else "lower is better"

    def shown(self, value: float) -> str:
        if self.relative:
            return f"{value:.3g}x"
        return f"{100 * value:.4g}%" if self.is_share else f"{value:.4g}"

    @property
    def log_ticks(self) -> list[float]:
        """1, 2 and 5 of each decade that the span touches."""
        first, last = (math.floor(math.log10(end)) for end in self.span)
        return [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]


def axis(kpi: Kpi, facts: Facts, trials: Iterable[Trial]) -> Axis | None:
    """None where no complete trial was measured by the KPI."""
    measured = [t.measurements[kpi.name] for t in trials if t.state == COMPLETE and kpi.name in t.measurements]
    if not measured:
        return None
    relative = facts.unit not in ANY_SIGN and all(m.ratio is not None for m in measured)
    bound = kpi.least(measured[0])
    if bound is not None and relative:
        bound /= measured[0].baseline or 1.0
    plain = Axis(kpi, facts, relative, (0.0, 0.0), bound)
    ends = [plain.value(m) for m in measured] + [end for end in [bound] if end is not None]
    return Axis(kpi, facts, relative, (min(ends), max(ends)), bound)


def window(at: Axis, shown: Sequence[float]) -> tuple[float, float] | None:
    """The part of a share's axis that holds `shown` and the bound: one trial that learned nothing would press all
    others into a line. None: all of it.
    """
    kept = [*shown, *([at.bound] if at.bound is not None else [])]
    if not at.is_share or not kept:
        return None
    low, high = min(kept), max(kept)
    room = max(high - low, 0.01)
    return (low - 0.6 * room, high + 0.15 * room) if at.kpi.higher_is_better else (low - 0.15 * room, high + 0.6 * room)
