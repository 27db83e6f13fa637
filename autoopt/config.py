"""From a resolved configuration to checked plain values: every error in it is found here, before any work starts."""

import contextlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from autoopt.compose import compose_config, conf_dir
from autoopt.config_space import read_runtimes, read_space, with_runtimes
from autoopt.core.checks import number, whole
from autoopt.core.cpu import usable_cores
from autoopt.core.errors import ConfigError
from autoopt.core.exam import RULES, ExamRules
from autoopt.core.kpi import Kpi, parse_kpis
from autoopt.core.lookup import lookup, suggestion
from autoopt.core.space import Space
from autoopt.measurements import FACTS, Options
from autoopt.search.budget import Budget
from autoopt.search.rules import Rules
from autoopt.search.samplers import SAMPLERS
from autoopt.tasks import TASKS
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.schedules import SCHEDULES
from autoopt.training.teacher import TeacherOptions

TRACKERS = ("mlflow", "none")
RESERVED = ("cache", "mlartifacts", "mlflow.db")


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
    threads: int
    raw: Mapping[str, Any]
    """The resolved configuration as plain values, as it is written to config.yaml."""

    @property
    def folder(self) -> Path:
        return self.outputs / self.study

    @property
    def cache(self) -> Path:
        return self.outputs / "cache"


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
    return Settings(
        task=task,
        task_options=_task_options(task, _section(raw, "task")),
        teacher=_teacher(_section(raw, "teacher")),
        space=with_runtimes(read_space(_section(raw, "space"), own_students=task == "custom"), runtimes),
        kpis=kpis,
        sampler=sampler["name"],
        sampler_options=_sampler_options(sampler),
        budget=_budget(_section(raw, "budget")),
        rules=_rules(_section(raw, "search")),
        exam=_exam(_section(raw, "exam")),
        runtimes=runtimes,
        runtime_threads=whole("runtime.threads", runtime.get("threads"), 1),
        measuring=_measuring(runtime, kpis),
        tracker=tracking["name"],
        tracking_uri=_tracking_uri(tracking.get("uri")),
        study=_study_name(raw.get("study")),
        seed=whole("seed", raw.get("seed"), 0),
        outputs=_writable(raw.get("outputs")),
        threads=usable_cores() if raw.get("threads") is None else whole("threads", raw["threads"], 1),
        raw=dict(raw),
    )


KEYS: dict[str, tuple[str, ...]] = {
    "teacher": tuple(field.name for field in fields(TeacherOptions)),
    "budget": tuple(field.name for field in fields(Budget)),
    "search": tuple(field.name for field in fields(Rules)),
    "exam": tuple(field.name for field in fields(ExamRules)),
    "runtime": ("name", "threads", "blocks", "calls", "clients", "price_per_hour"),
    "tracking": ("name", "uri"),
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
    "experiment",
    "study",
    "seed",
    "outputs",
    "threads",
)


