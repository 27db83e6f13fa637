"""Real trials on one machine: 1 and 2 worker processes of one thread each, the same recipes, interleaved runs.

    python -m experiments.scaling.real run WORKERS [TRIALS]   # adds a run to real.json
    python -m experiments.scaling.real                        # sums them up in real.json

The sampler is `random`: from one seed it proposes the same recipes in the same order, whatever has ended by then, so
that both numbers of workers do the same work. `tpe` would not, and costs 0.06 s of a trial's 10.
"""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from autoopt.core.trial import Trial
from autoopt.search.record import read_trials
from autoopt.search.study import load_study
from experiments.scaling.machine import Others, wait_until_calm

HERE = Path(__file__).parent
PATH = HERE / "real.json"
BAR = 1.7
STAGES = ("structure", "screen", "train", "export", "quantize", "measure")


def run(workers: int, trials: int) -> dict[str, Any]:
    wait_until_calm()
    folder, others = Path(mkdtemp(prefix="real")), Others()
    waits = folder / "waits.txt"
    words = ["task=fashion", "sampler=random", "tracking=none", "study=real", f"outputs={folder}"]
    words += [f"workers={workers}", f"threads={workers}", f"budget.trials={trials}", "budget.hours=null"]
    path = os.pathsep.join([str(HERE / "waits"), str(HERE.parents[1])])
    # with a folder for temporary files of its own it waits for no other program that measures
    environment = {**os.environ, "PYTHONPATH": path, "AUTOOPT_WAITS": str(waits), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "autoopt", "search", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    told = json.loads(done.stdout.splitlines()[-1])
    pids = {
        int(pid) for pid in re.findall(r"worker \d+ is process (\d+)", (folder / "real" / "search.log").read_text())
    }
    found = [trial for trial in read_trials(load_study(folder / "real", "real")) if trial.evaluation]
    return {
        "workers": workers,
        "seconds": round(told["seconds"], 2),
        "busy_cores_of_others": others.cores(),
        "trials": told["trials"] - told["siblings"],
        **{key: told[key] for key in ("siblings", "complete", "screened", "failed")},
        "trainings": sum("train" in stages_of(trial) for trial in found if trial.sibling_of is None),
        "hypervolume": told.get("hypervolume"),
        "stages": {
            stage: round(sum(stages_of(t).get(stage, 0.0) for t in found), 2) for stage in (*STAGES, "log", "sampler")
        },
        "waits": waited(waits, pids),
        "recipes": {t.recipe.fingerprint: {"state": t.state, **rounded(stages_of(t))} for t in found},
    }


def stages_of(trial: Trial) -> dict[str, float]:
    assert trial.evaluation is not None
    own = dict(trial.evaluation.seconds)
    if trial.sibling_of is not None:
        own.pop("train", None)
    return own


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {stage: round(value, 3) for stage, value in seconds.items()}


def waited(path: Path, workers: set[int]) -> dict[str, float]:
    """Seconds of the workers: to_work while another measures, to_measure until nobody works or measures."""
    found: dict[str, float] = defaultdict(float)
    for line in path.read_text().splitlines() if path.is_file() else ():
        pid, kind, seconds = line.split()
        found[kind if int(pid) in workers else "search"] += float(seconds)
    return rounded(found)


def main() -> None:
    runs = json.loads(PATH.read_text())["runs"] if PATH.is_file() else []
    if sys.argv[1:]:
        runs.append(run(int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 24))
        print({key: value for key, value in runs[-1].items() if key != "recipes"})
    PATH.write_text(json.dumps({"runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
