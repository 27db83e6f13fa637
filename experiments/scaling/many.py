"""One search, 1 to 64 Ray actors, PostgreSQL: trials that sleep as long as real ones might take.

python -m experiments.scaling.many run WORKERS [SAMPLER] [TRIALS A WORKER] [MINUTES]   # adds a row to many.json
"""

import os
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import autoopt.search.ray_crew as ray_crew
from autoopt.search.budget import Budget
from autoopt.search.engines import Place, Ray
from autoopt.search.loop import run_search
from autoopt.search.peers import Peers
from experiments.scaling.lookup import start
from experiments.scaling.machine import Others, cpu_of, postmaster, wait_until_calm
from experiments.scaling.spy import Spy
from experiments.scaling.study import Ends, Parts, accounts, add_row, begin, make_search, server

PATH = Path(__file__).parent / "many.json"
CPUS = 1.9  # of the machine's 2, for all actors together


def run(workers: int, sampler: str, each: int, minutes: float, *, siblings: bool = True) -> dict[str, Any]:
    parts = Parts.of_fashion()
    spy = Spy()
    folder = Path(mkdtemp(prefix="many"))
    place = Place(folder, "experiments.scaling.lookup", 1, None, print)
    wait_until_calm()
    with server(Path(f"/tmp/scaling-{os.getpid()}")) as database:
        study = begin(database.uri, "many", parts.kpis, sampler, seed=0)
        peers = Peers(study, parts.space)
        engine = Ray(None, round(CPUS / workers, 4), 0, "PACK")
        with ray_crew.Actors(engine, workers, place) as crew:
            crew.open(start)
            until_all_are_ready(crew)
            spy_on_waiting(spy)
            others, ends = Others(), Ends()
            pids = {"postgres": postmaster(database.folder), "driver": crew._driver.pid}
            before = {name: cpu_of(pid) for name, pid in pids.items()}
            spy.begin()
            budget = Budget(trials=each * workers, hours=minutes / 60)
            stopped_by = run_search(make_search(study, parts, crew, peers, budget, ends, siblings=siblings))
            found = spy.found(len(ends.rows))
            found["busy_cores_of_others"] = others.cores()  # than the search itself
            for name, pid in pids.items():
                found[f"{name}_cpu_s"] = round(cpu_of(pid) - before[name], 2)
        account = accounts(study, parts.space, workers, found["wall_s"])
    return {
        "workers": workers,
        "sampler": sampler,
        "siblings_made": siblings,
        "stopped_by": stopped_by,
        **account,
        "trials_an_hour": round(3600 * account["trials"] / found["wall_s"]),
        "steady_trials_an_hour": ends.steady(min(workers, len(ends.rows) // 4)),
        "ideal_trials_an_hour": round(3600 * workers / account["worker_s_a_trial"]),
        **found,
        "ends": ends.rows,
    }


def until_all_are_ready(crew: ray_crew.Actors) -> None:
    while not all(worker.ready for worker in crew._workers):
        crew.turn(lambda event: None, 0.2)


def spy_on_waiting(spy: Spy) -> None:
    """A search waits for workers in one place."""
    original = ray_crew.wait

    def wait(signs: Any, seconds: float) -> Any:
        with spy.idle():
            return original(signs, seconds)

    ray_crew.wait = wait  # type: ignore[assignment]


def main() -> None:
    _, _, workers, *rest = sys.argv
    sampler, each, minutes, siblings = [*rest, *("tpe", "25", "4", "siblings")[len(rest) :]]
    row = run(int(workers), sampler, int(each), float(minutes), siblings=siblings == "siblings")
    add_row(PATH, row)


if __name__ == "__main__":
    main()
