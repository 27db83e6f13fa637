"""1 to 16 searching processes on one study in PostgreSQL, each proposes for itself: as many `autoopt worker`s.

python -m experiments.scaling.joint run PROCESSES [TRIALS EACH] [MINUTES]   # adds a row to joint.json
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.peers import Peers
from experiments.scaling.lookup import evaluator, sleep
from experiments.scaling.machine import Others, cpu_of, postmaster, wait_until_calm
from experiments.scaling.spy import Spy
from experiments.scaling.study import Ends, Parts, accounts, add_row, begin, make_search, server

PATH = Path(__file__).parent / "joint.json"


def run(processes: int, each: int, minutes: float) -> dict[str, Any]:
    parts = Parts.of_fashion()
    path = parts.write(Path(mkdtemp(prefix="joint")) / "parts")
    wait_until_calm()
    with server(Path(f"/tmp/scaling-{os.getpid()}")) as database:
        study = begin(database.uri, "joint", parts.kpis, "tpe", seed=0)
        others, began = Others(), time.monotonic()
        before = cpu_of(postmaster(database.folder))
        orders = [[str(path), database.uri, index, each * processes, minutes] for index in range(processes)]
        begun = [
            subprocess.Popen(
                [sys.executable, "-m", "experiments.scaling.joint", "one", json.dumps(order)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for order in orders
        ]
        found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in begun]
        wall_s = max(row["end"] for row in found) - min(row["begin"] for row in found)
        postgres_cpu_s = cpu_of(postmaster(database.folder)) - before
        account = accounts(study, parts.space, processes, wall_s)
    parted = {
        key: {part: round(float(np.mean([row[key].get(part, 0.0) for row in found])), 1) for part in found[0][key]}
        for key in ("ms_a_trial", "round_trips_a_trial", "database_ms_a_trial")
    }
    return {
        "processes": processes,
        **account,
        "wall_s": round(wall_s, 2),
        "wall_with_start_s": round(time.monotonic() - began, 2),
        "busy_cores_of_others": others.cores(),  # PostgreSQL among them
        "postgres_cpu_s": round(postgres_cpu_s, 2),
        "cpu_s": round(sum(row["cpu_s"] for row in found), 2),
        "trials_an_hour": round(3600 * account["trials"] / wall_s),
        "ideal_trials_an_hour": round(3600 * processes / account["worker_s_a_trial"]),
        **parted,
        "ends": found[0]["ends"],
    }


def one(path: str, uri: str, index: int, trials: int, minutes: float) -> dict[str, Any]:
    """A process of them; the first leads. Its figures are per trial that it evaluated itself."""
    parts, spy, own = Parts.read(Path(path)), Spy(), 0

    def pause(seconds: float, gate: Any) -> None:
        with spy.idle():
            sleep(seconds, gate)

    look_up = evaluator(pause)

    def evaluate(draft: Any, gate: Any) -> Any:
        nonlocal own
        own += 1
        return look_up(draft, gate)

    study = begin(uri, "joint", parts.kpis, "tpe", seed=index)
    peers = Peers(study, parts.space, leads=index == 0)
    ends, begun = Ends(), time.time()
    spy.begin()
    run_search(make_search(study, parts, Here(Acts(evaluate)), peers, Budget(trials=trials, hours=minutes / 60), ends))
    return {**spy.found(own), "own": own, "begin": begun, "end": time.time(), "ends": ends.rows}


def main() -> None:
    kind, *rest = sys.argv[1:]
    if kind == "one":
        return print(json.dumps(one(*json.loads(rest[0]))))
    each = int(rest[1]) if len(rest) > 1 else 25
    row = run(int(rest[0]), each, float(rest[2]) if len(rest) > 2 else 4.0)
    add_row(PATH, row)


if __name__ == "__main__":
    main()
