"""1,000 workers: what saturates first, by the costs that the other scripts have measured.

python -m experiments.scaling.projection      # projection.json and a table
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORKERS, MINUTES = 1000, (1, 5, 30)
LINK_MB_S = 117.0  # of a network of 1 Gbit/s
MODELS_MB = (0.2, 20.0)  # of a small student, of an encoder; each trial sends its own and those of its siblings


def costs() -> dict[str, Any]:
    """Per trial, siblings included, of one searching process beside its database: of the least crew that it cannot keep
    busy, where it never waits; what that does not tell is of `settings`.
    """
    rows = read("settings")
    default = rows["as it comes"]
    lean = rows["sampler=random search.siblings=false"]
    many = [row for row in read("many") if row["sampler"] == "tpe"]
    full = min((row for row in many if row["workers"] >= 16), key=lambda row: row["workers"])
    return {
        "search_ms": round(sum(full["ms_a_trial"][part] for part in ("ask", "record", "database", "rest"))),
        "lean_search_ms": lean["ms_a_trial"],
        "postgres_cpu_ms": round(1e3 * full["postgres_cpu_s"] / full["trials"]),
        "round_trips": default["round_trips_a_trial"],
        "commits": default["commits_a_trial"],
        "wal_kb": default["wal_kb_a_trial"],
        "rows": 1 + default["siblings"] / default["trials"],
        "most_trials_an_hour_of_one_search": max(row["trials_an_hour"] for row in many),
    }


def read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text())


def demand(minutes: float, cost: dict[str, Any]) -> dict[str, Any]:
    """What so many workers ask for a second, and how often that is what one of each kind can give."""
    trials = WORKERS / (60 * minutes)
    return {
        "trials_a_second": round(trials, 2),
        "rows_an_hour": round(3600 * trials * cost["rows"]),
        "searches_needed": round(trials * cost["search_ms"] / 1e3, 2),
        "lean_searches_needed": round(trials * cost["lean_search_ms"] / 1e3, 2),
        "database_cores": round(trials * cost["postgres_cpu_ms"] / 1e3, 2),
        "commits_a_second": round(trials * cost["commits"]),
        "round_trips_a_second": round(trials * cost["round_trips"]),
        "wal_mb_a_second": round(trials * cost["wal_kb"] / 1e3, 2),
        "links_for_models": {str(mb): round(trials * cost["rows"] * mb / LINK_MB_S, 2) for mb in MODELS_MB},
        "workers_that_one_search_feeds": round(60 * minutes * 1e3 / cost["search_ms"]),
        "workers_that_a_lean_search_feeds": round(60 * minutes * 1e3 / cost["lean_search_ms"]),
    }


def main() -> None:
    cost = costs()
    found = {"costs_a_trial": cost, "workers": WORKERS, "by_minutes": {str(m): demand(m, cost) for m in MINUTES}}
    (HERE / "projection.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
