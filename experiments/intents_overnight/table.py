"""FOLDER of run.py -> results.json, front.png, trials.json.gz, and the table of the front on stdout.

    python table.py FOLDER DATA

Each model on the front, early and at the end, is run on the test split, one sentence a call.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import optuna
from run import BOUND, STUDY
from scipy.stats import binomtest

from autoopt.commands.conclude import read_outcome
from autoopt.config import load_settings
from autoopt.core.standing import standing
from autoopt.core.trial import Trial
from autoopt.measurements.quality import predict
from autoopt.report.words import recipe_line
from autoopt.runtimes import RUNTIMES
from autoopt.search.study import load_study
from autoopt.tasks import TASKS, Task

HERE = Path(__file__).parent
AGENT = load_settings(["task=intents"]).kpis
# By name: which front, at most so much test accuracy lost, latency_p95_ms and size_mb at most so many times.
BARS = {
    "30 minutes, 2.5 points": ("early", 0.025, 0.10, 0.05),
    "30 minutes, 4 points": ("early", 0.04, 0.01, 0.025),
    "overnight, 1 point": ("end", 0.01, 0.20, 0.08),
    "overnight, 2 points": ("end", 0.02, 0.05, 0.05),
    "aimed for, 1 point": ("end", 0.01, 0.05, 0.07),
}


def main(folder: Path, data: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = TASKS["intents"](path=str(data))
    places = {"early": folder / "early", "end": folder / "outputs" / STUDY}
    base = score(places["end"] / "baseline", task)
    fronts: dict[str, list[dict[str, Any]]] = {}
    rows: dict[int, dict[str, Any]] = {}
    for when, place in places.items():
        settings = load_settings(["task=intents", BOUND, f"outputs={place.parent}", f"study={place.name}"])
        outcome = read_outcome(settings, load_study(place, STUDY), settings.kpis)
        for trial in outcome.standing.front:
            if trial.number not in rows:
                rows[trial.number] = row(trial, score(place / "trials" / f"{trial.number:04d}", task), base, task)
        fronts[when] = sorted((rows[t.number] for t in outcome.standing.front), key=lambda r: -float(r["test"]))
    now, agent = outcome.standing, standing(outcome.standing.trials, AGENT)
    results = {
        "baseline": {"validation": now.trials[0].measurements["accuracy"].value, "test": base / len(task.test)},
        "counts": now.counts(),
        "seconds": round(outcome.seconds),
        "seconds_by_stage": {stage: round(spent, 1) for stage, spent in outcome.seconds_by_stage().items()},
        "first_feasible_s": now.first_feasible_s,
        "first_feasible_under_kpis_agent_s": agent.first_feasible_s,
        "champion": now.front[0].number,
        "champion_under_kpis_agent": agent.front[0].number if agent.front else None,
        "bars": {name: bar(fronts[when], *limits) for name, (when, *limits) in BARS.items()},
        "fronts": fronts,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    with gzip.open(HERE / "trials.json.gz", "wt") as file:
        json.dump([record(trial) for trial in now.trials], file)
    draw(fronts, results["baseline"]["test"])
    show(results)


def score(artifact: Path, task: Task) -> int:
    """How many sentences of the test split it gets right."""
    outputs = predict(RUNTIMES["onnxruntime"](artifact / "model.onnx", 1), task.test.inputs.numpy())
    return int((outputs.argmax(1) == task.test.targets.numpy()).sum())


def row(trial: Trial, right: int, base: int, task: Task) -> dict[str, Any]:
    measured, size = trial.measurements, len(task.test)
    interval = binomtest(right, size).proportion_ci(method="wilson")
    return {
        "trial": trial.number,
        "ended_at_s": round(trial.ended_at_s),
        "label": recipe_line(trial.recipe),
        "recipe": trial.recipe.to_dict(),
        "validation": measured["accuracy"].value,
        "test": right / size,
        "test_95": [round(interval.low, 4), round(interval.high, 4)],
        "drop": (base - right) / size,
        **{name: round(measured[name].value, 4) for name in ("latency_p95_ms", "size_mb", "throughput_qps")},
        "ratios": {n: round(measured[n].ratio or 0, 5) for n in ("latency_p95_ms", "size_mb", "throughput_qps")},
    }


def bar(front: list[dict[str, Any]], drop: float, latency: float, size: float) -> dict[str, Any]:
    """The most accurate on the test split of those that are fast and small enough."""
    fit = [r for r in front if r["ratios"]["latency_p95_ms"] <= latency and r["ratios"]["size_mb"] <= size]
    best = min(fit, key=lambda r: float(r["drop"]), default=None)
    return {
        "met": best is not None and best["drop"] <= drop,
        "best": best and {key: best[key] for key in ("trial", "label", "drop", "ratios")},
    }


def record(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "sibling_of": trial.sibling_of,
        "ended_at_s": trial.ended_at_s,
        "recipe": trial.recipe.to_dict(),
        **(trial.evaluation.to_dict() if trial.evaluation else {}),
    }


def draw(fronts: dict[str, list[dict[str, Any]]], baseline: float) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for when, label, color in (("early", "front after 30 minutes", "#b0b0b0"), ("end", "front at the end", "#1f5fa8")):
        points = sorted(fronts[when], key=lambda r: float(r["ratios"]["latency_p95_ms"]))
        heights = [100 * r["test"] for r in points]
        errors = [[100 * abs(r["test"] - r["test_95"][side]) for r in points] for side in (0, 1)]
        across = [r["ratios"]["latency_p95_ms"] for r in points]
        axes.errorbar(across, heights, yerr=errors, fmt="none", color=color, alpha=0.35)
        axes.scatter(across, heights, [400 * r["ratios"]["size_mb"] for r in points], color, alpha=0.8, label=label)
    axes.axhline(100 * baseline, color="#222222", lw=1, ls="--")
    axes.text(1.0, 100 * baseline, "the teacher", ha="right", va="bottom", transform=axes.get_yaxis_transform())
    axes.set(xscale="log", xlabel="latency_p95_ms, ratio to the teacher", ylabel="test accuracy, %, with 95% interval")
    axes.set_title("area of a point: size of the model", fontsize=9, loc="left")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "front.png", dpi=120)


def show(results: dict[str, Any]) -> None:
    print("| trial | model | test accuracy, % | drop, points | p95 | size | throughput |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for r in results["fronts"]["end"]:
        low, high = (100 * x for x in r["test_95"])
        ratios = r["ratios"]
        print(
            f"| {r['trial']} | {r['label']} | {100 * r['test']:.2f} ({low:.1f} to {high:.1f}) | {100 * r['drop']:.2f} "
            f"| {r['latency_p95_ms']:.3g} ms, {ratios['latency_p95_ms']:.3g}x "
            f"| {r['size_mb']:.2f} MB, {ratios['size_mb']:.3g}x | {ratios['throughput_qps']:.3g}x |"
        )
    print(json.dumps({key: value for key, value in results.items() if key != "fronts"}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
