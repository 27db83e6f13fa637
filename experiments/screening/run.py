"""How often is a screened trial one that should have lived, and how much training does screening save?

A real search, except that a trial which the gate ends is trained and measured to its end all the same; the study only
hears what it would have heard. At the end each screened trial is held against the final front.

    python run.py SEED MINUTES THREADS        # minutes of search time, the extra training not counted; adds to rows/
    python run.py                             # rows/ -> results.json, curves.png
"""

import gzip
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import matplotlib
import optuna

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from autoopt.commands.bench import load_task, make_bench, narrow
from autoopt.commands.first import first_recipes
from autoopt.config import load_settings
from autoopt.core.errors import Screened
from autoopt.core.front import dominates
from autoopt.core.kpi import Kpi, Measurements
from autoopt.core.recipe import Recipe
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, SCREENED, Draft, Evaluation, Trial
from autoopt.pipeline import Bench, run_trial
from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.record import read_trials
from autoopt.search.samplers import make_sampler
from autoopt.search.screening import Gate
from autoopt.search.search import Search
from autoopt.search.study import open_study
from autoopt.training.loop import Hooks
from autoopt.training.teacher import load_teacher, module_fingerprint

HERE = Path(__file__).parent
KPIS = load_settings([]).kpis


class Shadow:
    """Evaluates as the search does, and goes on in secret where a trial is screened."""

    def __init__(self, bench: Bench, work: Path) -> None:
        self.bench, self.work = bench, work
        self.secret: dict[Recipe, tuple[Draft, list[Draft], str]] = {}
        self.extra_s = 0.0

    def evaluate(self, draft: Draft, gate: Gate) -> list[Draft]:
        screened: list[Screened] = []
        seen: dict[str, Any] = {}

        def ask(question: Any) -> None:
            """The gate's first no is kept; what the search would know then is noted."""
            if screened:
                return
            try:
                question()
            except Screened as no:
                screened.append(no)
                seen["measurements"], seen["curve"] = dict(draft.measurements), list(draft.curve)
                seen["at"] = time.perf_counter()
                seen["seconds"] = dict(draft.clock.seconds)
                if draft.curve:
                    seen["seconds"]["train"] = time.perf_counter() - began[0]

        began = [0.0]

        def admit(measurements: Measurements) -> None:
            ask(partial(gate.admit, measurements))
            began[0] = time.perf_counter()

        def on_epoch(epoch: int, quality: float) -> None:
            ask(partial(gate.after_epoch, draft.measurements, draft.curve))

        found = list(run_trial(draft, self.bench, self.work, Hooks(on_epoch=on_epoch), admit))
        if not screened:
            return found
        self.extra_s += time.perf_counter() - seen["at"]
        whole = Draft(draft.recipe, (), measurements=dict(draft.measurements), curve=list(draft.curve))
        whole.clock.seconds = dict(draft.clock.seconds)
        self.secret[draft.recipe] = whole, found, screened[0].by
        draft.measurements, draft.curve, draft.clock.seconds = seen["measurements"], seen["curve"], seen["seconds"]
        raise screened[0]


def search(seed: int, minutes: float, threads: int) -> None:
    folder = Path(mkdtemp())
    settings = load_settings([f"outputs={folder}", f"seed={seed}", f"threads={threads}", "tracking=none"])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = load_task(settings)
    space = narrow(settings, task)
    teacher = load_teacher(task, settings.teacher, settings.cache, seed, Hooks())
    bench = make_bench(settings, task, teacher, module_fingerprint(teacher))
    work = folder / "work"
    work.mkdir(parents=True)
    shadow = Shadow(bench, work)
    study = open_study(settings.folder, settings.study, settings.kpis, {"seed": seed})
    study.sampler = make_sampler(settings.sampler, seed, settings.sampler_options)
    began = time.perf_counter()

    def over() -> bool:
        return time.perf_counter() - began - shadow.extra_s > minutes * 60

    run_search(
        Search(
            study,
            space,
            settings.kpis,
            Here(Acts(shadow.evaluate)),
            Budget(),
            first_recipes(space),
            settings.rules,
            should_stop=over,
        )
    )
    rows = []
    for trial in read_trials(study):
        row = {"number": trial.number, "state": trial.state, "reason": trial.reason, "sibling_of": trial.sibling_of}
        row |= {"recipe": trial.recipe.to_dict(), "told": trial.evaluation.to_dict() if trial.evaluation else None}
        if trial.state == SCREENED and trial.recipe in shadow.secret:
            whole, siblings, by = shadow.secret[trial.recipe]
            row |= {"by": by, "whole": whole.evaluation().to_dict()}
            row["siblings"] = [
                {"recipe": s.recipe.to_dict(), "whole": s.evaluation().to_dict()} for s in siblings if not s.error
            ]
        rows.append(row)
    (HERE / "rows").mkdir(exist_ok=True)
    with gzip.open(HERE / "rows" / f"s{seed}.json.gz", "wt") as file:
        json.dump({"seed": seed, "minutes": minutes, "rows": rows}, file)
    print(f"seed {seed}: {len(rows)} rows")