def _section(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One part of the configuration, with the keys that it may have and no others."""
    section = raw.get(name)
    if not isinstance(section, Mapping):
        raise ConfigError(
            f"{name}={section!r}: name one of the files in conf/{name}, such as {name}={_first_option(name)}"
        )
    for key in section:
        if name in KEYS and key not in KEYS[name]:
            raise ConfigError(f"unknown key '{name}.{key}'. {suggestion(key, KEYS[name])}")
    return dict(section)


def _first_option(group: str) -> str:
    return next((path.stem for path in sorted((conf_dir() / group).glob("*.yaml"))), "...")


def _teacher(raw: Mapping[str, Any]) -> TeacherOptions:
    checkpoint = raw.get("checkpoint")
    if checkpoint is not None and not Path(str(checkpoint)).is_file():
        raise ConfigError(f"teacher.checkpoint={checkpoint} does not exist: give a .safetensors file")
    rest = {key: value for key, value in raw.items() if key != "checkpoint"}
    model = rest.get("model")
    if model is not None and not isinstance(model, str):
        raise ConfigError(f"teacher.model={model!r}: a folder, or a name on the Hugging Face hub is allowed")
    for key in ("epochs", "batch_size"):
        if key in rest:
            rest[key] = whole(f"teacher.{key}", rest[key], 2 if key == "batch_size" else 0)
    for key in ("learning_rate", "weight_decay", "head_factor", "label_smoothing", "clip"):
        if rest.get(key) is not None:
            above_zero = key not in ("weight_decay", "label_smoothing")
            rest[key] = number(f"teacher.{key}", rest[key], above_zero=above_zero)
    if rest.get("label_smoothing", 0) >= 1:
        raise ConfigError(f"teacher.label_smoothing={rest['label_smoothing']}: a number in [0, 1) is allowed")
    for key, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        if key in rest:
            lookup(table, str(rest[key]), f"{key} in teacher.{key}")
    return TeacherOptions(checkpoint=Path(checkpoint) if checkpoint else None, **rest)


def _budget(raw: Mapping[str, Any]) -> Budget:
    if raw.get("stop") not in ("spent", "kpis"):
        raise ConfigError(f"budget.stop={raw.get('stop')!r}: spent or kpis is allowed")
    until = raw.get("until")
    if until is not None and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", str(until)):
        raise ConfigError(f"budget.until={until!r}: a local time of day is allowed, such as 07:00")
    trials, plateau, hours = raw.get("trials"), raw.get("plateau"), raw.get("hours")
    budget = Budget(
        trials=None if trials is None else whole("budget.trials", trials, 1),
        hours=None if hours is None else number("budget.hours", hours, above_zero=True),
        until=until,
        stop=raw["stop"],
        plateau=None if plateau is None else whole("budget.plateau", plateau, 1),
    )
    if budget.trials is None and budget.hours is None and budget.until is None and budget.plateau is None:
        raise ConfigError(
            "the budget has no limit: type budget.hours=8, budget.trials=100, budget.until=07:00 or budget.plateau=50"
        )
    return budget


def _rules(raw: Mapping[str, Any]) -> Rules:
    for key, value in raw.items():
        if key != "margin" and not isinstance(value, bool):
            raise ConfigError(f"search.{key}={value!r}: true or false is allowed")
    return Rules(**{**raw, "margin": number("search.margin", raw.get("margin"), above_zero=False)})


def _measuring(raw: Mapping[str, Any], kpis: tuple[Kpi, ...]) -> Options:
    price = raw.get("price_per_hour")
    if price is None and any(kpi.name == "cost_per_million" for kpi in kpis):
        raise ConfigError("kpis.cost_per_million needs a price: type runtime.price_per_hour=0.2")
    return Options(
        **{key: whole(f"runtime.{key}", raw.get(key), 1) for key in ("blocks", "calls", "clients")},
        price_per_hour=None if price is None else number("runtime.price_per_hour", price, above_zero=True),
    )


def _exam(raw: Mapping[str, Any]) -> ExamRules:
    if raw.get("rule") not in RULES:
        raise ConfigError(f"exam.rule={raw.get('rule')}: {' or '.join(RULES)} is allowed")
    return ExamRules(raw["rule"], whole("exam.finalists", raw.get("finalists"), 1))


def _task_options(task: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that the task's function takes; their values are checked there."""
    return _options("task", task, TASKS[task], raw, given="pretrained")


def _options(section: str, name: str, member: Callable[..., Any], raw: Mapping[str, Any], given: str) -> dict[str, Any]:
    """All keys but the name; the member takes each. `given`: what it is given from elsewhere. Raises ConfigError."""
    options = {key: value for key, value in raw.items() if key != "name"}
    known = [parameter for parameter in inspect.signature(member).parameters if parameter != given]
    for key in options:
        if key not in known:
            hint = suggestion(key, known) if known else "It has none."
            raise ConfigError(f"{section} {name} has no option {key!r}. {hint} (Choose one by {section}=NAME.)")
    return options


def _sampler_options(raw: Mapping[str, Any]) -> dict[str, Any]:
    options = _options("sampler", raw["name"], SAMPLERS[raw["name"]], raw, given="seed")
    for key, value in options.items():
        if key == "multivariate":
            if not isinstance(value, bool):
                raise ConfigError(f"sampler.multivariate={value!r}: true or false is allowed")
        else:
            whole(f"sampler.{key}", value, 0)
    return options


def _tracking_uri(uri: Any) -> str | None:
    if uri is None:
        return None
    if not str(uri).startswith(("sqlite:///", "http://", "https://")):
        raise ConfigError(f"tracking.uri={uri}: null, sqlite:///FILE or http://HOST:PORT is allowed")
    return str(uri)


def _study_name(name: Any) -> str:
    name = str(name) if isinstance(name, int) else name  # study=20261125
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name in RESERVED:
        raise ConfigError(f"study={name!r}: letters, digits, '.', '_' and '-' are allowed, not {' or '.join(RESERVED)}")
    return name


def _writable(outputs: Any) -> Path:
    """The outputs folder, absolute. Raises ConfigError where nothing can be written into it; leaves nothing behind."""
    if not isinstance(outputs, str) or not outputs:
        raise ConfigError(f"outputs={outputs!r}: a folder is allowed, such as outputs=runs")
    folder = Path(outputs).absolute()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
        with contextlib.suppress(OSError):  # another search may have begun to use it
            for path in missing:
                path.rmdir()
    except OSError as error:
        raise ConfigError(
            f"outputs={outputs}: cannot write there ({error.strerror}): type outputs=ANOTHER_FOLDER"
        ) from error
    return folder
