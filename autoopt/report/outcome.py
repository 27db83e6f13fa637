"""What a study has come to: the one value that table, page, note and document are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.core.kpi import Facts, Kpi
from autoopt.core.standing import Standing
from autoopt.core.trial import Trial


@dataclass(frozen=True)
class Outcome:
    """`facts` are those of the measurements; `test` is the champion's final exam, None where it was not taken (yet)."""

    study: str
    folder: Path
    standing: Standing
    kpis: tuple[Kpi, ...]
    facts: Mapping[str, Facts]
    test: Mapping[str, Any] | None
    stopped_by: str | None
    """None while the search runs, or after a kill."""
    seconds: float

    @property
    def champion(self) -> Trial | None:
        return self.standing.front[0] if self.standing.front else None