def read(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt") as file:
        return dict(json.load(file))


def as_trial(number: int, recipe: dict[str, Any], evaluation: dict[str, Any]) -> Trial:
    return Trial(number, COMPLETE, Recipe.from_dict(recipe), Evaluation.from_dict(evaluation))


def enters(trial: Trial, front: Sequence[Trial], kpis: tuple[Kpi, ...]) -> bool:
    """Feasible, and neither beaten nor equalled by a member of the front."""

    def losses(one: Trial) -> tuple[float, ...]:
        return tuple(kpi.loss(one.measurements[kpi.name]) for kpi in kpis if kpi.objective)

    mine = losses(trial)
    return trial.is_feasible(kpis) and not any(dominates(losses(m), mine) or losses(m) == mine for m in front)


def summary(run: dict[str, Any]) -> dict[str, Any]:
    rows = run["rows"]
    told = [as_trial(r["number"], r["recipe"], r["told"]) for r in rows if r["state"] == COMPLETE]
    front = standing(told, KPIS).front
    screened = [r for r in rows if r["state"] == SCREENED and "whole" in r]
    own = [r for r in screened if enters(as_trial(r["number"], r["recipe"], r["whole"]), front, KPIS)]
    family = [
        r
        for r in screened
        if any(enters(as_trial(1, s["recipe"], s["whole"]), front, KPIS) for s in [r, *r["siblings"]])
    ]
    full = sum(r["whole"]["seconds"].get("train", 0.0) for r in screened)
    paid = sum((r["told"] or {"seconds": {}})["seconds"].get("train", 0.0) for r in screened)
    finished = sum(r["told"]["seconds"].get("train", 0.0) for r in rows if r["state"] == COMPLETE)
    training = {"finished": finished, "screened": paid, "saved": full - paid}
    count = {by: sum(r["by"] == by for r in screened) for by in ("structure", "bar", "curve")}
    return {
        "seed": run["seed"],
        "minutes": run["minutes"],
        "asked": sum(r["sibling_of"] is None for r in rows),
        "screened": len(screened),
        "screened_by": count,
        "would_have_entered_the_front": [describe(r) for r in own],
        "of_whose_siblings_one_would_have": [describe(r) for r in family],
        "training_seconds": {key: round(seconds, 1) for key, seconds in training.items()},
    }


def describe(row: dict[str, Any]) -> dict[str, Any]:
    measured = row["whole"]["measurements"]
    return {
        "trial": row["number"],
        "by": row["by"],
        "reason": row["reason"],
        "accuracy": measured["accuracy"][0],
        "latency_ratio": round(measured["latency_p95_ms"][0] / measured["latency_p95_ms"][1], 4),
        "recipe": row["recipe"],
    }


def main() -> None:
    if len(sys.argv) == 4:
        return search(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    runs = [read(path) for path in sorted((HERE / "rows").glob("*.json.gz"))]
    table = [summary(run) for run in runs]
    screened = sum(row["screened"] for row in table)
    false = sum(len(row["would_have_entered_the_front"]) for row in table)
    family = sum(len(row["of_whose_siblings_one_would_have"]) for row in table)
    seconds = {key: sum(row["training_seconds"][key] for row in table) for key in ("finished", "screened", "saved")}
    results = {
        "screened": screened,
        "false_screening_rate": round(false / max(1, screened), 4),
        "of_the_trial_or_a_sibling": round(family / max(1, screened), 4),
        "training_time_saved": round(seconds["saved"] / sum(seconds.values()), 3),
        "runs": table,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(runs)
    print(json.dumps({key: value for key, value in results.items() if key != "runs"}, indent=1))


def draw(runs: list[dict[str, Any]]) -> None:
    """Whole learning curves: of trials that finished, and of those that were screened, the secret part dashed."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for run in runs:
        for row in run["rows"]:
            if row["sibling_of"] is not None or not row["told"]:
                continue
            told = row["told"]["curve"]
            whole = row["whole"]["curve"] if "whole" in row else told
            share = [(epoch + 1) / len(whole) for epoch in range(len(whole))]
            color = "#1f5fa8" if row["state"] == COMPLETE else "#d9822b"
            if row["state"] == COMPLETE:
                axes.plot(share, told, color=color, lw=0.8, alpha=0.6)
            elif row.get("by") == "curve":
                axes.plot(share[: len(told)], told, color=color, lw=0.8)
                start = max(0, len(told) - 1)
                axes.plot(share[start:], whole[start:], color=color, lw=0.8, ls=":")
    axes.plot([], [], color="#1f5fa8", label="finished")
    axes.plot([], [], color="#d9822b", label="screened by its learning curve (dotted: what it would have become)")
    axes.set(xlabel="share of the trial's epochs", ylabel="accuracy on validation", ylim=(0.5, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "curves.png", dpi=120)


if __name__ == "__main__":
    main()
