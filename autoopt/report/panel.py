"""The live panel: how the search stands, from plain values to what rich draws."""

from collections.abc import Sequence

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoopt.core.kpi import Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, Trial
from autoopt.report.words import bound

BLOCKS = "▁▂▃▄▅▆▇█"
TREND = 30  # characters


def short(kpi: Kpi, trial: Trial) -> str:
    """The ratio to the baseline; the value where a drop is bounded, or there is no ratio."""
    measured = trial.measurements[kpi.name]
    return f"{measured.value:.4g}" if measured.ratio is None or kpi.max_drop is not None else f"{measured.ratio:.3g}x"


def kpi_table(standing: Standing, kpis: tuple[Kpi, ...]) -> Table:
    """A row a KPI: its bound, the trial that leads (the nearest miss while nothing is feasible), and the best that any
    complete trial has reached.
    """
    leads = standing.feasible[0] if standing.feasible else standing.nearest_miss
    complete = [trial for trial in standing.trials if trial.state == COMPLETE and trial.number > 0]
    table = Table.grid(padding=(0, 3))
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    if leads is None:
        return table
    what = "leads" if standing.feasible else "is the nearest miss"
    table.add_row(
        Text("KPI", style="dim"), Text(f"trial {leads.number} {what}", style="dim"), Text("best", style="dim")
    )
    for kpi in kpis:
        met = all(violation <= 0 for violation in kpi.violations(leads.measurements[kpi.name]).values())
        mark = "" if not kpi.bounds() else " ✓" if met else " ✗"
        best = min(complete, key=lambda trial: kpi.loss(trial.measurements[kpi.name]))
        table.add_row(
            Text(bound(kpi) if kpi.bounds() else f"{kpi.name} (no bound)"),
            Text(short(kpi, leads) + mark, style="green" if met else "red"),
            Text(f"{short(kpi, best)} (trial {best.number})"),
        )
    return table


def sparkline(values: Sequence[float], width: int = TREND) -> str:
    """From 0 to the largest value; of more than `width` values the last in each of as many parts."""
    shown = [values[(i + 1) * len(values) // width - 1] for i in range(width)] if len(values) > width else values
    top = max(shown, default=0.0)
    return "".join(
        BLOCKS[min(len(BLOCKS) - 1, int(len(BLOCKS) * value / top))] if top > 0 else BLOCKS[0] for value in shown
    )


def trend_line(volumes: Sequence[float]) -> str:
    """The hypervolume after each trial so far."""
    if not volumes:
        return ""
    still = next((back for back, volume in enumerate(reversed(volumes)) if volume < volumes[-1]), len(volumes)) - 1
    since = "" if still <= 0 or volumes[-1] <= 0 else f", no gain in the last {still} trial{'s' if still > 1 else ''}"
    return f"hypervolume {sparkline(volumes)} {volumes[-1]:.4g}{since}"


def duration(seconds: float) -> str:
    """Such as '2 h 05 min', '12 min', '40 s'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def progress_bar(share: float) -> Table:
    bar = Table.grid()
    bar.add_row(ProgressBar(total=1.0, completed=min(1.0, share), width=60))
    return bar


def group(*parts: Text | Table | str) -> Group:
    """Of those that are not empty."""
    return Group(*(Text(part) if isinstance(part, str) else part for part in parts if part != ""))
