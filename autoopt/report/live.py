"""What the terminal shows while the search runs, on stderr: a live panel, or one line a minute where there is no
terminal. search.log has a line for each trial.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoopt.core.kpi import Kpi
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, Trial
from autoopt.report.words import recipe_line, structure_line

RECENT = 6
STATUS_S = 60.0


@dataclass
class Display:
    """State of the panel. `hours` and `trials` are the budget's limits, None where it has none."""

    study: str
    kpis: tuple[Kpi, ...]
    hours: float | None
    trials: int | None
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _began: float | None = None
    _told: float = 0.0
    _ended: list[tuple[Trial, str]] = field(default_factory=list)
    _counted: int = 0
    _standing: Standing | None = None
    _running: dict[int, str] = field(default_factory=dict)
    _epochs: dict[int, str] = field(default_factory=dict)
    _waits: str = ""
    _live: Live | None = None

    def __enter__(self) -> "Display":
        self._began = self._told = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.__exit__(None, None, None)

    def say(self, line: str) -> None:
        """A line that stays."""
        with suppress(OSError):  # it may go to a file on a disk that is full
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def on_start(self, number: int, recipe: Recipe) -> None:
        self._running[number] = recipe_line(recipe)

    def on_epoch(self, number: int, epoch: int, quality: float) -> None:
        self._epochs[number] = f"  [epoch {epoch}: {quality:.4f}]"

    def on_end(self, trial: Trial, standing: Standing) -> str:
        """The line that stands for the trial."""
        line = self._line(trial, standing)
        self._counted += trial.state != FAILED and trial.sibling_of is None
        self._standing = standing
        self._ended = [*self._ended, (trial, line)][-RECENT:]
        return line

    def on_free(self, number: int) -> None:
        """A trial and its siblings have ended."""
        self._running.pop(number, None)
        self._epochs.pop(number, None)

    def on_wait(self, reason: str) -> None:
        """The search waits for what the reason says, or '' goes on."""
        self._waits = reason
        self.say(f"waiting: {reason}" if reason else "going on")

    def on_turn(self) -> None:
        """Where there is no terminal, a line a minute."""
        if self._live is None and time.monotonic() - self._told >= STATUS_S:
            self._told = time.monotonic()
            self.say(self._status())

    def _status(self) -> str:
        running = ", ".join(f"{number}{self._epochs.get(number, '')}" for number in self._running)
        return self._headline(self._elapsed()) + (f"; running {running}" if running else "")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began if self._began else 0.0

    def _line(self, trial: Trial, standing: Standing) -> str:
        head = f"{trial.number:4d}  {structure_line(trial.recipe)}"
        head += "" if trial.sibling_of is None else f"  (weights of {trial.sibling_of})"
        if trial.state != COMPLETE:
            return f"{head}  {trial.state}: {' '.join(trial.reason.split())[:160]}"
        ratios = "  ".join(f"{kpi.name} {_short(kpi, trial)}" for kpi in self.kpis)
        blocking = trial.blocking(self.kpis)
        on_front = any(member.number == trial.number for member in standing.front)
        place = f"misses {', '.join(blocking)}" if blocking else "on the front" if on_front else "feasible"
        return f"{head}  {ratios}  {place}"

    def _render(self) -> Group:
        elapsed = self._elapsed()
        bar = Table.grid()
        bar.add_row(self._bar(elapsed))
        recent = Table.grid(padding=(0, 1))
        for trial, line in self._ended:
            style = "green" if line.endswith("front") else "red" if trial.state == FAILED else ""
            recent.add_row(Text(line, style=style, no_wrap=True, overflow="ellipsis"))
        for number, recipe in self._running.items() or [(None, "…")]:
            line = recipe if number is None else f"{number:4d}  {recipe}{self._epochs.get(number, '')}"
            recent.add_row(Text(line, style="bold", no_wrap=True, overflow="ellipsis"))
        if self._waits:
            recent.add_row(Text(f"waiting: {self._waits}", style="bold red"))
        return Group(Text(self._headline(elapsed), style="bold"), bar, recent)

    def _headline(self, elapsed: float) -> str:
        standing = self._standing
        if standing is None:
            return f"{self.study}: measuring the baseline"
        counts = standing.counts()
        best = f", best kpi_score {standing.feasible[0].score(self.kpis):.3f}" if standing.feasible else ""
        summary = ", ".join(f"{counts[key]} {key}" for key in ("trials", "feasible", "screened", "failed"))
        return f"{self.study}: {summary}{best}, {elapsed:.0f} s"

    def _bar(self, elapsed: float) -> ProgressBar:
        shares = [elapsed / (self.hours * 3600)] if self.hours else []
        shares += [self._counted / self.trials] if self.trials else []
        return ProgressBar(total=1.0, completed=min(1.0, max(shares, default=0.0)), width=60)


def _short(kpi: Kpi, trial: Trial) -> str:
    measured = trial.measurements[kpi.name]
    return f"{measured.value:.4g}" if measured.ratio is None or kpi.max_drop is not None else f"{measured.ratio:.3g}x"
