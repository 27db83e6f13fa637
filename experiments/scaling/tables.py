"""The tables of README.md, out of what the other scripts have found: python -m experiments.scaling.tables"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def read(name: str) -> Any:
    path = HERE / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else []


def table(rows: Iterable[Any], columns: Mapping[str, Callable[[Any], Any]]) -> None:
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell(row)) for cell in columns.values()) + " |")
    print()


def of_key(key: str) -> Callable[[Any], Any]:
    return lambda row: row[key]


def ms_of(part: str) -> Callable[[Any], Any]:
    return lambda row: round(row["ms_a_trial"][part])


def a_trial(key: str) -> Callable[[Any], Any]:
    """Seconds of all trials, in ms of one."""
    return lambda row: round(1e3 * row[key] / row["trials"])


def real() -> None:
    def whole(run: Any) -> float:
        return float(run["workers"] * run["seconds"])

    def made(run: Any) -> float:
        return sum(run["stages"][stage] for stage in ("structure", "screen", "train", "export", "quantize", "measure"))

    table(
        read("real")["runs"],
        {
            **{name: of_key(name) for name in ("workers", "trials", "trainings")},
            "s": lambda run: round(run["seconds"]),
            "trials an hour": lambda run: round(3600 * run["trials"] / run["seconds"]),
            "busy cores of others": lambda run: f"{run['busy_cores_of_others']:.2f}",
            "waits to work": lambda run: f"{run['waits'].get('to_work', 0.0) / whole(run):.1%}",
            "waits to measure": lambda run: f"{run['waits'].get('to_measure', 0.0) / whole(run):.1%}",
            "idle": lambda run: f"{1 - made(run) / whole(run):.1%}",
        },
    )


def quality() -> None:
    found = read("quality")
    print(found["seeds"], "seeds,", found["trials"], "trials")

    def cell(n: str) -> Callable[[Any], str]:
        return lambda item: told(item[1][n])

    def told(arm: Any) -> str:
        own = "{:.2f} ± {:.2f}".format(*(1e3 * v for v in arm["final"]))
        return own + (" ({:+.2f} ± {:.2f})".format(*(1e3 * v for v in arm["paired"])) if arm["paired"] else "")

    numbers = {f"{n} workers": cell(n) for n in found["arms"]["tpe"]}
    table(found["arms"].items(), {"sampler": lambda item: f"`{item[0]}`", **numbers})


DATABASE: dict[str, Callable[[Any], Any]] = {
    "trials": of_key("trials"),
    "trials an hour": lambda row: f"{row['trials_an_hour']:,}",
    "of the ideal": lambda row: f"{row['trials_an_hour'] / row['ideal_trials_an_hour']:.0%}",
    **{part: ms_of(part) for part in ("ask", "record", "database", "rest", "idle")},
    "round trips": lambda row: f"{sum(n for s, n in row['round_trips_a_trial'].items() if s != 'heartbeat'):,.0f}",
    "PostgreSQL": a_trial("postgres_cpu_s"),
    "duplicates": of_key("duplicates"),
    "lost": of_key("lost"),
    "hypervolume": lambda row: f"{1e3 * row['ends'][-1][1]:.1f}" if row["ends"] else "",
}


def many() -> None:
    rows = sorted(read("many"), key=lambda row: (row["sampler"] != "tpe", row["workers"]))
    table(rows, {"workers": of_key("workers"), **DATABASE})


def joint() -> None:
    rows = sorted(read("joint"), key=lambda row: row["processes"])
    table(rows, {"processes": of_key("processes"), **DATABASE, "CPU of all": a_trial("cpu_s")})


def settings() -> None:
    def part_of(part: str) -> Callable[[Any], Any]:
        return lambda item: round(item[1]["ms_of_it"][part])

    keys = {"round trips": "round_trips_a_trial", "commits": "commits_a_trial"}
    keys |= {"PostgreSQL, ms of CPU": "postgres_cpu_ms_a_trial"}
    table(
        read("settings").items(),
        {
            "": lambda item: f"`{item[0]}`",
            "ms": lambda item: round(item[1]["ms_a_trial"]),
            **{part: part_of(part) for part in ("ask", "record", "database")},
            **{name: (lambda item, key=key: f"{item[1][key]:,.0f}") for name, key in keys.items()},
        },
    )


if __name__ == "__main__":
    for each in (real, quality, many, joint, settings):
        print(each.__name__)
        each()
