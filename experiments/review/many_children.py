"""How MLflow's page of a study with 500 children compares with one of 20: seconds to a table, and to the charts.

    nice python -m experiments.review.many_children FOLDER PORT

Trials are those of the tests' lookup table, each with every measurement of a classification, as heavy as a real one.
Needs Debian's chromium. Prints one JSON document.
"""

import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from autoopt.core.kpi import Measurement
from autoopt.core.standing import standing
from autoopt.core.trial import Evaluation, Trial
from autoopt.measurements import FACTS
from autoopt.tracking.store import default_uri
from autoopt.tracking.target import Target
from autoopt.tracking.view import View
from experiments.review.mlflow_server import serving
from tests.browser import open_browser
from tests.search.table import KPIS
from tests.tracking.stores import search_table

SIZES, LOADS = (20, 500), 3
FRESH = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


def heavy(trials: list[Trial]) -> list[Trial]:
    """With every measurement."""
    draws = random.Random(0)
    names = [name for name in FACTS if name not in ("r2", "quality")]
    made = []
    for trial in trials:
        found = {name: Measurement(draws.uniform(0.5, 1), 1.0) for name in names} | dict(trial.measurements)
        seen = trial.evaluation or Evaluation({})
        made.append(replace(trial, evaluation=replace(seen, measurements=found)))
    return made


def write(outputs: Path, size: int) -> tuple[str, float]:
    """The address of the study's page, and the seconds that writing all of it took."""
    trials = heavy(search_table(outputs / f"study{size}", trials=size, every=1_000_000))
    identity = f"{size:032x}"[::-1]
    target = Target(default_uri(outputs), outputs, f"of {size}", str(size), identity, KPIS, lambda n: outputs / "none")
    view = View.open(target)
    began = time.monotonic()
    view.sync(standing(trials, KPIS))
    return view.how_to_look.rpartition("5000")[2], time.monotonic() - began


def load(address: str, page: str, shot: Path) -> dict[str, float]:
    """Seconds until the first row of the table is there, and until a chart is drawn, each in a browser of its own."""
    took = {}
    with open_browser() as browser:
        for what, where, sign in (
            ("table", page, ".ag-row"),
            ("charts", f"{page}&compareRunsMode=CHART", ".js-plotly-plot .main-svg"),
        ):
            context = browser.new_context(viewport={"width": 1600, "height": 1000})
            context.add_init_script(FRESH)
            tab = context.new_page()
            began = time.monotonic()
            tab.goto(f"{address}{where}")
            tab.locator(sign).first.wait_for(timeout=120_000)
            took[what] = time.monotonic() - began
            tab.screenshot(path=str(shot.with_name(f"{shot.stem}-{what}.png")))
            context.close()
    return took


def main(outputs: Path, port: int) -> None:
    outputs.mkdir(parents=True)
    pages = {size: write(outputs, size) for size in SIZES}
    with serving(default_uri(outputs), outputs / "files", port) as address:
        load(address, pages[SIZES[0]][0], outputs / "warm-up")  # the server's and the disk's first answer
        taken: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
        for _ in range(LOADS):  # in turn: the machine has other work
            for size in SIZES:
                taken[size].append(load(address, pages[size][0], outputs / f"page{size}"))
    best = {size: {what: min(each[what] for each in found) for what in found[0]} for size, found in taken.items()}
    small, large = (best[size] for size in SIZES)
    ratios = {what: round(large[what] / small[what], 2) for what in small}
    written = {size: round(seconds, 1) for size, (_, seconds) in pages.items()}
    print(json.dumps({"seconds": best, "ratios": ratios, "seconds_to_write": written}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
