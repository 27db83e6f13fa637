"""Measurements: numbers with a name and a unit, taken from an artifact on a runtime, beside the baseline's.

A member is `(Subject) -> {name: Measurement}`; one function may give several names, and quality gives those that are
the task's metrics. FACTS holds the unit and direction of each, and whether the structure alone decides it (then it is
taken once a structure, before training).
Add one = one file (or function), one line here, its name in conf/kpis where it is to decide.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from autoopt.core.kpi import Facts, Kpi, Measurement
from autoopt.measurements.cold_start import cold_start
from autoopt.measurements.latency import latency
from autoopt.measurements.quality import quality
from autoopt.measurements.size import size
from autoopt.measurements.subject import Options, Subject
from autoopt.measurements.throughput import throughput

__all__ = ["FACTS", "MEASURES", "OF_CLASSES", "OF_QUALITY", "Measure", "Options", "Subject", "wanted"]


@dataclass(frozen=True)
class Measure:
    take: Callable[[Subject], dict[str, Measurement]]
    facts: dict[str, Facts]
    dear: bool = False
    """True where it costs seconds: it is taken only where a KPI asks for it, and of finalists."""

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
            "macro_f1": Facts("share", True, "of classes, the mean of their F1 on the validation split"),
            "r2": Facts("R2", True, "of a regression: coefficient of determination on the validation split, at most 1"),
            "quality": Facts("score", True, "a metric of the task's own on the validation split, higher is better"),
            "worst_class_recall": Facts("share", True, "of the class of which the fewest rows are found"),
            "agreement": Facts("share", True, "of rows on which it answers as the baseline does", has_baseline=False),
            "calibration_error": Facts("share", False, "how far confidence is from accuracy, in 15 bins"),
            "worst_slice": Facts("score", True, "the task's metric on the slice where it is lowest"),
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
            "latency_p99_ms": Facts("ms", False, "99th percentile, where calls are enough", of_structure=True),
        },
    ),
    "throughput": Measure(
        throughput,
        {
            "throughput_qps": Facts("1/s", True, "queries a second, several clients on one session", of_structure=True),
            "load_p95_ms": Facts("ms", False, "95th percentile of the time of one call meanwhile", of_structure=True),
            "cost_per_million": Facts(
                "of runtime.price_per_hour", False, "what a million queries cost at that throughput", of_structure=True
            ),
        },
    ),
    "cold_start": Measure(
        cold_start,
        {
            "load_ms": Facts("ms", False, "from nothing loaded to the first answer, imports not", of_structure=True),
            "peak_rss_mb": Facts("MB", False, "largest memory of a process that serves 100 inputs", of_structure=True),
            "runtime_rss_mb": Facts("MB", False, "of that, what interpreter and runtime take alone", of_structure=True),
        },
        dear=True,
    ),
}


def wanted(kpis: Iterable[Kpi]) -> frozenset[str]:
    """The measurements to take in each trial: all that cost little, and those that a KPI names."""
    asked = {kpi.name for kpi in kpis}
    return frozenset(name for name, measure in MEASURES.items() if not measure.dear or asked & set(measure.facts))


OF_CLASSES = ("accuracy", "macro_f1", "worst_class_recall", "agreement", "calibration_error")
"""Measurements that numbers as targets do not have."""

OF_QUALITY = frozenset(MEASURES["quality"].facts)
"""Measurements that the final exam takes on the test split."""

FACTS: dict[str, Facts] = {name: facts for measure in MEASURES.values() for name, facts in measure.facts.items()}
