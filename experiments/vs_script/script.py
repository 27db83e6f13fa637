"""The plain script: what a competent engineer writes by hand in an afternoon.

Optuna's TPE with constraints, two objectives, one process; every trial trains in full and is exported, quantized with
the one scheme that it drew, and measured. For fairness it uses autoopt's own space, training loop, cached teacher
logits, quantization and measuring code, measures only what the KPIs need, and logs to a file instead of MLflow.

    python script.py OUTPUT.jsonl SECONDS SEED THREADS [OVERRIDE ...]
"""

import json
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import optuna
import torch

from autoopt.commands.bench import load_task, make_bench, narrow
from autoopt.config import load_settings
from autoopt.core.errors import TrialError
from autoopt.core.recipe import Recipe
from autoopt.core.space import draw
from autoopt.core.trial import Evaluation
from autoopt.low_bits import quantize
from autoopt.measurements import MEASURES
from autoopt.pipeline import Bench, build_student, make_subject, prune
from autoopt.runtimes.export import export
from autoopt.runtimes.parity import check_parity
from autoopt.search.asking import suggest
from autoopt.training.loop import Hooks, train
from autoopt.training.teacher import load_teacher, module_fingerprint

BEGAN = time.time()


def evaluate(recipe: Recipe, bench: Bench, needed: list[str], folder: Path) -> Evaluation:
    """Train, export, quantize, measure; seconds by stage are only for the write-up."""
    torch.manual_seed(bench.seed)
    marks = [time.perf_counter()]
    student = prune(build_student(bench.task, bench.teacher, recipe), recipe, bench.task)
    curve: list[float] = []
    if recipe.is_trained:
        curve = train(
            student,
            bench.library.lessons(recipe.augment or 0),
            bench.task.validation,
            recipe,
            seed=bench.seed,
            hooks=Hooks(),
        )
    marks.append(time.perf_counter())
    float_path, path = folder / "float.onnx", folder / "model.onnx"
    inputs = bench.task.validation.inputs[:64]
    export(student.model, inputs, float_path)
    check_parity(student.model, bench.open_session(float_path), inputs)
    quantize(recipe, bench.task, float_path, path, 256)
    marks.append(time.perf_counter())
    subject = make_subject(path, float_path, bench)
    measurements = {name: m for key in needed for name, m in MEASURES[key].take(subject).items()}
    marks.append(time.perf_counter())
    seconds = {stage: marks[i + 1] - marks[i] for i, stage in enumerate(("train", "export", "measure"))}
    return Evaluation(measurements, seconds, tuple(curve))


def main() -> None:
    target, seconds, seed, threads = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    folder = Path(mkdtemp())
    keys = [f"outputs={folder}", f"seed={seed}", f"threads={threads}", "tracking=none"]
    settings = load_settings([*sys.argv[5:], *keys])
    task = load_task(settings)
    space = narrow(settings, task)
    teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, Hooks())
    bench = make_bench(settings, task, teacher, module_fingerprint(teacher))
    asked = {kpi.name for kpi in settings.kpis}
    needed = [name for name, measure in MEASURES.items() if asked & set(measure.facts)]
    objectives = [kpi for kpi in settings.kpis if kpi.objective]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize"] * len(objectives), sampler=optuna.samplers.TPESampler(seed=seed)
    )

    def objective(trial: optuna.Trial) -> list[float]:
        recipe = draw(space, lambda name, knob: suggest(trial, name, knob))
        evaluation = evaluate(recipe, bench, needed, folder)
        for kpi in settings.kpis:
            for kind, violation in kpi.violations(evaluation.measurements[kpi.name]).items():
                trial.set_constraint(f"{kpi.name}.{kind}", violation)
        row = {"at_s": time.time() - BEGAN, "recipe": recipe.to_dict(), **evaluation.to_dict()}
        with target.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return [kpi.loss(evaluation.measurements[kpi.name]) for kpi in objectives]

    study.optimize(objective, timeout=seconds - (time.time() - BEGAN), catch=(TrialError,))


if __name__ == "__main__":
    main()
