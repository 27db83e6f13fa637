"""One function a section of the configuration: from its raw keys to checked plain values. Each raises ConfigError."""

import contextlib
import inspect
import os
import platform
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from autoopt.core.checks import MOST_THREADS, number, whole
from autoopt.core.errors import ConfigError
from autoopt.core.exam import RULES, ExamRules
from autoopt.core.kpi import Kpi
from autoopt.core.lookup import lookup, suggestion
from autoopt.core.passwords import masked
from autoopt.measurements import Options
from autoopt.runtimes import providers
from autoopt.search.budget import Budget
from autoopt.search.limits import Limits
from autoopt.search.rules import Rules
from autoopt.search.samplers import SAMPLERS
from autoopt.search.window import LEAST_SEEN
from autoopt.tasks import TASKS
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.schedules import SCHEDULES
from autoopt.training.teacher import TeacherOptions

WORKERS = "workers"
RESERVED = ("cache", "mlartifacts", "mlflow.db", WORKERS)
STORAGE = "AUTOOPT_STORAGE"
MOST_CALLS, MOST_BATCH = 100_000, 65_536
"""Beyond, a night would pass over one measurement, or memory run out at its end."""


def read_teacher(raw: Mapping[str, Any]) -> TeacherOptions:
    checkpoint = raw.get("checkpoint")
    if checkpoint is not None and not Path(str(checkpoint)).is_file():
        what = "is a folder" if checkpoint and Path(str(checkpoint)).is_dir() else "does not exist"
        raise ConfigError(f"teacher.checkpoint={checkpoint} {what}: give a .safetensors file")
    rest = {key: value for key, value in raw.items() if key != "checkpoint"}
    model = rest.get("model")
    if model is not None and (not isinstance(model, str) or not model):
        raise ConfigError(f"teacher.model={model!r}: a folder, or a name on the Hugging Face hub is allowed")
    for key in ("epochs", "batch_size"):
        if key in rest:
            rest[key] = whole(f"teacher.{key}", rest[key], 2 if key == "batch_size" else 0)
    for key in ("learning_rate", "weight_decay", "head_factor", "label_smoothing", "clip"):
        if key in rest and (rest[key] is not None or key != "clip"):
            above_zero = key not in ("weight_decay", "label_smoothing")
            rest[key] = number(f"teacher.{key}", rest[key], above_zero=above_zero)
    if rest.get("label_smoothing", 0) >= 1:
        raise ConfigError(f"teacher.label_smoothing={rest['label_smoothing']}: a number in [0, 1) is allowed")
    for key, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        if key in rest:
            lookup(table, str(rest[key]), f"{key} in teacher.{key}")
    return TeacherOptions(checkpoint=Path(checkpoint) if checkpoint else None, **rest)


def read_budget(raw: Mapping[str, Any]) -> Budget:
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


def read_rules(raw: Mapping[str, Any]) -> Rules:
    for key, value in raw.items():
        if key != "margin" and not isinstance(value, bool):
            raise ConfigError(f"search.{key}={value!r}: true or false is allowed")
    return Rules(**{**raw, "margin": number("search.margin", raw.get("margin"), above_zero=False)})


def read_limits(raw: Mapping[str, Any], retry: Mapping[str, Any]) -> Limits:
    limits = {key: raw.get(key) for key in ("trial_minutes", "trial_gb", "disk_gb")}
    return Limits(
        **{
            key: None if value is None else number(f"limits.{key}", value, above_zero=key != "disk_gb")
            for key, value in limits.items()
        },
        grace_s=number("limits.grace_s", raw.get("grace_s"), above_zero=False),
        retries=whole("retry.max", retry.get("max"), 0),
    )


def read_measuring(raw: Mapping[str, Any], kpis: tuple[Kpi, ...]) -> Options:
    price = raw.get("price_per_hour")
    if price is None and any(kpi.name == "cost_per_million" for kpi in kpis):
        raise ConfigError("kpis.cost_per_million needs a price: type runtime.price_per_hour=0.2")
    options = Options(
        blocks=whole("runtime.blocks", raw.get("blocks"), 5, MOST_CALLS),
        **{key: whole(f"runtime.{key}", raw.get(key), 1, MOST_CALLS) for key in ("calls", "attempts")},
        clients=whole("runtime.clients", raw.get("clients"), 1, MOST_THREADS),
        max_spread=number("runtime.max_spread", raw.get("max_spread"), above_zero=True),
        price_per_hour=None if price is None else number("runtime.price_per_hour", price, above_zero=True),
    )
    if not options.has_p99 and any(kpi.name == "latency_p99_ms" for kpi in kpis):
        raise ConfigError(
            f"kpis.latency_p99_ms needs more calls than runtime.blocks={options.blocks} and runtime.calls="
            f"{options.calls}: type runtime.calls=100 (and at least 10 blocks)"
        )
    return options


def read_device(device: Any) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", str(device)):
        raise ConfigError(f"device={device}: auto, cpu, cuda or cuda:N is allowed, N being the number of a GPU")
    return str(device)


