"""Measurements: numbers with a name and a unit, taken from an artifact on a runtime, beside the baseline's.

A member is `(Subject) -> {name: Measurement}`; one function may give several names, and quality gives the one that is
the task's metric. FACTS holds the unit and
direction of each, and whether the structure alone decides it (then it is taken once a structure, before training).
Add one = one file (or function), one line here, its name in conf/kpis where it is to decide.
"""

from collections.abc import Callable
from dataclasses import dataclass

from autoopt.core.kpi import Facts, Measurement
from autoopt.measurements.latency import latency
from autoopt.measurements.quality import quality
from autoopt.measurements.size import size
from autoopt.measurements.subject import Options, Subject
from autoopt.measurements.throughput import throughput

__all__ = ["FACTS", "MEASURES", "Measure", "Options", "Subject"]


@dataclass(frozen=True)
class Measure:
    take: Callable[[Subject], dict[str, Measurement]]
    facts: dict[str, Facts]

    @property
    def needs_weights(self) -> bool:
        """False where all that it gives is known from the structure."""
        return not all(facts.of_structure for facts in self.facts.values())

    @property
    def of_structure(self) -> tuple[str, ...]:
        """The names of what it gives that the structure alone decides."""
        return tuple(name for name, facts in self.facts.items() if facts.of_structure)


MEASURES: dict[str, Measure] = {
    "quality": Measure(
        quality,
        {
            "accuracy": Facts("share", True, "share of the validation split classified right, one input a call"),
            "r2": Facts("R2", True, "of a regression: coefficient of determination on the validation split, at most 1"),
            "quality": Facts("score", True, "a metric of the task's own on the validation split, higher is better"),
        },
    ),
    "size": Measure(
        size,
        {
            "size_mb": Facts("MB", False, "the model file, in millions of bytes", of_structure=True),
            "download_mb": Facts("MB", False, "the model file, deflated"),
            "params_m": Facts(
                "M", False, "weights of the exported graph before quantization, in millions", of_structure=True
            ),
            "weight_sparsity": Facts("share", True, "share of those weights that are zero", has_baseline=False),
        },
    ),
    "latency": Measure(
        latency,
        {
            "latency_p50_ms": Facts("ms", False, "median time of one call with one input", of_structure=True),
            "latency_p95_ms": Facts(
                "ms", False, "95th percentile of the time of one call with one input", of_structure=True
            ),
        },
    ),
    "throughput": Measure(
        throughput,
        {"throughput_qps": Facts("1/s", True, "queries a second, several clients on one session", of_structure=True)},
    ),
}

FACTS: dict[str, Facts] = {name: facts for measure in MEASURES.values() for name, facts in measure.facts.items()}
