"""On which machines a study was measured."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from autoopt.core.standing import Standing
from autoopt.core.trial import CPU, HOST, MADE_ON, Trial
from autoopt.report.words import number

LATENCY = "latency_p50_ms"


def machines(standing: Standing) -> dict[str, dict[str, Any]]:
    """By name: kind of CPU, trials measured there, trials made there, and the median of the baseline's latency there in
    milliseconds, None where none was taken. Trials from before machines were recorded are left out.
    """
    found = [(trial, trial.evaluation.facts) for trial in standing.trials if trial.evaluation]
    names = {name: None for _, facts in found for name in (facts.get(HOST), facts.get(MADE_ON)) if name}
    return {name: _machine(name, found) for name in names}


def machines_line(standing: Standing) -> str:
    """'' where one machine made and measured all."""
    found = machines(standing)
    told = [
        f"{name} ({machine['cpu'] or 'unknown CPU'}): made {machine['made']}, measured {machine['measured']}"
        + _base(machine)
        for name, machine in found.items()
    ]
    if len(told) < 2:
        return ""
    several = sum(machine["measured"] > 0 for machine in found.values()) > 1
    end = ". Ratios are of one machine each; milliseconds do not compare" if several else ""
    return f"machines: {'; '.join(told)}{end}"


def _machine(name: str, found: list[tuple[Trial, Mapping[str, Any]]]) -> dict[str, Any]:
    there = [(trial, facts) for trial, facts in found if facts.get(HOST) == name]
    bases = [m.baseline for trial, _ in there if (m := trial.measurements.get(LATENCY)) and m.baseline is not None]
    return {
        "cpu": next((str(facts[CPU]) for _, facts in there if CPU in facts), ""),
        "measured": sum(LATENCY in trial.measurements for trial, _ in there),
        "made": sum(facts.get(MADE_ON, facts.get(HOST)) == name for _, facts in found),
        f"baseline_{LATENCY}": median(bases) if bases else None,
    }


def _base(machine: Mapping[str, Any]) -> str:
    base = machine[f"baseline_{LATENCY}"]
    return "" if base is None else f", baseline p50 {number(base)} ms"
