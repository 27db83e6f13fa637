"""The same of a pretrained encoder, the teacher of task=intents: what a ranking costs there, and what it brings.

    python encoder.py DATA WEIGHTS      # task.path and teacher.checkpoint of task=intents -> encoder.json, stdout

On ROWS sentences of the test split, taken evenly.
"""

import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from run import HERE, left_in_float, scores

from autoopt.commands.bench import load_task
from autoopt.config import load_settings
from autoopt.core.rows import spread
from autoopt.low_bits import RANKING_INPUTS
from autoopt.quantization import SCHEMES, Plan, damage_by_layer
from autoopt.runtimes.export import export
from autoopt.tasks import Split
from autoopt.training.loop import Hooks
from autoopt.training.teacher import load_teacher

ROWS, NUMBERS = 500, (0, 1, 2, 4, 8)


def main(data: Path, weights: Path) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    words = ["task=intents", f"task.path={data.resolve()}", f"teacher.checkpoint={weights.resolve()}"]
    settings = load_settings([*words, f"outputs={folder}"])
    task = load_task(settings)
    places = spread(len(task.test), ROWS)
    bench: Any = SimpleNamespace(
        task=replace(task, test=Split(task.test.inputs[places], task.test.targets[places])),
    )
    model = folder / "model.onnx"
    export(load_teacher(task, settings.teacher, settings.cache, 0, Hooks()), task.validation.inputs[:2], model)
    results: dict[str, Any] = {"float": scores(model, model, bench)}
    for scheme in ("int8_static", "int8_dynamic"):
        began = time.perf_counter()
        inputs = task.train.inputs[spread(len(task.train), RANKING_INPUTS)].numpy()
        damage = damage_by_layer(model, Plan(inputs), SCHEMES[scheme].quantize)
        seconds = round(time.perf_counter() - began, 1)
        found = {number: left_in_float(scheme, number, damage, model, bench) for number in NUMBERS}
        results[scheme] = {"ranking_s": seconds, "damage": damage, "worst_first": found}
        print(scheme, len(damage), "layers in", seconds, "s", list(damage)[:8], json.dumps(found), flush=True)
    (HERE / "encoder.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
