"""autoopt doctor: is this machine ready for a night?"""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from autoopt.commands.conclude import stdout_console
from autoopt.config import Settings
from autoopt.core.cpu import cpu_flags, cpu_name, usable_cores
from autoopt.core.errors import AutooptError, one_line
from autoopt.core.packages import distribution_of, version_of
from autoopt.core.passwords import masked
from autoopt.core.recipe import Recipe
from autoopt.core.trial import Draft
from autoopt.quantization import SCHEMES
from autoopt.tasks import Task

OK, WARNING, ERROR = "ok", "warning", "error"
STYLES = {OK: "green", WARNING: "yellow", ERROR: "bold red"}
PACKAGES = ("torch", "onnx", "onnxruntime", "optuna", "mlflow", "hydra-core", "torch-pruning")
QUIET_S, PRODUCTS, UNSTEADY = 5.0, 200, 1.5
BUSY = 0.75  # of the cores, in the load average
LEAST_DISK_GB, LEAST_MEMORY_GB = 2.0, 2.0


@dataclass(frozen=True)
class Finding:
    """`advice` says what to do where it is not ok."""

    status: str
    detail: str
    advice: str = ""


def doctor(settings: Settings) -> int:
    """Prints a table of checks. Returns 0 where a search would run, 1 where it would not."""
    task = cache(partial(_load_task, settings))
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": partial(_packages, settings),
        "cpu": _cpu,
        "devices": partial(_devices, settings),
        "schemes": _schemes,
        "threads": partial(_threads, settings),
        "quiet": _quiet,
        "memory": _memory,
        "disk": partial(_disk, settings.outputs),
        "configuration": partial(_configuration, settings, task),
        "teacher": partial(_teacher, settings, task),
        "tracking": partial(_tracking, settings),
        "artifacts": partial(_artifacts, settings),
        "a tiny trial": partial(_tiny_trial, settings),
    }
    table = Table("check", "status", "found", "what to do", title="autoopt doctor", title_justify="left")
    worst = 0
    for name, check in checks.items():
        finding = _survive(check)
        status = f"[{STYLES[finding.status]}]{finding.status}"
        table.add_row(name, status, escape(masked(finding.detail)), escape(finding.advice))
        worst = max(worst, int(finding.status == ERROR))
    stdout_console().print(table)
    return worst


def _survive(check: Callable[[], Finding]) -> Finding:
    """A broken installation is what a doctor is for: whatever a check raises is its finding."""
    try:
        return check()
    except AutooptError as error:
        return Finding(ERROR, str(error), "a search would stop here")
    except Exception as error:
        return Finding(ERROR, f"{type(error).__name__}: {one_line(error, 300)}", "reinstall, or report this")


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    return Finding(OK, found) if sys.version_info >= (3, 11) else Finding(ERROR, found, "install Python 3.11 or newer")


def _packages(settings: Settings) -> Finding:
    names = dict.fromkeys((*PACKAGES, *settings.runtimes))
    return Finding(OK, ", ".join(f"{distribution_of(name)} {version_of(name)}" for name in names))


def _cpu() -> Finding:
    known = [flag for flag in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "asimddp") if flag in cpu_flags()]
    return Finding(OK, f"{cpu_name()}, {os.cpu_count()} cores, {', '.join(known) or 'features unknown'}")


def _devices(settings: Settings) -> Finding:
    from autoopt.commands.devices import in_words

    return Finding(OK, *in_words(settings))


def _schemes() -> Finding:
    """What the quantization schemes have to be wary of on this CPU."""
    said: dict[str, list[str]] = {}
    for name, scheme in SCHEMES.items():
        for caution in scheme.cautions:
            if caution.here():
                said.setdefault(caution.said, []).append(name)
    return Finding(OK, "; ".join(f"{', '.join(names)}: {what}" for what, names in said.items()))


def _threads(settings: Settings) -> Finding:
    cores = usable_cores()
    detail = f"{settings.threads} to train, {settings.runtime_threads} to serve, {cores} cores usable"
    if max(settings.threads, settings.runtime_threads) > cores:
        return Finding(WARNING, detail, f"more threads than cores slow each other down: threads={cores}")
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    if policy.upper() != "PASSIVE":
        return Finding(
            WARNING,
            f"{detail}; OMP_WAIT_POLICY={policy or 'not set'}",
            "spinning threads steal cores: export OMP_WAIT_POLICY=PASSIVE",
        )
    return Finding(OK, detail)


def _quiet() -> Finding:
    """How steady a small matrix product is, block by block: what other work on the machine does to latencies."""
    busy = os.getloadavg()[0]  # of the last minute: work that never pauses slows all blocks alike
    matrix = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    blocks = []
    end = time.perf_counter() + QUIET_S
    while time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(PRODUCTS):
            matrix @ matrix
        blocks.append(time.perf_counter() - began)
    low, middle, high = np.percentile(blocks, [25, 50, 95])
    spread = high / low
    detail = (
        f"a small matrix product takes {1e6 * middle / PRODUCTS:.0f} us, at times {spread:.2f}x its best{_governor()}"
    )
    detail += f"; load average {busy:.1f} on {usable_cores()} cores"
    if spread <= UNSTEADY and busy <= BUSY * usable_cores():
        return Finding(OK, detail)
    return Finding(WARNING, detail, "other work is on this machine: ratios hold, milliseconds may not")


