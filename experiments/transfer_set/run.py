"""What the unlabelled transfer set buys: small students on intents, with more or less of it, at equal training.

    python run.py DATA WEIGHTS [--students bag text_cnn] [--seeds 0 1 2]     # adds to rows.jsonl
    python run.py --table                                                     # rows.jsonl -> results.json, stdout

DATA and WEIGHTS are task.path and teacher.checkpoint. A student sees PASSES times 15,000 sentences, whatever they are:
with `augment` times as many new sentences, it sees each 1 + augment times less often. Accuracy of the float module.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from autoopt.commands.bench import load_task, make_bench
from autoopt.config import load_settings
from autoopt.core.space import typical
from autoopt.pipeline import build_student, prune
from autoopt.training.loop import Hooks, module_quality, train
from autoopt.training.teacher import load_teacher, module_fingerprint

HERE = Path(__file__).parent
ROWS = HERE / "rows.jsonl"
PASSES = {"bag": 40, "text_cnn": 30, "bigru": 15, "bilstm": 15}
AUGMENT = (0, 1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--students", nargs="+", default=["bag", "text_cnn"], choices=PASSES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if not options.table:
        run(options.data.resolve(), options.weights.resolve(), options.students, options.seeds)
    table()


def run(data: Path, weights: Path, students: list[str], seeds: list[int]) -> None:
    words = ["task=intents", f"task.path={data}", f"teacher.checkpoint={weights}", "threads=1"]
    settings = load_settings([*words, f"outputs={tempfile.mkdtemp()}"])
    torch.set_num_threads(1)
    task = load_task(settings)
    teacher = load_teacher(task, settings.teacher, settings.cache, 0, Hooks())
    bench = make_bench(settings, task, teacher, module_fingerprint(teacher))
    for seed in seeds:
        for student in students:
            for augment in AUGMENT:
                epochs = max(1, round(PASSES[student] / (1 + augment)))
                recipe = replace(typical(settings.space, student), augment=augment, epochs=epochs)
                torch.manual_seed(seed)
                pruned = prune(build_student(task, teacher, recipe), recipe, task)
                train(pruned, bench.library.lessons(augment), task.validation, recipe, seed=seed, hooks=Hooks())
                found = {split: module_quality(pruned.model, getattr(task, split)) for split in ("validation", "test")}
                row = {"student": student, "augment": augment, "epochs": epochs, "seed": seed, **found}
                with ROWS.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


def table() -> None:
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()]
    results: dict[str, Any] = {}
    for student in sorted({row["student"] for row in rows}):
        for augment in AUGMENT:
            mine = [row for row in rows if (row["student"], row["augment"]) == (student, augment)]
            found = {"seeds": len(mine)}
            for split in ("validation", "test"):
                scores = [100 * row[split] for row in mine]
                found[split] = round(mean(scores), 2)
                found[f"{split}_sd"] = round(stdev(scores), 2) if len(scores) > 1 else None
            results.setdefault(student, {})[str(augment)] = found
            print(student, augment, found)
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
