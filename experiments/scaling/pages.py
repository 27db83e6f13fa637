"""What people look at, of a study of so many trials: report.html, and MLflow's table and charts."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoopt.commands.conclude import read_as_searched
from autoopt.commands.tracking import target_of
from autoopt.core.kpi import Measurement
from autoopt.core.standing import standing
from autoopt.search.study import load_study
from autoopt.tracking.store import default_uri
from autoopt.tracking.view import View
from experiments.review.mlflow_server import serving
from experiments.scaling.filled import STUDY, settings_of
from tests.browser import open_browser
from tests.services import free_port

READ = [f"study={STUDY}", "task=digits"]
CHART = ".js-plotly-plot .main-svg"
FRESH = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
PATIENCE_MS = 180_000


def report(outputs: Path) -> dict[str, Any]:
    """`autoopt report`, and the page in a browser."""
    seconds, peak_mb = _timed(["report", *READ, f"outputs={outputs}"])
    page = outputs / STUDY / "report.html"
    return {"seconds": seconds, "peak_mb": peak_mb, "mb": round(page.stat().st_size / 1e6, 1), **_opened(page)}


def _opened(page: Path) -> dict[str, Any]:
    said: list[str] = []
    with open_browser() as browser:
        tab = browser.new_page(viewport={"width": 1300, "height": 1000})
        tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        began = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="load", timeout=PATIENCE_MS)
        tab.locator(CHART).last.wait_for(timeout=PATIENCE_MS, state="attached")
        tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        drawn = time.perf_counter() - began
        tab.screenshot(path=str(page.with_name("report-top.png")))
        tab.locator("#trials thead").scroll_into_view_if_needed(timeout=PATIENCE_MS)
        tab.screenshot(path=str(page.with_name("report-table.png")))
        script = """(what) => new Promise(done => { const began = performance.now(); what();
          requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began))) })"""
        typed = tab.evaluate(
            f"""() => ({script})(() => {{ const box = document.querySelector('.controls input');
            box.value = 'mlp adamw'; box.dispatchEvent(new Event('input')) }})"""
        )
        sorted_ = tab.evaluate(f"() => ({script})(() => document.querySelectorAll('#trials th button')[3].click())")
        size = tab.evaluate("document.getElementsByTagName('*').length")
        rows = tab.evaluate("document.querySelectorAll('#trials tbody tr').length")
    told = {"drawn_s": round(drawn, 2), "filter_ms": round(typed), "sort_ms": round(sorted_)}
    return {**told, "elements": size, "table_rows": rows, "console": said}


def sync(outputs: Path) -> dict[str, Any]:
    """Into a new store beside the study; then once more, where nothing is missing."""
    for file in outputs.glob("mlflow.db*"):
        file.unlink()
    words = ["sync", *READ, f"outputs={outputs}"]
    first, peak_mb = _timed(words)
    again, _ = _timed(words)
    return {"seconds": first, "again_s": again, "peak_mb": peak_mb, "mb": _mb(outputs)}


def _mb(outputs: Path) -> float:
    return round((outputs / "mlflow.db").stat().st_size / 1e6, 1)


def update(outputs: Path, more: int = 5) -> dict[str, Any]:
    """What the tracker does while the search goes on: it opens what is there, then writes a trial at a time."""
    settings = settings_of(outputs)
    study = load_study(settings.folder, STUDY)
    outcome, _ = read_as_searched(settings, study)
    target, trials = target_of(replace(settings, kpis=outcome.kpis), study), list(outcome.standing.trials)
    like = next(t for t in trials if t.state == "complete" and t.sibling_of is not None and t.evaluation)
    began = time.perf_counter()
    view = View.open(target)
    opened = time.perf_counter() - began
    began = time.perf_counter()
    view.sync(outcome.standing)
    first, each = time.perf_counter() - began, []
    for number in range(len(trials), len(trials) + more):
        trials.append(replace(like, number=number, ended_unix_s=trials[-1].ended_unix_s + 3))
        now = standing(trials, outcome.kpis)
        began = time.perf_counter()
        view.sync(now)
        each.append(time.perf_counter() - began)
    ended = trials[-1].ended_unix_s + 3
    leads = replace(like, number=len(trials), evaluation=_better(like.evaluation), ended_unix_s=ended)
    now = standing([*trials, leads], outcome.kpis)
    began = time.perf_counter()
    view.sync(now)
    lead = time.perf_counter() - began
    view.refresh()
    for number in range(len(outcome.standing.trials), len(trials) + 1):
        view._mlflow.delete_run(view._runs[number])
    median = sorted(each)[len(each) // 2]
    return {
        "open_s": round(opened, 2),
        "first_s": round(first, 2),
        "trial_ms": round(1000 * median),
        "lead_ms": round(1000 * lead),
    }


def _better(evaluation: Any) -> Any:
    """On every objective: what was the front leaves it."""
    found = dict(evaluation.measurements)
    found["accuracy"] = Measurement(1.0, found["accuracy"].baseline)
    for name in ("latency_p95_ms", "size_mb"):
        found[name] = Measurement(found[name].baseline * 1e-3, found[name].baseline)
    return replace(evaluation, measurements=found)


def mlflow_pages(outputs: Path) -> dict[str, Any]:
    """Seconds until the first row of the table is there, and until a chart is drawn; the best of two."""
    settings = settings_of(outputs)
    study = load_study(settings.folder, STUDY)
    target = target_of(settings, study)
    page = View.open(target).how_to_look.rpartition("5000")[2]
    port = free_port()
    with serving(default_uri(outputs), outputs / "files", port) as address:
        taken = [_load(f"{address}{page}", outputs) for _ in range(2)]
    return {key: min(each[key] for each in taken) for key in taken[0]}


def _load(address: str, outputs: Path) -> dict[str, Any]:
    took: dict[str, Any] = {}
    with open_browser() as browser:
        for what, sign in (("table", ".ag-row"), ("charts", CHART)):
            context = browser.new_context(viewport={"width": 1600, "height": 1000})
            context.add_init_script(FRESH)
            tab = context.new_page()
            began = time.perf_counter()
            tab.goto(address if what == "table" else f"{address}&compareRunsMode=CHART", timeout=PATIENCE_MS)
            tab.locator(sign).first.wait_for(timeout=PATIENCE_MS)
            took[f"{what}_s"] = round(time.perf_counter() - began, 2)
            tab.wait_for_timeout(2000)
            tab.screenshot(path=str(outputs / f"mlflow-{what}.png"))
            took[f"{what}_rows"] = tab.locator(".ag-row").count()
            context.close()
    return took


def _timed(words: list[str]) -> tuple[float, float]:
    """Seconds and the peak of memory in MB of an autoopt command."""
    began = time.perf_counter()
    running = subprocess.Popen([sys.executable, "-m", "autoopt", *words], stdout=subprocess.PIPE)
    assert running.stdout is not None
    said = running.stdout.read()
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise RuntimeError(f"autoopt {' '.join(words)} ended with {running.returncode}: {said[-2000:]!r}")
    json.loads(said.splitlines()[-1])
    return round(time.perf_counter() - began, 1), round(used.ru_maxrss / 1e3)
