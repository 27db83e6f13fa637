"""From a resolved configuration to checked plain values: every error in it is found here, before any work starts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from autoopt.artifacts.address import read_address
from autoopt.artifacts.cache import Cache
from autoopt.artifacts.store import Store, open_store
from autoopt.compose import compose_config, conf_dir
from autoopt.config_sections import (
    read_budget,
    read_device,
    read_exam,
    read_host,
    read_limits,
    read_measuring,
    read_model,
    read_name,
    read_outputs,
    read_provider,
    read_rules,
    read_sampler,
    read_storage,
    read_task,
    read_teacher,
    read_uri,
)
from autoopt.config_space import read_runtimes, read_space, with_runtimes
from autoopt.core.checks import MOST_THREADS, whole
from autoopt.core.cpu import usable_cores
from autoopt.core.errors import ConfigError
from autoopt.core.exam import ExamRules
from autoopt.core.kpi import Kpi, parse_kpis
from autoopt.core.lookup import lookup, suggestion
from autoopt.core.space import Space
from autoopt.measurements import FACTS, Options
from autoopt.search.budget import Budget
from autoopt.search.engines import ENGINES, Engine, read_engine, worker_threads
from autoopt.search.limits import Limits
from autoopt.search.rules import Rules
from autoopt.search.samplers import SAMPLERS
from autoopt.tasks import TASKS
from autoopt.training.place import CPU
from autoopt.training.teacher import TeacherOptions

TRACKERS = ("mlflow", "none")


@dataclass(frozen=True)
class Settings:
    """Everything that the command line says, checked."""

    task: str
    task_options: Mapping[str, Any]
    teacher: TeacherOptions
    space: Space
    kpis: tuple[Kpi, ...]
    sampler: str
    sampler_options: Mapping[str, Any]
    budget: Budget
    rules: Rules
    exam: ExamRules
    runtimes: tuple[str, ...]
    """The first serves the baseline; several are a knob of the space."""
    runtime_threads: int
    measuring: Options
    tracker: str
    tracking_uri: str | None
    study: str
    seed: int
    outputs: Path
    storage: str | None
    """The study's database; None: a file in its folder."""
    host: str
    """What this machine is called in the record."""
    measure_host: str | None
    """The host that measures what all make; None: each measures its own."""
    threads: int
    """For training, in all."""
    device: str
    """Where it trains: auto, cpu, cuda or cuda:N."""
    provider: str
    """Of onnxruntime, as it is asked for: one of CHOICES in runtimes/providers.py."""
    workers: int
    """Processes that run trials; 0: in the search's own."""
    engine: Engine
    """Where those run."""
    limits: Limits
    store: Store | None
    """Shared by several machines: artifacts.uri."""
    model: str
    """The registered model's name."""
    trial: int | None
    """Of promote and reproduce."""
    raw: Mapping[str, Any]
    """The resolved configuration as plain values, as it is written to config.yaml."""

    @property
    def measures(self) -> bool:
        """Whether this machine measures what it makes."""
        return self.measure_host in (None, self.host)

    @property
    def folder(self) -> Path:
        return self.outputs / self.study

    @property
    def cache(self) -> Cache:
        return Cache(self.outputs / "cache", self.store)

    @property
    def worker_threads(self) -> int:
        """For the training of one worker."""
        return worker_threads(self.engine, self.raw.get("threads"), self.threads, self.workers)


def load_settings(overrides: Iterable[str]) -> Settings:
    """Compose conf/ with the overrides and check all of it. Raises ConfigError."""
    return parse_settings(compose_config(list(overrides)))


