"""rows/TASK/ -> results.json, hypervolume_TASK.png, and the table on stdout."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from autoopt.config import load_settings
from autoopt.core.kpi import Kpi
from autoopt.core.recipe import Recipe
from autoopt.core.standing import standing
from autoopt.core.trial import COMPLETE, Evaluation, Trial

HERE = Path(__file__).parent
ORDER = ("script", "autoopt", "no_screens", "no_bar", "no_siblings", "no_warm_start")


def main() -> None:
    results = {folder.name: compare(folder) for folder in sorted((HERE / "rows").iterdir())}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def compare(folder: Path) -> dict[str, Any]:
    """The runs of one task, and how autoopt's stand to the script's."""
    kpis = load_settings([f"task={folder.name}"]).kpis
    runs = [read(path, kpis) for path in sorted(folder.glob("*.json.gz"))]
    runs.sort(key=lambda run: (ORDER.index(run["arm"]), run["seed"]))
    table = [describe(run, kpis) for run in runs]
    found = bars(runs, table)
    draw(runs, HERE / f"hypervolume_{folder.name}.png")
    print(folder.name, json.dumps(found, indent=1))
    for row in table:
        print(*(f"{key}={value}" for key, value in row.items() if key not in ("champion", "seconds_by_stage")))
    return {"runs": table, "bars": found}


def read(path: Path, kpis: tuple[Kpi, ...]) -> dict[str, Any]:
    with gzip.open(path, "rt") as file:
        raw = json.load(file)
    first = 1 if raw["arm"] == "script" else 0  # a study's trial 0 is the baseline
    trials = [
        Trial(
            number,
            row["state"],
            Recipe.from_dict(row["recipe"]),
            Evaluation.from_dict(row) if "measurements" in row else None,
            reason=row["reason"],
            ended_at_s=row["at_s"],
            sibling_of=row["sibling_of"],
        )
        for number, row in enumerate(raw["rows"], start=first)
    ]
    return {**raw, "seconds": raw["minutes"] * 60, "trials": trials, "steps": steps(trials, kpis)}


def steps(trials: Sequence[Trial], kpis: tuple[Kpi, ...]) -> list[tuple[float, float]]:
    """Hypervolume after each complete trial, by its time; siblings of one training are ended one after the other."""
    done: list[Trial] = []
    found = [(0.0, 0.0)]
    for trial in sorted((t for t in trials if t.state == COMPLETE), key=lambda t: t.ended_at_s):
        done.append(trial)
        found.append((trial.ended_at_s, standing(done, kpis).hypervolume))
    return found


def volume_at(run: dict[str, Any], seconds: float) -> float:
    return max(volume for at, volume in run["steps"] if at <= seconds)


def describe(run: dict[str, Any], kpis: tuple[Kpi, ...]) -> dict[str, Any]:
    seconds = run["seconds"]
    now = standing([trial for trial in run["trials"] if trial.ended_at_s <= seconds], kpis)
    complete = [t for t in now.trials if t.state == COMPLETE]
    champion = now.front[0] if now.front else None
    stages: dict[str, float] = {}
    for trial in now.trials:
        for stage, spent in (trial.evaluation.seconds if trial.evaluation else {}).items():
            stages[stage] = round(stages.get(stage, 0.0) + spent, 1)
    return {
        "arm": run["arm"],
        "seed": run["seed"],
        "first_feasible_s": None if now.first_feasible_s is None else round(now.first_feasible_s, 1),
        "rows": len(complete),
        "rows_per_hour": round(len(complete) * 3600 / seconds),
        "screened": now.counts()["screened"],
        "failed": now.counts()["failed"],
        "trained_to_the_end": sum(t.recipe.is_trained and t.sibling_of is None for t in complete),
        "hypervolume": [round(volume_at(run, share * seconds), 6) for share in (0.25, 0.5, 1.0)],
        "seconds_by_stage": stages,
        "champion": champion
        and {
            "recipe": champion.recipe.to_dict(),
            "kpi_score": round(champion.score(kpis), 4),
            "accuracy": champion.measurements["accuracy"].value,
            "ratios": {k.name: round(champion.measurements[k.name].ratio or 0, 4) for k in kpis},
        },
    }


def bars(runs: list[dict[str, Any]], table: list[dict[str, Any]]) -> dict[str, Any]:
    """autoopt against the script, seed by seed."""
    found: dict[str, Any] = {"seeds": [], "first_feasible_ratio": [], "rows_ratio": [], "hypervolume_ratio": []}
    found["share_of_time_to_the_scripts_final_hypervolume"] = []
    by_key = {(row["arm"], row["seed"]): row for row in table}
    for run in runs:
        mine, other = by_key.get(("autoopt", run["seed"])), by_key.get(("script", run["seed"]))
        if run["arm"] != "autoopt" or mine is None or other is None:
            continue
        never = other["first_feasible_s"] is None
        theirs = run["seconds"] if never else other["first_feasible_s"]
        target = other["hypervolume"][-1]
        reached = next((at for at, volume in run["steps"] if volume >= target and at > 0), None)
        found["seeds"].append(run["seed"])
        found["first_feasible_ratio"].append(round(mine["first_feasible_s"] / theirs, 3))
        found["rows_ratio"].append(round(mine["rows"] / max(1, other["rows"]), 2))
        found["hypervolume_ratio"].append(round(mine["hypervolume"][-1] / target, 3) if target else None)
        found["share_of_time_to_the_scripts_final_hypervolume"].append(reached and round(reached / run["seconds"], 3))
    return found


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    arms = [arm for arm in ORDER if any(run["arm"] == arm for run in runs)]
    for place, arm in enumerate(arms):
        mine = [run for run in runs if run["arm"] == arm]
        color, seconds = f"C{place}", mine[0]["seconds"]
        for run in mine:
            axes.step(
                *zip(*[s for s in run["steps"] if s[0] <= seconds], strict=True),
                color=color,
                alpha=0.25,
                lw=1,
                where="post",
            )
        grid = [seconds * i / 200 for i in range(201)]
        average = [mean(volume_at(run, at) for run in mine) for at in grid]
        axes.step(grid, average, where="post", color=color, lw=2, label=f"{arm} (mean of {len(mine)})")
    axes.set(xlabel="seconds since the process began", ylabel="hypervolume of the front")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
