"""How far latency can be trusted, beside a process that trains on the other core. Writes results_TASK.json, plots it.

    python run.py                                           # task=fashion
    python run.py --task intents --set task.path=DATA teacher.checkpoint=WEIGHTS

One run measures a small student against the teacher again and again, in turn under three conditions: alone, beside a
trainer that does not wait, and beside one that waits while another process measures.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from autoopt.commands.bench import load_task
from autoopt.config import load_settings
from autoopt.core.quiet import QuietMachine
from autoopt.core.space import typical
from autoopt.measurements import Options, Subject
from autoopt.measurements.drift import Drift
from autoopt.measurements.latency import latency
from autoopt.pipeline import build_student
from autoopt.quantization import SCHEMES, Plan
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.export import export

HERE = Path(__file__).parent
CONDITIONS = ("alone", "trainer", "trainer that waits")
STUDENTS = {"fashion": "cnn", "intents": "text_cnn"}
BARS = {"latency_p50_ms": 0.02, "latency_p95_ms": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", default="fashion", choices=STUDENTS)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--train", type=Path, help="be the trainer, which waits by the locks in this folder")
    options = parser.parse_args()
    if options.train is not None:
        work(QuietMachine(options.train))
    folder = Path(tempfile.mkdtemp())
    subject = make_subject(options.task, options.set, folder)
    rows = measure(subject, folder, options.repeats)
    results = {name: {c: summary([row[c][name] for row in rows]) for c in CONDITIONS} for name in BARS}
    text = json.dumps({"repeats": options.repeats, "results": results, "rows": rows}, indent=1)
    (HERE / f"results_{options.task}.json").write_text(text + "\n")
    draw(rows, HERE / f"ratios_{options.task}.png")
    show(results)


def work(quiet: QuietMachine) -> None:
    """Train a network of convolutions on one thread until killed."""
    torch.set_num_threads(1)
    layers = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)]
    model, images, labels = nn.Sequential(*layers), torch.rand(64, 1, 28, 28), torch.randint(0, 10, (64,))
    model(images)
    optimizer = torch.optim.AdamW(model.parameters())
    with quiet.working():
        while True:
            quiet.step()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()


def make_subject(name: str, words: list[str], folder: Path) -> Subject:
    """A student of a typical recipe, not trained: latency does not depend on the weights."""
    settings = load_settings([f"task={name}", f"outputs={folder}", *words])
    task = load_task(settings)
    recipe = replace(typical(settings.space, STUDENTS[name]), quantization="int8_dynamic")
    teacher = task.build_teacher().eval()
    paths = {part: folder / f"{part}.onnx" for part in ("baseline", "float", "artifact")}
    inputs = task.validation.inputs
    export(teacher, inputs[:2], paths["baseline"])
    export(build_student(task, teacher, recipe).eval(), inputs[:2], paths["float"])
    plan = Plan(task.train.inputs[:64].numpy())
    SCHEMES[recipe.quantization].quantize(paths["float"], paths["artifact"], plan)
    mine, base = (RUNTIMES["onnxruntime"](paths[part], 1) for part in ("artifact", "baseline"))
    return Subject(
        path=paths["artifact"],
        float_path=paths["float"],
        session=mine,
        baseline_path=paths["baseline"],
        baseline_session=base,
        inputs=inputs.numpy(),
        targets=task.validation.targets.numpy(),
        metrics=task.goal.metrics,
        baseline_outputs=np.zeros((len(inputs), task.classes)),
        options=Options(),
    )


def measure(subject: Subject, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Of each repeat, by condition and name, the measurement as a dict and the seconds."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    trainer = subprocess.Popen([sys.executable, __file__, "--train", str(folder)])
    quiet, rows = QuietMachine(folder), []
    studies = {condition: replace(subject, drift=Drift()) for condition in CONDITIONS}  # each learns of its own noise
    time.sleep(10)
    try:
        for repeat in range(repeats):
            row = {}
            for condition in CONDITIONS:
                trainer.send_signal(signal.SIGSTOP if condition == "alone" else signal.SIGCONT)
                time.sleep(0.2)
                began = time.perf_counter()
                with quiet.measuring() if condition == "trainer that waits" else nullcontext():
                    found = latency(studies[condition])
                seconds = time.perf_counter() - began
                row[condition] = {name: m.to_dict() for name, m in found.items()} | {"seconds": seconds}
                trainer.send_signal(signal.SIGCONT)
            rows.append(row)
            print(repeat, {c: round(r["latency_p95_ms"]["ratio"], 5) for c, r in row.items()}, flush=True)
    finally:
        trainer.kill()
    return rows


def summary(found: list[dict[str, Any]]) -> dict[str, float]:
    """Coefficient of variation of value and ratio, and how often the ratio's interval holds its long-run value."""
    ratios, values = (np.array([row[key] for row in found]) for key in ("ratio", "value"))
    long_run = float(np.median(ratios))
    held = [row["ratio_95"][0] <= long_run <= row["ratio_95"][1] for row in found]
    return {
        "long_run_ratio": long_run,
        "cv_of_ratio": float(ratios.std() / ratios.mean()),
        "cv_of_value": float(values.std() / values.mean()),
        "coverage": float(np.mean(held)),
        "half_interval": float(np.median([(r["ratio_95"][1] - r["ratio_95"][0]) / 2 for r in found]) / long_run),
        "unstable": float(np.mean([row["unstable"] for row in found])),
    }


def draw(rows: list[dict[str, Any]], target: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, name in zip(axes, BARS, strict=True):
        for condition, color in zip(CONDITIONS, ("#8a8a8a", "#d9822b", "#1f5fa8"), strict=True):
            axis.plot([row[condition][name]["ratio"] for row in rows], color=color, lw=1, label=condition)
        axis.set(title=f"{name}, ratio to the teacher", xlabel="repeat", ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(target, dpi=120)


def show(results: dict[str, Any]) -> None:
    print("| | condition | ratio | CV of ratio | bar | CV of ms | interval holds it | half interval | unstable |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, bar in BARS.items():
        for condition, row in results[name].items():
            print(
                f"| {name} | {condition} | {row['long_run_ratio']:.4f} | {row['cv_of_ratio']:.1%} | {bar:.0%} "
                f"| {row['cv_of_value']:.1%} | {row['coverage']:.0%} | {row['half_interval']:.1%} "
                f"| {row['unstable']:.0%} |"
            )


if __name__ == "__main__":
    main()
