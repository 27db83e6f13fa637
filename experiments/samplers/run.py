"""Which sampler should be the default? Each searches the recorded trials, with all rules of the search, from 20 seeds.

python run.py SAMPLER [SEEDS] [TRIALS]      # adds results/SAMPLER.json
python run.py                               # results/ -> results.json, hypervolume.png
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import numpy as np
import optuna

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from genetic import ConditionalNSGAII
from optuna.samplers import BaseSampler, NSGAIISampler
from table import Table, load

from autoopt.commands.bench import load_task, narrow
from autoopt.commands.first import first_recipes
from autoopt.config import load_settings
from autoopt.core.errors import TrialError
from autoopt.core.kpi import Measurement
from autoopt.core.standing import Standing
from autoopt.core.trial import Draft, Trial
from autoopt.search import samplers, telling
from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.screening import Gate
from autoopt.search.search import Search, Watch

HERE = Path(__file__).parent
FIRST_GP = 20
BLIND = "tpe, blind to siblings"
MEMBERS: dict[str, Callable[..., BaseSampler]] = {
    **samplers.SAMPLERS,
    "nsga2": lambda seed: NSGAIISampler(population_size=20, seed=seed),
    "conditional": lambda seed: ConditionalNSGAII(population_size=20, seed=seed),
}
SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "tpe": ("tpe", {}),
    "tpe, 40 random trials first": ("tpe", {"startup_trials": 40}),
    "tpe, multivariate and group": ("tpe", {"multivariate": True}),
    BLIND: ("tpe", {}),
    f"gp for {FIRST_GP} trials, then tpe": ("gp", {}),
    "nsga2": ("nsga2", {}),
    "nsga2 over all complete trials": ("conditional", {}),
    "random": ("random", {}),
}


def evaluator(table: Table) -> Callable[[Draft, Gate], list[Draft]]:
    def evaluate(draft: Draft, gate: Gate) -> list[Draft]:
        look_up(draft, gate)
        siblings = [Draft(recipe) for recipe in draft.siblings]
        for sibling in siblings:
            try:
                look_up(sibling, None)
            except TrialError as error:
                sibling.error = error
        return siblings

    def look_up(draft: Draft, gate: Gate | None) -> None:
        speed, quality = table.speed(draft.recipe), table.quality(draft.recipe)
        if speed is None or quality is None:
            raise TrialError("nothing like it was recorded")
        draft.measurements |= speed
        if gate:
            gate.admit(draft.measurements)
        final, curve = quality
        for value in curve:
            draft.curve.append(value)
            if gate:
                gate.after_epoch(draft.measurements, draft.curve)
        draft.measurements["accuracy"] = Measurement(final, 0.9193333)

    return evaluate


def search(name: str, seed: int, trials: int, table: Table) -> list[float]:
    """Hypervolume after each asked trial."""
    settings = load_settings([])
    space = narrow(settings, load_task(settings))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * 2)
    kind, options = SAMPLERS[name]
    study.sampler = MEMBERS[kind](seed, **options)
    volumes: list[float] = []

    def on_end(trial: Trial, standing: Standing) -> None:
        if trial.sibling_of is None:
            volumes.append(standing.hypervolume)
            if kind == "gp" and len(volumes) == FIRST_GP:
                study.sampler = MEMBERS["tpe"](seed)
        else:
            volumes[-1] = standing.hypervolume

    job = Search(
        study=study,
        space=space,
        kpis=settings.kpis,
        crew=Here(Acts(evaluator(table))),
        budget=Budget(trials=trials),
        first=first_recipes(space),
        rules=settings.rules,
        watch=Watch(on_end=on_end),
    )
    # A trial that is added without parameters is there, but teaches the sampler nothing.
    with patch.object(telling, "parameters", lambda *_: None) if name == BLIND else nullcontext():
        run_search(job)
    return volumes[:trials]


def main() -> None:
    if len(sys.argv) == 1:
        return summarize()
    name = sys.argv[1]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    trials = int(sys.argv[3]) if len(sys.argv) > 3 else 150
    table = load()
    began = time.perf_counter()
    volumes = [[round(v, 6) for v in search(name, seed, trials, table)] for seed in range(seeds)]
    (HERE / "results").mkdir(exist_ok=True)
    path = HERE / "results" / f"{name.replace(' ', '_').replace(',', '')}.json"
    path.write_text(json.dumps({"sampler": name, "seconds": time.perf_counter() - began, "volumes": volumes}))
    print(name, f"{np.mean([v[-1] for v in volumes]):.5f}", flush=True)


def summarize() -> None:
    runs = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]
    found: dict[str, Any] = {}
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    by_name = {run["sampler"]: aligned(run["volumes"]) for run in runs}
    for name in SAMPLERS:
        if name not in by_name:
            continue
        volumes = by_name[name]
        mean, error = volumes.mean(0), volumes.std(0, ddof=1) / np.sqrt(len(volumes))
        x = np.arange(1, len(mean) + 1)
        (line,) = axes.plot(x, mean, label=name)
        axes.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.15, lw=0)
        at = {str(n): [round(float(mean[n - 1]), 5), round(float(error[n - 1]), 5)] for n in (25, 50, 100, len(mean))}
        found[name] = {"seeds": len(volumes), "mean_and_standard_error_after": at}
        if "tpe" in by_name and name != "tpe":
            wins = int((volumes[:, -1] > by_name["tpe"][: len(volumes), -1]).sum())
            found[name]["seeds_better_than_tpe_at_the_end"] = wins
    axes.set(xlabel="trials asked (complete or screened, siblings not counted)", ylabel="hypervolume")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "hypervolume.png", dpi=120)
    (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def aligned(volumes: list[list[float]]) -> np.ndarray:
    """One length: failed trials are told, too, so that some lists are longer."""
    shortest = min(map(len, volumes))
    return np.array([v[:shortest] for v in volumes])


if __name__ == "__main__":
    main()
