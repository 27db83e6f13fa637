"""Unlike machines: what one measures in milliseconds says nothing about another."""

from optuna import Study

from autoopt.config import Settings
from autoopt.core.cpu import cpu_name
from autoopt.core.errors import ConfigError
from autoopt.core.kpi import Kpi
from autoopt.core.trial import CPU, Trial
from autoopt.measurements import FACTS
from autoopt.search.record import read_trials

OF_MACHINES = ("ms", "1/s", "of runtime.price_per_hour")
"""Units of measurements that another machine would not give."""


def check_machine(settings: Settings, study: Study) -> None:
    """Ratios are taken on one machine, so that they compare; a bound in milliseconds is of one kind of machine.

    Raises ConfigError where the study has such a bound, and this machine is of another kind than those before.
    """
    if not settings.measures:
        return
    bounds = machine_bounds(settings.kpis)
    others = cpus(read_trials(study)) - {cpu_name()}
    if bounds and others:
        raise ConfigError(
            f"{bounds[0]} is of one kind of machine: study {settings.study!r} was measured on "
            f"{', '.join(sorted(others))}, and this is {cpu_name()}: join from a machine of that kind, or begin a "
            "study with measure.host=NAME, or with max_ratio or min_ratio in its place, which holds on each"
        )


def machine_bounds(kpis: tuple[Kpi, ...]) -> list[str]:
    """Bounds, as they are typed, that hold for one kind of machine."""
    return [
        f"kpis.{kpi.name}.{kind}={value:g}"
        for kpi in kpis
        if FACTS[kpi.name].unit in OF_MACHINES
        for kind, value in kpi.bounds().items()
        if kind in ("min", "max", "max_drop")
    ]


def cpus(trials: list[Trial]) -> set[str]:
    """Kinds of the machines that measured them."""
    return {str(trial.evaluation.facts[CPU]) for trial in trials if trial.evaluation and CPU in trial.evaluation.facts}