def parse_settings(raw: Mapping[str, Any]) -> Settings:
    """Check a resolved configuration. Raises ConfigError at the first thing that is wrong."""
    if "experiment" in raw and raw["experiment"] is not None:
        raise ConfigError(
            f"unknown key 'experiment.*': an experiment file sets keys of the others ({raw['experiment']})"
        )
    for key in raw:
        if key not in SECTIONS:
            raise ConfigError(f"unknown key {key!r}. {suggestion(key, SECTIONS)}")
    task = str(_section(raw, "task").get("name"))
    lookup(TASKS, task, "task")
    runtime, tracking, sampler = _section(raw, "runtime"), _section(raw, "tracking"), _section(raw, "sampler")
    runtimes = read_runtimes(runtime.get("name"))
    lookup(SAMPLERS, str(sampler.get("name")), "sampler")
    lookup(dict.fromkeys(TRACKERS), str(tracking.get("name")), "tracking")
    kpis = parse_kpis(_section(raw, "kpis"), FACTS)
    address = read_address(_section(raw, "artifacts").get("uri"))
    engine = _section(raw, "engine")
    lookup(ENGINES, str(engine.get("name")), "engine")
    workers = whole("workers", raw.get("workers"), 0, MOST_THREADS)
    return Settings(
        task=task,
        task_options=read_task(task, _section(raw, "task")),
        teacher=read_teacher(_section(raw, "teacher")),
        space=with_runtimes(read_space(_section(raw, "space"), own_students=task == "custom"), runtimes),
        kpis=kpis,
        sampler=sampler["name"],
        sampler_options=read_sampler(sampler),
        budget=read_budget(_section(raw, "budget")),
        rules=read_rules(_section(raw, "search")),
        exam=read_exam(_section(raw, "exam")),
        runtimes=runtimes,
        runtime_threads=whole("runtime.threads", runtime.get("threads"), 1, MOST_THREADS),
        measuring=read_measuring(runtime, kpis),
        tracker=tracking["name"],
        tracking_uri=read_uri(tracking.get("uri")),
        study=read_name(raw.get("study")),
        seed=whole("seed", raw.get("seed"), 0),
        outputs=read_outputs(raw.get("outputs")),
        storage=read_storage(raw.get("storage")),
        host=read_host(raw.get("host")),
        measure_host=None
        if (host := _section(raw, "measure").get("host")) is None
        else read_host(host, "measure.host"),
        threads=usable_cores() if raw.get("threads") is None else whole("threads", raw["threads"], 1, MOST_THREADS),
        device=read_device(raw.get("device", CPU)),
        provider=read_provider(runtime.get("provider"), runtimes),
        workers=workers,
        engine=read_engine(engine, workers),
        limits=read_limits(_section(raw, "limits"), _section(raw, "retry")),
        store=open_store(address),
        model=read_model(_section(raw, "registry").get("model"), task),
        trial=None if raw.get("trial") is None else whole("trial", raw["trial"], 0),
        raw={**raw, "artifacts": {"uri": address}},
    )


KEYS: dict[str, tuple[str, ...]] = {
    "teacher": tuple(field.name for field in fields(TeacherOptions)),
    "budget": tuple(field.name for field in fields(Budget)),
    "search": tuple(field.name for field in fields(Rules)),
    "exam": tuple(field.name for field in fields(ExamRules)),
    "runtime": (
        "name",
        "threads",
        "provider",
        "blocks",
        "calls",
        "attempts",
        "max_spread",
        "clients",
        "price_per_hour",
    ),
    "tracking": ("name", "uri"),
    "artifacts": ("uri",),
    "limits": ("trial_minutes", "trial_gb", "disk_gb", "grace_s"),
    "retry": ("max",),
    "registry": ("model",),
    "measure": ("host",),
}

SECTIONS = (
    "task",
    "teacher",
    "space",
    "kpis",
    "sampler",
    "budget",
    "search",
    "exam",
    "runtime",
    "tracking",
    "artifacts",
    "engine",
    "experiment",
    "study",
    "seed",
    "outputs",
    "storage",
    "host",
    "measure",
    "threads",
    "device",
    "workers",
    "limits",
    "retry",
    "registry",
    "trial",
)


def _section(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One part of the configuration, with the keys that it may have and no others."""
    section = raw.get(name)
    if not isinstance(section, Mapping):
        option = next((path.stem for path in sorted((conf_dir() / name).glob("*.yaml"))), None)
        instead = f"{name}={option}" if option else f"{name}.KEY=VALUE with {', '.join(KEYS.get(name, ()))}"
        raise ConfigError(f"{name}={section!r}: leave it out, or type {instead}")
    for key in section:
        if name in KEYS and key not in KEYS[name]:
            raise ConfigError(f"unknown key '{name}.{key}'. {suggestion(key, KEYS[name])}")
    return dict(section)
