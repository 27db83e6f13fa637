"""What mixed precision recovers: the layers that quantization damages most stay in float, one after the other.

    python run.py            # task=fashion, seeds 0, 1, 2; some minutes on one core -> results.json, stdout

Students are trained as a study would first try them; the teacher is the one that ships. For each scheme: the ranking by
damage (64 calibration inputs), then quality on the test split with 0, 1, ... layers in float, by that ranking and, as
control, in the opposite order. Everything that was measured is in results.json.
"""

import json
import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import nn

from autoopt.commands.bench import load_task, make_bench
from autoopt.config import load_settings
from autoopt.core.rows import spread
from autoopt.core.space import typical
from autoopt.low_bits import RANKING_INPUTS
from autoopt.pipeline import CALIBRATION_INPUTS, Bench, build_student, prune
from autoopt.quantization import SCHEMES, Plan, damage_by_layer, most_damaged, weights_by_layer
from autoopt.quantization.ranking import noise_to_signal, outputs
from autoopt.runtimes.export import export
from autoopt.training.loop import Hooks, train
from autoopt.training.teacher import load_teacher, module_fingerprint

HERE = Path(__file__).parent
SEEDS, EPOCHS = (0, 1, 2), 6
CASES = {
    "teacher": ("int8_static", "int8_dynamic"),
    "cnn": ("int8_static", "int8_dynamic"),
    "mlp": ("int8_static", "weight_only_int4"),
}


def main() -> None:
    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    settings = load_settings(["task=fashion", "threads=1", f"outputs={folder}"])
    task = load_task(settings)
    teacher = load_teacher(task, settings.teacher, settings.cache, 0, Hooks())
    bench = make_bench(settings, task, teacher, module_fingerprint(teacher))
    rows = []
    for seed in SEEDS:
        for student, schemes in CASES.items():
            if student == "teacher" and seed:
                continue
            recipe = replace(typical(settings.space, student), epochs=EPOCHS)
            for scheme in schemes:
                before, model = folder / "before.onnx", folder / "model.onnx"
                if scheme == schemes[0]:
                    made(recipe, bench, seed, before, model)
                row = {"student": student, "scheme": scheme, "seed": seed, **examine(scheme, bench, before, model)}
                rows.append(row)
                print({key: value for key, value in row.items() if key not in ("damage", "untrained")}, flush=True)
    results = {"rows": rows, "agreement": agreement(rows)}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    table(results)


def made(recipe: Any, bench: Bench, seed: int, before: Path, after: Path) -> None:
    """Write the student as ONNX, before and after training."""
    task = bench.task
    torch.manual_seed(seed)
    model: nn.Module = bench.teacher
    if recipe.student != "teacher":
        pruned = prune(build_student(task, bench.teacher, recipe), recipe, task)
        export(pruned.model.eval(), task.validation.inputs[:2], before)
        train(pruned, bench.library.lessons(), task.validation, recipe, seed=seed, hooks=Hooks())
        model = pruned.model
    export(model.eval(), task.validation.inputs[:2], after)
    if recipe.student == "teacher":
        before.unlink(missing_ok=True)


def examine(scheme: str, bench: Bench, before: Path, model: Path) -> dict[str, Any]:
    """Ranking, its seconds, and what each number of float layers gives, by the ranking and against it."""
    train_inputs = bench.task.train.inputs
    ranking = Plan(train_inputs[spread(len(train_inputs), RANKING_INPUTS)].numpy())
    began = time.perf_counter()
    damage = damage_by_layer(model, ranking, SCHEMES[scheme].quantize)
    seconds = time.perf_counter() - began
    untrained = damage_by_layer(before, ranking, SCHEMES[scheme].quantize) if before.is_file() else {}
    found: dict[str, Any] = {"float": scores(model, model, bench), "ranking_s": round(seconds, 2), "damage": damage}
    for order, ranked in (("worst_first", damage), ("least_first", dict(reversed(damage.items())))):
        found[order] = [left_in_float(scheme, number, ranked, model, bench) for number in range(len(damage))]
    return {**found, "untrained": untrained}


def left_in_float(scheme: str, number: int, ranked: Mapping[str, float], model: Path, bench: Bench) -> dict[str, float]:
    inputs, target = bench.task.train.inputs, model.with_name("quantized.onnx")
    kept = most_damaged(ranked, weights_by_layer(model), number)
    plan = Plan(inputs[spread(len(inputs), CALIBRATION_INPUTS)].numpy(), float_layers=kept)
    SCHEMES[scheme].quantize(model, target, plan)
    return scores(target, model, bench)


def scores(path: Path, model: Path, bench: Bench) -> dict[str, float]:
    """On the test split: accuracy, how often it answers as the float model does (both in percent), noise in dB."""
    inputs = bench.task.test.inputs.numpy()
    wanted, found = outputs(model, inputs), outputs(path, inputs)
    noise = noise_to_signal(wanted, found)
    return {
        "accuracy": round(100 * float((found.argmax(1) == bench.task.test.targets.numpy()).mean()), 2),
        "agreement": round(100 * float((found.argmax(1) == wanted.argmax(1)).mean()), 2),
        "noise_db": round(10 * np.log10(noise), 1) if noise else None,
        "size_kb": round(path.stat().st_size / 1e3, 1),
    }


def agreement(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Spearman's rank correlation of damage: between the trained models of each two seeds, and of each model before
    and after its training. Means.
    """
    found = {}
    for student, scheme in dict.fromkeys((row["student"], row["scheme"]) for row in rows if row["untrained"]):
        mine = [row for row in rows if (row["student"], row["scheme"]) == (student, scheme)]
        pairs = [(a, b) for i, a in enumerate(mine) for b in mine[i + 1 :]]
        found[f"{student} {scheme}"] = {
            "two trained": round(mean(spearman(a["damage"], b["damage"]) for a, b in pairs), 2),
            "before and after training": round(mean(spearman(row["untrained"], row["damage"]) for row in mine), 2),
        }
    return found


def spearman(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    ranks = [np.argsort(np.argsort([damage[layer] for layer in sorted(one)])) for damage in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def table(results: dict[str, Any]) -> None:
    for student, scheme in dict.fromkeys((row["student"], row["scheme"]) for row in results["rows"]):
        mine = [row for row in results["rows"] if (row["student"], row["scheme"]) == (student, scheme)]
        print(f"\n{student} {scheme}, float {mean(row['float']['accuracy'] for row in mine):.2f}%")
        print(f"ranked in {mean(row['ranking_s'] for row in mine):.1f} s: {list(mine[0]['damage'])}")
        for number in range(len(mine[0]["damage"])):
            cells = [str(number)]
            for order in ("worst_first", "least_first"):
                here = [row[order][number] for row in mine]
                cells += [f"{mean(h[key] for h in here):.2f}" for key in ("accuracy", "agreement", "noise_db")]
                cells.append(f"{mean(h['size_kb'] for h in here):.0f}")
            print("| " + " | ".join(cells) + " |")
    print(json.dumps(results["agreement"], indent=1))


if __name__ == "__main__":
    main()
