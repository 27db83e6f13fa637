"""What a vocabulary that is cut to the train split's tokens costs, by how it reads the others.

    python run.py DATA WEIGHTS      # task.path and teacher.checkpoint of task=intents -> results.json

The teacher itself, whole but for the ids that it is given: as they are; those that train lacks as the unknown token; or
as the used token of largest cosine in the teacher's table, which is what students do.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

from autoopt.commands.bench import load_task
from autoopt.config import load_settings
from autoopt.core.inputs import Inputs
from autoopt.students.embedding import nearest_rows
from autoopt.tasks import Split
from autoopt.training.loop import Hooks, module_quality
from autoopt.training.teacher import load_teacher


def main(data: Path, weights: Path) -> None:
    words = ["task=intents", f"task.path={data.resolve()}", f"teacher.checkpoint={weights.resolve()}"]
    settings = load_settings([*words, f"outputs={tempfile.mkdtemp()}"])
    task = load_task(settings)
    teacher = load_teacher(task, settings.teacher, settings.cache, 0, Hooks())
    assert task.tokens is not None
    used = torch.tensor(task.tokens.used)
    unknown = json.loads(task.files["tokenizer.json"])["model"]["vocab"]["[UNK]"]
    every = torch.arange(task.tokens.vocabulary)
    ways = {
        "whole": every,
        "unknown": torch.where(torch.isin(every, used), every, torch.tensor(unknown)),
        "nearest": used[nearest_rows(teacher, task.tokens)],
    }
    results: dict[str, object] = {"tokens": len(every), "used by train": len(used)}
    for name, split in (("validation", task.validation), ("test", task.test)):
        ids = split.inputs.arrays["input_ids"]
        lacking = (~torch.isin(ids, used)).any(1).float().mean()
        found = {}
        for way, read in ways.items():
            inputs = Inputs({"input_ids": read[ids]}, split.inputs.lengths, split.inputs.sequences)
            found[way] = round(100 * module_quality(teacher, Split(inputs, split.targets)), 2)
        results[name] = {
            "sentences with a token that train lacks, %": round(100 * float(lacking), 1),
            "accuracy, %": found,
        }
    text = json.dumps(results, indent=1)
    (Path(__file__).parent / "results.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
