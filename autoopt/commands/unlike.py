"""Unlike machines: what one measures in milliseconds says nothing about another."""

from collections.abc import Mapping
from typing import Any

from optuna import Study

from autoopt.config import Settings
from autoopt.core.errors import ConfigError
from autoopt.core.kpi import Kpi
from autoopt.measurements import FACTS
from autoopt.pipeline import Bench
from autoopt.runtimes.providers import CPU
from autoopt.search.study import FINGERPRINT

MACHINE = "autoopt_machine"
"""Among the user attributes of a study: on what kind of machine its first session measured."""
OF_MACHINES = ("ms", "1/s", "of runtime.price_per_hour")
"""Units of measurements that another machine would not give."""


def provider_of(study: Study) -> str:
    """What the study's speed is compared on: no machine decides for itself."""
    provider: str = study.user_attrs[FINGERPRINT]["runtime"].get("provider", CPU)
    return provider


def kind_of(bench: Bench) -> dict[str, Any]:
    """Of this machine: what decides how fast a model is."""
    return {key: bench.conditions[key] for key in ("cpu", "provider", "gpu") if key in bench.conditions}


def keep_machine(settings: Settings, study: Study, bench: Bench) -> None:
    """Of the first session. Raises ConfigError where a later one runs on a machine that may not go on."""
    if MACHINE in study.user_attrs:
        check_machine(settings, study.user_attrs[MACHINE], bench)
    else:
        study.set_user_attr(MACHINE, kind_of(bench))


def check_machine(settings: Settings, begun_on: Mapping[str, Any], bench: Bench) -> None:
    """Ratios are taken on one machine, so that they compare; a bound in milliseconds is of one kind of machine.

    Raises ConfigError where the study has such a bound, and this machine, which measures, is of another kind.
    """
    bounds, here = machine_bounds(settings.kpis), kind_of(bench)
    if settings.measures and bounds and here != dict(begun_on):
        raise ConfigError(
            f"{bounds[0]} is of one kind of machine: study {settings.study!r} is measured on {_told(begun_on)}, and "
            f"this is {_told(here)}: go on from one of that kind, or begin a study with measure.host=NAME, or with "
            "max_ratio or min_ratio in its place, which holds on each"
        )


def check_examiner(searched: Settings, study: Study, bench: Bench) -> None:
    """Raises ConfigError where this machine cannot say how fast a model is: an exam measures, and is taken once."""
    if not searched.measures:
        raise ConfigError(
            f"study {searched.study!r} is measured on {searched.measure_host}, and so are exams: type this there, or "
            f"host={searched.measure_host} where this is that machine"
        )
    if MACHINE in study.user_attrs:
        check_machine(searched, study.user_attrs[MACHINE], bench)


def machine_bounds(kpis: tuple[Kpi, ...]) -> list[str]:
    """Bounds, as they are typed, that hold for one kind of machine."""
    return [
        f"kpis.{kpi.name}.{kind}={value:g}"
        for kpi in kpis
        if FACTS[kpi.name].unit in OF_MACHINES
        for kind, value in kpi.bounds().items()
        if kind in ("min", "max", "max_drop")
    ]


def _told(kind: Mapping[str, Any]) -> str:
    return ", ".join(str(value) for value in kind.values())
