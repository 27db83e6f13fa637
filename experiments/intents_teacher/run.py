"""The intents teacher as a search makes it where no weights are given: the pretrained encoder, fine-tuned once.

    python run.py FOLDER DATA [KEY=VALUE ...]       # 20 minutes on 2 cores; the weights go to FOLDER/cache/teachers

Writes results.json: how, and how good it is on validation and test.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from autoopt.commands.bench import load_task
from autoopt.config import load_settings
from autoopt.training.loop import Hooks, module_quality
from autoopt.training.teacher import load_teacher

HERE = Path(__file__).parent


def main() -> None:
    folder, data, *more = sys.argv[1:]
    settings = load_settings(["task=intents", f"task.path={data}", f"outputs={folder}", *more])
    torch.set_num_threads(settings.threads)
    task, began = load_task(settings), time.perf_counter()
    teacher = load_teacher(task, settings.teacher, settings.cache, settings.seed, Hooks())
    seconds = round(time.perf_counter() - began)
    (card,) = (settings.cache.root / "teachers").glob("*/card.json")
    result = {
        "teacher": {
            key: value for key, value in asdict(settings.teacher).items() if key not in ("checkpoint", "model")
        },
        "seed": settings.seed,
        "threads": settings.threads,
        "seconds": seconds,
        "curve": [round(value, 4) for value in json.loads(card.read_text())["curve"]],
        **{
            f"{name}_accuracy": round(module_quality(teacher, split, task.goal), 4)
            for name, split in (("validation", task.validation), ("test", task.test))
        },
    }
    (HERE / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
