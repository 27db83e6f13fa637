"""Quantization-aware training against quantization after training, of the same trained weights.

    python run.py [--bits 7] [--tasks fashion] [--students teacher cnn-0.5]     # adds to rows.jsonl, some minutes
    python run.py --table                                                        # rows.jsonl -> results.json, stdout

Three ways from one trained student to an int8 file of one size and speed: int8_static as it is (`after`), int8_static
after the same further epochs in float (`longer`: the control), int8_qat. Accuracy on the test split, by onnxruntime.
Weights of 7 bits are what a CPU without VNNI gets, of 8 bits what others do: the arithmetic is the same on both. The
teacher is trained already: it is tuned as it is.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from autoopt.commands.bench import load_task, make_bench
from autoopt.config import load_settings
from autoopt.core.recipe import Recipe
from autoopt.core.rows import spread
from autoopt.core.space import typical
from autoopt.pipeline import CALIBRATION_INPUTS, Bench, build_student, prune
from autoopt.pruning import Pruned
from autoopt.quantization import SCHEMES, Learned, Plan
from autoopt.quantization.ranking import outputs
from autoopt.runtimes.export import export
from autoopt.training import quantized
from autoopt.training.loop import Hooks, train
from autoopt.training.quantized import fine_tuning, train_quantized
from autoopt.training.teacher import load_teacher, module_fingerprint

int8_static = sys.modules["autoopt.quantization.int8_static"]  # the package has a function of that name
HERE = Path(__file__).parent
ROWS = HERE / "rows.jsonl"
SEEDS, EPOCHS, QAT_EPOCHS = (0, 1, 2), 6, 2
STUDENTS = ("cnn-0.5", "cnn-1.5", "mlp-1.5")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bits", type=int, default=8, choices=(7, 8))
    parser.add_argument("--tasks", nargs="+", default=["digits", "fashion"])
    parser.add_argument("--students", nargs="+", default=list(STUDENTS), help="teacher, or STUDENT-WIDTH")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if not options.table:
        for module in (quantized, int8_static):
            setattr(module, "saturates", lambda: options.bits == 7)  # noqa: B010
        for task in options.tasks:
            run(task, options.students, options.bits)
    table()


def run(name: str, students: list[str], bits: int) -> None:
    settings = load_settings([f"task={name}", "threads=1", f"outputs={tempfile.mkdtemp()}"])
    task = load_task(settings)
    teacher = load_teacher(task, settings.teacher, settings.cache, 0, Hooks())
    bench = make_bench(settings, task, teacher, module_fingerprint(teacher))
    for student in students:
        kind, _, width = student.partition("-")
        recipe = Recipe("teacher", "none", "none")
        if kind != "teacher":
            recipe = replace(typical(settings.space, kind), width=float(width), epochs=EPOCHS)
        for seed in SEEDS:
            row = {"task": name, "student": student, "bits": bits, "seed": seed, **compare(recipe, seed, bench)}
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


def compare(recipe: Recipe, seed: int, bench: Bench) -> dict[str, Any]:
    """Accuracies in percent, and the seconds that an epoch took."""
    task, lessons = bench.task, bench.library.lessons()
    torch.manual_seed(seed)
    pruned = prune(build_student(task, bench.teacher, recipe), recipe, task)
    if recipe.is_trained:
        train(pruned, lessons, task.validation, recipe, seed=seed, hooks=Hooks())
    found: dict[str, Any] = {}
    tuned = replace(recipe, quantization="int8_qat", calibration=None, qat_epochs=QAT_EPOCHS)
    began = time.perf_counter()
    rounded = train_quantized(pruned.model, lessons, task.validation, tuned, seed=seed)
    found["qat_epoch_s"] = round((time.perf_counter() - began) / QAT_EPOCHS, 2)
    found["float"], found["after"] = scores(pruned.model, "int8_static", (), bench)
    _, found["qat"] = scores(rounded.model, "int8_qat", rounded.learned, bench)
    began = time.perf_counter()
    train(Pruned(pruned.model), lessons, task.validation, fine_tuning(tuned), seed=seed, hooks=Hooks())
    found["epoch_s"] = round((time.perf_counter() - began) / QAT_EPOCHS, 2)
    found["float_longer"], found["longer"] = scores(pruned.model, "int8_static", (), bench)
    return found


def scores(model: torch.nn.Module, scheme: str, learned: tuple[Learned, ...], bench: Bench) -> tuple[float, float]:
    """Of the float file, and of the quantized one."""
    task, folder = bench.task, bench.baseline_path.parent
    plain, small = folder / "float.onnx", folder / "int8.onnx"
    export(model.eval(), task.validation.inputs[:2], plain)
    inputs = task.train.inputs[spread(len(task.train), CALIBRATION_INPUTS)].numpy()
    SCHEMES[scheme].quantize(plain, small, Plan(inputs, learned=learned))
    return accuracy(plain, bench), accuracy(small, bench)


def accuracy(path: Path, bench: Bench) -> float:
    found = outputs(path, bench.task.test.inputs.numpy()).argmax(1)
    return round(100 * float((found == bench.task.test.targets.numpy()).mean()), 2)


def table() -> None:
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    results = []
    for case in dict.fromkeys((row["task"], row["student"], row["bits"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["student"], row["bits"]) == case]
        found: dict[str, Any] = dict(zip(("task", "student", "bits"), case, strict=True))
        found |= {way: round(mean(row[way] for row in mine), 2) for way in ("float", "after", "longer", "qat")}
        for other in ("after", "longer"):
            gains = [row["qat"] - row[other] for row in mine]
            found |= {f"qat - {other}": round(mean(gains), 2), f"qat - {other}, sd": round(stdev(gains), 2)}
        found["cost of an epoch"] = round(mean(row["qat_epoch_s"] / row["epoch_s"] for row in mine), 1)
        results.append(found)
        print("| " + " | ".join(map(str, found.values())) + " |")
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
