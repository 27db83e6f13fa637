"""Where the time goes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STAGES = ("structure", "screen", "train", "export", "quantize", "measure", "log", "sampler")
"""In the order of a trial. `log`: the study's record, MLflow, artifacts, the display; `sampler`: proposing a recipe."""


@dataclass
class StageClock:
    """Adds up wall seconds by stage: `with clock("train"): ...`. A stage that raises is counted too."""

    seconds: dict[str, float] = field(default_factory=dict)
    on_stage: Callable[[str], None] = lambda stage: None
    """Told of each stage as it begins."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.on_stage(stage)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def drain(self) -> dict[str, float]:
        """The seconds so far; the clock begins anew."""
        seconds, self.seconds = self.seconds, {}
        return seconds
