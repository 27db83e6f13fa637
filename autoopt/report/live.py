"""What the terminal shows while the search runs, on stderr: a live panel, or one line a minute where there is no
terminal. search.log has a line for each trial.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autoopt.core.kpi import Kpi
from autoopt.core.left import Left, counted
from autoopt.core.recipe import Recipe
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, Trial
from autoopt.report.panel import duration, group, kpi_table, progress_bar, short, trend_line
from autoopt.report.words import recipe_line, structure_line

RECENT = 6
STATUS_S = 60.0
ENOUGH = 3  # trials, for a guess of how long the others will take


@dataclass
class Going:
    """A trial that runs."""

    recipe: Recipe
    stage: str = ""
    epoch: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.stage, self.epoch)))


@dataclass
class Display:
    """State of the panel."""

    study: str
    kpis: tuple[Kpi, ...]
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _began: float | None = None
    _told: float = 0.0
    _ended: list[tuple[Trial, str]] = field(default_factory=list)
    _counted: int = 0
    """Trials that the budget counts, of this session."""
    _volumes: list[float] = field(default_factory=list)
    _standing: Standing | None = None
    _running: dict[int, Going] = field(default_factory=dict)
    _left: Left = field(default_factory=Left)
    _left_at: float = 0.0
    _waits: str = ""
    _live: Live | None = None

    def __enter__(self) -> "Display":
        self._began = self._told = self._left_at = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.__exit__(None, None, None)

    def on_resume(self, standing: Standing) -> None:
        """How it stood when this session began."""
        if standing.trials:
            self._standing, self._volumes = standing, [standing.hypervolume]

    def say(self, line: str) -> None:
        """A line that stays."""
        with suppress(OSError):  # it may go to a file on a disk that is full
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def on_start(self, number: int, recipe: Recipe) -> None:
        self._running[number] = Going(recipe)

    def on_stage(self, number: int, stage: str) -> None:
        if number in self._running:
            self._running[number].stage = stage
            self._running[number].epoch = ""

    def on_epoch(self, number: int, epoch: int, quality: float) -> None:
        if number in self._running:
            of = self._running[number].recipe.epochs
            self._running[number].epoch = f"epoch {epoch}{f' of {of}' if of else ''}: {quality:.4f}"
        self._tell()

    def on_end(self, trial: Trial, standing: Standing) -> str:
        """The line that stands for the trial."""
        line = self._line(trial, standing)
        self._counted += counted([trial])
        self._standing = standing
        self._volumes.append(standing.hypervolume)
        self._ended = [*self._ended, (trial, line)][-RECENT:]
        if trial.number in self._running:
            self._running[trial.number].stage, self._running[trial.number].epoch = "its siblings", ""
        return line

    def on_free(self, number: int) -> None:
        """A trial and its siblings have ended."""
        self._running.pop(number, None)

    def on_wait(self, reason: str) -> None:
        """The search waits for what the reason says, or '' goes on."""
        self._waits = reason
        self.say(f"waiting: {reason}" if reason else "going on")

    def on_turn(self, left: Left) -> None:
        self._left, self._left_at = left, time.monotonic()
        self._tell()

    def _tell(self) -> None:
        """Where there is no terminal, a line a minute."""
        if self._live is None and time.monotonic() - self._told >= STATUS_S:
            self._told = time.monotonic()
            self.say(self._status())

    def _status(self) -> str:
        running = ", ".join(f"{number} ({going})" for number, going in list(self._running.items()))
        return "; ".join(filter(None, (self._headline(), running and f"running {running}")))

    def _elapsed(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    def _line(self, trial: Trial, standing: Standing) -> str:
        head = f"{trial.number:4d}  {structure_line(trial.recipe)}"
        head += "" if trial.sibling_of is None else f"  (weights of {trial.sibling_of})"
        if trial.state != COMPLETE:
            return f"{head}  {trial.state}: {' '.join(trial.reason.split())[:160]}"
        ratios = "  ".join(f"{kpi.name} {short(kpi, trial)}" for kpi in self.kpis)
        blocking = trial.blocking(self.kpis)
        on_front = any(member.number == trial.number for member in standing.front)
        place = f"misses {', '.join(blocking)}" if blocking else "on the front" if on_front else "feasible"
        return f"{head}  {ratios}  {place}"

    def _render(self) -> Group:
        """Called by a thread of rich: it reads what the search writes."""
        recent = Table.grid(padding=(0, 1))
        for trial, line in self._ended:
            style = "green" if line.endswith("front") else "red" if trial.state == FAILED else ""
            recent.add_row(Text(line, style=style, no_wrap=True, overflow="ellipsis"))
        for number, going in list(self._running.items()):
            line = f"{number:4d}  {recipe_line(going.recipe)}  [{going}]"
            recent.add_row(Text(line, style="bold", no_wrap=True, overflow="ellipsis"))
        if not self._running:
            recent.add_row(Text("   …", style="bold"))
        if self._waits:
            recent.add_row(Text(f"waiting: {self._waits}", style="bold red"))
        standing = self._standing
        return group(
            Text(self._headline(), style="bold"),
            progress_bar(self._left.share),
            kpi_table(standing, self.kpis) if standing else "",
            trend_line(list(self._volumes)) if standing and standing.feasible else "",
            recent,
        )

    def _headline(self) -> str:
        standing = self._standing
        if standing is None:
            return f"{self.study}: measuring the baseline"
        counts = standing.counts()
        best = f", best kpi_score {standing.feasible[0].score(self.kpis):.3f}" if standing.feasible else ""
        summary = ", ".join(f"{counts[key]} {key}" for key in ("trials", "feasible", "screened", "failed"))
        left = "" if (seconds := self._seconds_left()) is None else f", about {duration(seconds)} left"
        return f"{self.study}: {summary}{best}, {duration(self._elapsed())}{left}"

    def _seconds_left(self) -> float | None:
        """Until the deadline, or until as many trials as the budget has, at the pace so far; None: nobody knows."""
        guesses = [] if self._left.seconds is None else [self._left.seconds - (time.monotonic() - self._left_at)]
        if self._left.trials is not None and self._counted >= ENOUGH:
            guesses.append(self._left.trials * self._elapsed() / self._counted)
        return max(0.0, min(guesses)) if guesses else None
