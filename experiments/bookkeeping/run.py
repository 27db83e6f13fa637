"""What a trial costs beyond building, training and measuring it: the sampler, the study's record, MLflow.

    python run.py table [ROWS]     # the fashion space over a made-up evaluation: how the cost grows with the study
    python run.py real [TRIALS]    # a real search on fashion: the share of its wall time
Both add to results.json; the first draws growth.png.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import matplotlib
import numpy as np
import optuna

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from autoopt.commands.bench import load_task, narrow
from autoopt.commands.first import first_recipes
from autoopt.config import load_settings
from autoopt.core.kpi import Measurement
from autoopt.core.trial import Draft
from autoopt.measurements import FACTS
from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.samplers import make_sampler
from autoopt.search.screening import Gate
from autoopt.search.search import Search, Watch
from autoopt.search.study import open_study
from autoopt.tracking.store import default_uri
from autoopt.tracking.target import Target
from autoopt.tracking.view import View

HERE = Path(__file__).parent
BITS = {"none": 1.0, "fp16": 0.5, "int8_dynamic": 0.26, "int8_static": 0.26, "weight_only_int8": 0.3}


def made_up(draft: Draft, gate: Gate) -> list[Draft]:
    """A smooth function of the recipe, with a little noise that the recipe alone decides."""
    fill(draft, gate)
    siblings = [Draft(recipe) for recipe in draft.siblings]
    for sibling in siblings:
        fill(sibling, None)
    return siblings


def fill(draft: Draft, gate: Gate | None) -> None:
    recipe = draft.recipe
    rng = np.random.default_rng(int(recipe.fingerprint[:8], 16))
    scale = 1.0 if recipe.student == "teacher" else 0.1 * (recipe.width or 1.0)
    scale *= (1 - (recipe.pruning_ratio or 0.0)) * BITS.get(recipe.quantization, 0.2)
    values = dict.fromkeys(FACTS, Measurement(scale, 1.0))
    draft.measurements.update(values)
    draft.measurements.pop("accuracy")
    if gate is not None:
        gate.admit(draft.measurements)
    off = abs(np.log10((recipe.learning_rate or 3e-3) / 3e-3))
    final = 0.925 - 0.01 * off - 0.004 / max(scale, 0.02) ** 0.5 + rng.normal(0, 0.002)
    for epoch in range(1, recipe.epochs + 1):
        draft.curve.append(float(final - 0.3 * 0.5**epoch))
        if gate is not None:
            gate.after_epoch(draft.measurements, draft.curve)
    draft.measurements["accuracy"] = Measurement(float(final), 0.919)


def table(rows: int) -> dict[str, Any]:
    folder = Path(mkdtemp())
    settings = load_settings([f"outputs={folder}", "study=table"])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = narrow(settings, load_task(settings))
    study = open_study(settings.folder, "table", settings.kpis, {})
    study.sampler = make_sampler(settings.sampler, 0, settings.sampler_options)
    target = Target(default_uri(folder), folder, "toy", "table", "id", settings.kpis, lambda number: folder / "none")
    view = View.open(target)
    count = 0

    def over() -> bool:
        return count >= rows

    def on_end(*told: Any) -> None:
        nonlocal count
        count = len(told[1].trials)
        view.sync(told[1])

    run_search(
        Search(
            study=study,
            space=space,
            kpis=settings.kpis,
            crew=Here(Acts(made_up)),
            budget=Budget(),
            first=first_recipes(space),
            rules=settings.rules,
            watch=Watch(on_end=on_end),
            should_stop=over,
        )
    )
    costs = [
        (t.evaluation.seconds.get("log", 0.0), t.evaluation.seconds.get("sampler", 0.0))
        for t in read_trials(study)
        if t.evaluation
    ]
    around = {at: window(costs, at) for at in (200, rows)}
    draw(costs)
    ratio = sum(around[rows]) / sum(around[200])
    return {
        "rows": len(costs),
        "ms_a_row": {
            str(at): {"log": round(1e3 * a, 1), "sampler": round(1e3 * b, 1)} for at, (a, b) in around.items()
        },
        "growth_from_200": round(ratio, 2),
    }


def window(costs: list[tuple[float, float]], at: int) -> tuple[float, float]:
    """Mean seconds a row (log, sampler) over the 100 rows up to `at`."""
    log, sampler = np.mean(costs[max(0, at - 100) : at], axis=0)
    return float(log), float(sampler)


def draw(costs: list[tuple[float, float]]) -> None:
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    at = range(100, len(costs) + 1, 20)
    for part, label in ((0, "record and MLflow"), (1, "sampler")):
        axes.plot(at, [1e3 * window(costs, n)[part] for n in at], label=label)
    axes.plot(at, [1e3 * sum(window(costs, n)) for n in at], color="black", label="together")
    axes.set(xlabel="trials in the study, siblings included", ylabel="ms a trial (mean of 100)", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "growth.png", dpi=120)


def real(trials: int) -> dict[str, Any]:
    folder = Path(mkdtemp())
    words = ["search", f"budget.trials={trials}", f"outputs={folder}", "threads=1", "study=real"]
    done = subprocess.run([sys.executable, "-m", "autoopt", *words], stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    stages, seconds = told["seconds_by_stage"], told["seconds"]
    books = seconds - sum(stages.get(s, 0.0) for s in ("structure", "screen", "train", "export", "quantize", "measure"))
    return {
        **{key: told[key] for key in ("trials", "siblings", "complete", "screened", "failed", "seconds")},
        "seconds_by_stage": stages,
        "counted_share": round(sum(stages.values()) / seconds, 4),
        "bookkeeping_share": round(books / seconds, 4),
    }


def main() -> None:
    kinds: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {"table": (table, 2000), "real": (real, 200)}
    run, count = kinds[sys.argv[1]]
    found = run(int(sys.argv[2]) if len(sys.argv) > 2 else count)
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**results, sys.argv[1]: found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
