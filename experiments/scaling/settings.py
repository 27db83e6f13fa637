"""What one searching process costs a trial, by its settings and those of PostgreSQL, without waiting for any worker.

python -m experiments.scaling.settings [TRIALS]      # settings.json
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import psycopg

from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.jobs import Acts
from autoopt.search.loop import run_search
from autoopt.search.peers import Peers
from autoopt.search.samplers import make_sampler
from experiments.scaling.lookup import evaluator
from experiments.scaling.machine import cpu_of, postmaster, wait_until_calm
from experiments.scaling.spy import Spy
from experiments.scaling.study import DURABLE, Ends, Parts, accounts, begin, make_search, server

PATH = Path(__file__).parent / "settings.json"
ROWS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "synchronous_commit=off": {"conf": DURABLE + "synchronous_commit = off\n"},
    "sampler=random": {"sampler": "random"},
    "sampler.multivariate=true": {"options": {"multivariate": True}},
    "search.siblings=false": {"siblings": False},
    "sampler=random search.siblings=false": {"sampler": "random", "siblings": False},
    "tpe, blind to running trials": {"blind": True},
}


def measure(
    spy: Spy,
    parts: Parts,
    trials: int,
    *,
    conf: str = DURABLE,
    sampler: str = "tpe",
    siblings: bool = True,
    blind: bool = False,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    with server(Path(f"/tmp/scaling-{os.getpid()}-{time.monotonic_ns()}"), conf) as database:
        study = begin(database.uri, "settings", parts.kpis, sampler, seed=0, options=options)
        study.sampler = (
            optuna.samplers.TPESampler(seed=0, constant_liar=False) if blind else make_sampler(sampler, 0, {})
        )
        peers, ends, crew = Peers(study, parts.space), Ends(), Here(Acts(evaluator(lambda seconds, gate: None)))
        before, written = cpu_of(postmaster(database.folder)), counters(database.uri)
        spy.begin()
        run_search(make_search(study, parts, crew, peers, Budget(trials=trials), ends, siblings=siblings))
        found = spy.found(len(ends.rows))
        postgres_ms = 1e3 * (cpu_of(postmaster(database.folder)) - before) / len(ends.rows)
        commits, wal = (b - a for a, b in zip(written, counters(database.uri), strict=True))
        account = accounts(study, parts.space, 1, found["wall_s"])
    kept = {key: account[key] for key in ("trials", "siblings", "failed", "duplicates", "lost")}
    ms = found["ms_a_trial"]
    return {
        **kept,
        "ms_a_trial": round(1e3 * found["wall_s"] / account["trials"], 1),
        "ms_of_it": {part: ms[part] for part in ("ask", "record", "database", "rest")},
        "round_trips_a_trial": round(sum(n for s, n in found["round_trips_a_trial"].items() if s != "heartbeat"), 1),
        "cpu_ms_a_trial": round(1e3 * found["cpu_s"] / account["trials"], 1),
        "postgres_cpu_ms_a_trial": round(postgres_ms, 1),
        "commits_a_trial": round(commits / account["trials"], 1),
        "wal_kb_a_trial": round(wal / 1e3 / account["trials"], 1),
    }


def counters(uri: str) -> tuple[float, float]:
    """Transactions so far, and bytes of the write-ahead log."""
    time.sleep(1.5)  # the server counts once a second
    with psycopg.connect(uri.replace("+psycopg", "")) as connection:
        query = (
            "select xact_commit, pg_current_wal_lsn() - '0/0'::pg_lsn from pg_stat_database where datname = 'postgres'"
        )
        row = connection.execute(query).fetchone()
    assert row is not None
    return float(row[0]), float(row[1])


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    parts, spy = Parts.of_fashion(), Spy()
    wait_until_calm()
    measure(spy, parts, 8)  # what is loaded at first use is no cost of a setting
    rounds = [{name: measure(spy, parts, trials, **ROWS[name]) for name in order} for order in (ROWS, reversed(ROWS))]
    found = {name: min((each[name] for each in rounds), key=lambda row: row["ms_a_trial"]) for name in ROWS}
    PATH.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