def read_provider(provider: Any, runtimes: tuple[str, ...]) -> str:
    """Where the key is missing, a study is older than it: it was measured on the CPU."""
    provider = providers.CPU if provider is None else provider
    if provider not in providers.CHOICES:
        raise ConfigError(f"runtime.provider={provider}: {', '.join(providers.CHOICES)} is allowed")
    if "onnxruntime" in runtimes:
        return str(provider)
    if provider not in (providers.AUTO, providers.CPU):
        raise ConfigError(f"runtime.provider={provider} is onnxruntime's: type runtime=onnxruntime, or leave it out")
    return providers.CPU


def read_exam(raw: Mapping[str, Any]) -> ExamRules:
    if raw.get("rule") not in RULES:
        raise ConfigError(f"exam.rule={raw.get('rule')}: {' or '.join(RULES)} is allowed")
    return ExamRules(
        raw["rule"],
        whole("exam.finalists", raw.get("finalists"), 1),
        clients=_numbers("exam.clients", raw.get("clients"), 1, MOST_THREADS),
        batch_sizes=_numbers("exam.batch_sizes", raw.get("batch_sizes"), 2, MOST_BATCH),
    )


def _numbers(path: str, value: Any, least: int, most: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{path}={value!r}: a list is allowed, such as '{path}=[4,16]'")
    return tuple(whole(path, each, least, most) for each in value)


def read_task(task: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that the task's function takes, of the kind that it takes; what they may be is checked there."""
    options = _options("task", task, TASKS[task], raw, given="pretrained")
    kinds = get_type_hints(TASKS[task])
    return {key: _of_kind(f"task.{key}", value, kinds[key]) for key, value in options.items()}


def _of_kind(path: str, value: Any, kind: Any) -> Any:
    if kind in (str, str | None) and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a column that is called 0
    if kind is bool and not isinstance(value, bool):
        raise ConfigError(f"{path}={value!r}: true or false is allowed")
    may_be_null = kind == str | None
    if (kind is str or may_be_null) and not isinstance(value, str) and not (may_be_null and value is None):
        raise ConfigError(f"{path}={value!r}: text is allowed{', or null' if may_be_null else ''}")
    return value


def _options(section: str, name: str, member: Callable[..., Any], raw: Mapping[str, Any], given: str) -> dict[str, Any]:
    """All keys but the name; the member takes each. `given`: what it is given from elsewhere. Raises ConfigError."""
    options = {key: value for key, value in raw.items() if key != "name"}
    known = [parameter for parameter in inspect.signature(member).parameters if parameter != given]
    for key in options:
        if key not in known:
            hint = suggestion(key, known) if known else "It has none."
            raise ConfigError(f"{section} {name} has no option {key!r}. {hint} (Choose one by {section}=NAME.)")
    return options


def read_sampler(raw: Mapping[str, Any]) -> dict[str, Any]:
    found = _options("sampler", raw["name"], SAMPLERS[raw["name"]], raw, given="seed")
    for key, value in found.items():
        if key == "multivariate":
            if not isinstance(value, bool):
                raise ConfigError(f"sampler.multivariate={value!r}: true or false is allowed")
        else:
            whole(f"sampler.{key}", value, LEAST_SEEN if key == "most_trials" else 0)
    return found


def read_uri(uri: Any) -> str | None:
    if uri is None:
        return None
    if not re.match(r"sqlite:///.|https?://[^/]", str(uri)):
        raise ConfigError(f"tracking.uri={uri}: null, sqlite:///FILE or http://HOST:PORT is allowed")
    return str(uri)


def read_name(name: Any) -> str:
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name  # study=20261125
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name in RESERVED:
        raise ConfigError(
            f"study={name!r}: letters, digits, '.', '_' and '-', at most 100 and the first one a letter or digit, are "
            f"allowed, not {' or '.join(RESERVED)}"
        )
    return name


def read_model(name: Any, task: str) -> str:
    """The registered model's name, as MLflow takes it in an address."""
    if name is None:
        return task
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ConfigError(
            f"registry.model={name!r}: letters, digits, '.', '_' and '-', at most 100 and the first one a letter or "
            "digit, are allowed, or null for the task's name"
        )
    return name


def read_storage(uri: Any) -> str | None:
    """Of the study; where none is typed, that of AUTOOPT_STORAGE, so that passwords need not stand in commands."""
    uri = os.environ.get(STORAGE) or None if uri is None else uri
    if uri is None:
        return None
    found = re.match(r"postgres(?:ql)?(?:\+psycopg)?://(?=[^/]*\w)(.*/[^/?].*)", str(uri))
    if not found:
        hint = "of a study in a file leave it out" if str(uri).startswith("sqlite") else "only PostgreSQL is allowed"
        raise ConfigError(
            f"storage={masked(str(uri))}: {hint}, else type storage=postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE"
        )
    found_uri = f"postgresql+psycopg://{found[1]}"
    try:
        make_url(found_uri)
    except (ValueError, ArgumentError) as error:
        raise ConfigError(
            f"storage={masked(str(uri))} is no address: type storage=postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE"
        ) from error
    return found_uri


def read_host(name: Any, key: str = "host") -> str:
    """The machine's own name where none is typed."""
    if name is None:
        return platform.node()
    if not re.fullmatch(r"[\w.-]+", str(name)):
        raise ConfigError(f"{key}={name!r}: a name of letters, digits, '.', '_' and '-' is allowed")
    return str(name)


def read_outputs(outputs: Any) -> Path:
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