def _governor() -> str:
    """Of the CPU's frequency, where the system tells."""
    file = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return f"; frequency governor {file.read_text().strip()}" if file.is_file() else ""


def _memory() -> Finding:
    info = Path("/proc/meminfo")
    if not info.is_file():
        return Finding(OK, "not known on this system")
    kilobytes = next(int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("MemAvailable"))
    free = kilobytes / 1e6
    return Finding(
        OK if free >= LEAST_MEMORY_GB else WARNING,
        f"{free:.1f} GB available",
        "" if free >= LEAST_MEMORY_GB else "close other programs",
    )


def _disk(outputs: Path) -> Finding:
    there = next(path for path in (outputs, *outputs.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    if free >= LEAST_DISK_GB:
        return Finding(OK, f"{free:.1f} GB free at {there}")
    return Finding(
        ERROR, f"{free:.1f} GB free at {there}", f"make room for {LEAST_DISK_GB:g} GB, or type outputs=ANOTHER_FOLDER"
    )


def _load_task(settings: Settings) -> Task:
    from autoopt.commands.bench import load_task

    return load_task(settings)


def _configuration(settings: Settings, load: Callable[[], Task]) -> Finding:
    from autoopt.commands.bench import check, narrow

    task = load()
    check(settings, task)
    narrow(settings, task)
    splits = f"{len(task.train)} / {len(task.validation)} / {len(task.test)}"
    return Finding(
        OK, f"task {task.name} ({splits}), study {settings.study}, KPIs {', '.join(kpi.name for kpi in settings.kpis)}"
    )


def _teacher(settings: Settings, load: Callable[[], Task]) -> Finding:
    """Loaded, looked at and exported, where that takes no training."""
    from autoopt.runtimes import RUNTIMES
    from autoopt.runtimes.export import export
    from autoopt.runtimes.parity import check_parity
    from autoopt.runtimes.providers import chosen
    from autoopt.tasks.checks import check_teacher
    from autoopt.training.loop import Hooks
    from autoopt.training.teacher import load_teacher, needs_training

    task, provider = load(), chosen(settings.provider)
    if needs_training(task, settings.teacher):
        return Finding(OK, "trained by the first search, beside its budget, then kept")
    teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, Hooks())
    check_teacher(task, teacher)
    with tempfile.TemporaryDirectory() as folder:
        path, inputs = Path(folder) / "teacher.onnx", task.validation.inputs[:64]
        exporter = export(teacher, inputs, path)
        sessions = [RUNTIMES[name](path, 1, provider) for name in settings.runtimes]
        off = [check_parity(teacher, session, inputs)["parity_max_abs"] for session in sessions]
    return Finding(OK, f"exported by {exporter}, off by {max(off):.1g} at most in {' and '.join(settings.runtimes)}")


def _tracking(settings: Settings) -> Finding:
    if settings.tracker == "none":
        return Finding(OK, "turned off")
    from autoopt.tracking.store import default_uri, open_client
    from autoopt.tracking.view import TROUBLE

    uri = settings.tracking_uri or default_uri(settings.outputs)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return Finding(OK, f"{uri}, which the first search creates")
    try:
        open_client(uri)
    except TROUBLE as error:
        return Finding(
            WARNING,
            f"{uri}: {one_line(error, 160)}",
            "a search runs without it; start the server, or type tracking=none",
        )
    return Finding(OK, uri)


def _artifacts(settings: Settings) -> Finding:
    if settings.store is None:
        return Finding(OK, "of this machine alone: artifacts.uri=null")
    settings.store.check()
    return Finding(OK, f"{settings.store.uri}, written and read back")


def _tiny_trial(settings: Settings) -> Finding:
    """The whole path once, on digits, in a folder that is removed again; of several runtimes under the last one."""
    from autoopt.commands.bench import make_bench
    from autoopt.config import load_settings
    from autoopt.pipeline import run_trial
    from autoopt.tasks import TASKS
    from autoopt.training.loop import Hooks
    from autoopt.training.teacher import load_teacher, module_fingerprint

    runtimes = settings.runtimes
    recipe = Recipe(
        "cnn",
        "none",
        "int8_static",
        epochs=2,
        optimizer="adamw",
        learning_rate=5e-3,
        calibration="minmax",
        schedule="cosine",
        runtime=runtimes[-1],
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        chosen = f"runtime=[{','.join(runtimes)}]"
        where = [f"runtime.provider={settings.provider}", f"device={settings.device}"]
        settings = load_settings(["task=digits", chosen, *where, f"outputs={folder}", "teacher.epochs=2"])
        task = TASKS["digits"]()
        teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, Hooks(), settings.device)
        bench = make_bench(settings, task, teacher, module_fingerprint(teacher))
        draft = Draft(recipe)
        run_trial(draft, bench, Path(folder), Hooks(), lambda measurements: None)
        if draft.error is not None:
            raise draft.error
    measured = draft.measurements
    accuracy, latency = measured["accuracy"].value, measured["latency_p95_ms"]
    seconds = time.perf_counter() - began
    figures = f"accuracy {accuracy:.3f}, p95 {latency.ratio:.2f}x the baseline, {seconds:.1f} s"
    detail = f"digits, cnn, int8_static, {runtimes[-1]}: {figures}"
    return (
        Finding(OK, detail)
        if accuracy > 0.5
        else Finding(ERROR, detail, "training or quantization is broken here: report this line")
    )
