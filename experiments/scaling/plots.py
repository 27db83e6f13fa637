"""Pictures of what the other scripts have found: python -m experiments.scaling.plots"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text())


def quality() -> None:
    """Final hypervolume over the number of workers, and the way there."""
    found = read("quality")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for name, by_workers in found["arms"].items():
        workers = [int(n) for n in by_workers]
        mean, error = zip(*(row["final"] for row in by_workers.values()), strict=True)
        left.errorbar(workers, mean, error, label=name, capsize=3, marker="o", ms=4)
    for n, row in found["arms"]["tpe"].items():
        right.plot(range(1, len(row["curve"]) + 1), row["curve"], label=f"{n} worker{'s' * (n != '1')}")
    left.set(xscale="log", xlabel="workers", ylabel="hypervolume", title=f"after {found['trials']} trials")
    left.set_xticks(workers, [str(n) for n in workers])
    left.minorticks_off()
    right.set(xlabel="trials ended", title="tpe")
    finish(figure, (left, right), "quality")


def many() -> None:
    """Trials an hour, where the search's time goes, and hypervolume over time, with the default sampler."""
    rows = sorted((r for r in read("many") if r["sampler"] == "tpe" and r["siblings_made"]), key=lambda r: r["workers"])
    joint = sorted(read("joint"), key=lambda r: r["processes"]) if (HERE / "joint.json").is_file() else []
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    ((speed, costs), (by_trials, by_time)) = axes
    workers = [row["workers"] for row in rows]
    speed.plot(workers, [row["ideal_trials_an_hour"] for row in rows], "k--", lw=1, label="ideal")
    speed.plot(workers, [row["trials_an_hour"] for row in rows], marker="o", label="one search, Ray actors")
    if joint:
        at, speeds = ([row[key] for row in joint] for key in ("processes", "trials_an_hour"))
        speed.plot(at, speeds, marker="s", label="as many searching processes")
    speed.set(xscale="log", yscale="log", xlabel="workers", ylabel="trials an hour", title="trials of 4 s on 2 cores")
    speed.set_xticks(workers, [str(n) for n in workers])
    bottom = [0.0] * len(rows)
    for part in ("ask", "record", "database", "rest"):
        heights = [row["ms_a_trial"][part] for row in rows]
        costs.bar([str(n) for n in workers], heights, bottom=bottom, label=part)
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    costs.set(xlabel="workers", ylabel="ms a trial, its siblings included", title="time of the one search")
    for row in filter(lambda row: row["ends"], rows):
        seconds, volumes = zip(*row["ends"], strict=True)
        by_trials.plot(range(1, len(volumes) + 1), volumes, label=str(row["workers"]))
        by_time.plot(seconds, volumes, label=str(row["workers"]))
    by_trials.set(xlabel="trials ended", ylabel="hypervolume", xscale="log")
    by_time.set(xlabel="seconds", ylabel="hypervolume", xscale="log")
    finish(figure, axes.flat, "many")


def finish(figure: Any, axes: Any, name: str) -> None:
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / f"{name}.png", dpi=120)


if __name__ == "__main__":
    for draw in (quality, many):
        draw()
