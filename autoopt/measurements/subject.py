"""What is measured, and how thoroughly."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.metric import Metric
from autoopt.measurements.drift import Drift

Run = Callable[[Inputs], np.ndarray]


@dataclass(frozen=True)
class Options:
    """Latency: `blocks` blocks of `calls` calls with `batch` inputs each, artifact and baseline in turn, `attempts`
    times as many at most, until half of the ratio's interval is at most `max_spread` of it. Throughput: `clients`
    threads, `slices` slices of `slice_s` seconds each, in turn too.
    """

    blocks: int = 20
    calls: int = 40
    warmup_calls: int = 20
    attempts: int = 3
    max_spread: float = 0.25
    batch: int = 1
    clients: int = 4
    slices: int = 3
    slice_s: float = 0.05
    price_per_hour: float | None = None
    """Of the machine that serves, in any currency; None: costs are not told."""

    @property
    def has_p99(self) -> bool:
        """Whether the calls are enough for a 99th percentile: one above it in each block, five in those that count."""
        return self.calls >= 100 and self.blocks >= 10


@dataclass(frozen=True, eq=False)
class Subject:
    """An artifact and the baseline. `inputs` hold numpy arrays; `targets` are what the metric compares with."""

    path: Path
    float_path: Path
    """The model before quantization: its weights are counted there."""
    session: Run
    baseline_path: Path
    baseline_session: Run
    inputs: Inputs
    targets: np.ndarray
    metrics: tuple[Metric, ...]
    """The task's own first."""
    baseline_outputs: np.ndarray
    """The baseline's outputs (n, k) on `inputs`."""
    options: Options
    drift: Drift = field(default_factory=Drift)
    """Of latencies, as far as it is known by now."""
    slices: tuple[str, ...] = ()
    """What each input belongs to; (): not known."""
    threads: int = 1
    """That serve one call."""
    provider: str = "cpu"
    """Of onnxruntime."""
    runtime: str = "onnxruntime"
    baseline_runtime: str = "onnxruntime"
