"""The tables of README.md, out of what the other scripts have found: python -m experiments.scaling.tables"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def read(name: str) -> Any:
    path = HERE / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else []


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def real() -> None:
    runs = read("real")["runs"]
    head = ("workers", "s", "trials", "trainings", "trials an hour", "trainings an hour", "busy cores of others")
    head += ("waits to work", "waits to measure", "idle")
    rows = []
    for run in runs:
        whole = run["workers"] * run["seconds"]
        made = sum(run["stages"][stage] for stage in ("structure", "screen", "train", "export", "quantize", "measure"))
        rows.append(
            (
                run["workers"],
                run["seconds"],
                run["trials"],
                run["trainings"],
                *(round(3600 * run[key] / run["seconds"]) for key in ("trials", "trainings")),
                run["busy_cores_of_others"],
                *(f"{run['waits'].get(kind, 0.0) / whole:.1%}" for kind in ("to_work", "to_measure")),
                f"{1 - made / whole:.1%}",
            )
        )
    table(head, rows)


def quality() -> None:
    found = read("quality")
    numbers = list(found["arms"]["tpe"])
    rows = []
    for name, arms in found["arms"].items():
        cells = []
        for arm in arms.values():
            cells.append("{:.2f} ± {:.2f}".format(*(1e3 * v for v in arm["final"])))
            if arm["paired"]:
                cells[-1] += " ({:+.2f} ± {:.2f})".format(*(1e3 * v for v in arm["paired"]))
        rows.append((f"`{name}`", *cells))
    print(found["seeds"], "seeds,", found["trials"], "trials")
    table(("sampler", *(f"{n} workers" for n in numbers)), rows)


def many() -> None:
    head = ("workers", "sampler", "trials", "siblings", "trials an hour", "of the ideal", "ask", "record", "database")
    head += ("rest", "idle", "round trips", "PostgreSQL, ms", "Ray's driver, ms", "duplicates", "lost", "hypervolume")
    rows = []
    for row in sorted(read("many"), key=lambda r: (r["sampler"] != "tpe", r["workers"])):
        ms, n = row["ms_a_trial"], row["trials"]
        rows.append(
            (
                row["workers"],
                row["sampler"],
                n,
                row["siblings"],
                row["trials_an_hour"],
                f"{row['trials_an_hour'] / row['ideal_trials_an_hour']:.0%}",
                *(round(ms[part]) for part in ("ask", "record", "database", "rest", "idle")),
                round(sum(v for k, v in row["round_trips_a_trial"].items() if k != "heartbeat")),
                round(1e3 * row["postgres_cpu_s"] / n),
                round(1e3 * row["driver_cpu_s"] / n),
                row["duplicates"],
                row["lost"],
                f"{1e3 * row['ends'][-1][1]:.2f}" if row["ends"] else "",
            )
        )
    table(head, rows)


def joint() -> None:
    head = ("processes", "trials", "trials an hour", "of the ideal", "ask", "record", "database", "round trips")
    head += ("PostgreSQL, ms", "CPU of all, ms", "duplicates", "lost", "hypervolume")
    rows = []
    for row in sorted(read("joint"), key=lambda r: r["processes"]):
        ms, n = row["ms_a_trial"], row["trials"]
        rows.append(
            (
                row["processes"],
                n,
                row["trials_an_hour"],
                f"{row['trials_an_hour'] / row['ideal_trials_an_hour']:.0%}",
                *(round(ms[part]) for part in ("ask", "record", "database")),
                round(sum(v for k, v in row["round_trips_a_trial"].items() if k != "heartbeat")),
                round(1e3 * row["postgres_cpu_s"] / n),
                round(1e3 * row["cpu_s"] / n),
                row["duplicates"],
                row["lost"],
                f"{1e3 * row['ends'][-1][1]:.2f}",
            )
        )
    table(head, rows)


def settings() -> None:
    head = ("", "ms a trial", "ask", "record", "database", "round trips", "commits", "log, kB", "PostgreSQL, ms")
    rows = [
        (
            f"`{name}`",
            row["ms_a_trial"],
            *(row["ms_of_it"][part] for part in ("ask", "record", "database")),
            row["round_trips_a_trial"],
            row["commits_a_trial"],
            row["wal_kb_a_trial"],
            row["postgres_cpu_ms_a_trial"],
        )
        for name, row in read("settings").items()
    ]
    table(head, rows)


if __name__ == "__main__":
    for each in (real, quality, many, joint, settings):
        print(each.__name__)
        each()
