"""One study of 10,000 trials: what opening, proposing, recording, reporting and MLflow cost at 100 to 10,000.

    python -m experiments.scaling.ten_thousand fill FOLDER      # a real search of 24 trials, then the rest: ten minutes
    python -m experiments.scaling.ten_thousand PART FOLDER      # open, loop, ask, postgres, report, sync, pages
    python -m experiments.scaling.ten_thousand all FOLDER

Each part adds to ten_thousand.json, under the name in AUTOOPT_ROUND (now): 'before' are the figures of what was found.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from sqlalchemy import event

from autoopt.search.backup import DATABASE, back_up
from autoopt.search.peers import Peers
from autoopt.search.record import read_trials
from experiments.scaling import filled, pages, searching
from experiments.scaling.filled import STUDY, WORDS, Real, engine_of
from tests.services import postgres

HERE = Path(__file__).parent
SIZES = (100, 1000, 3000, 10_000)
LONGEST_S = 120.0


def folder_of(base: Path, size: int) -> Path:
    """The outputs folder of the study of that size."""
    return base / str(size)


def fill(base: Path) -> None:
    seed = base / "real"
    if not (seed / STUDY).is_dir():
        words = [*WORDS, f"outputs={seed}", "budget.trials=24", "tracking=none"]
        subprocess.run([sys.executable, "-m", "autoopt", *words], check=True, stdout=subprocess.DEVNULL)
    like = filled.real(seed)
    study, made = filled.begin(like, base / "growing"), filled.make(like)
    engine_of(study).dispose()
    event.listen(engine_of(study), "connect", lambda new, _: new.execute("PRAGMA synchronous=OFF"))
    for size in SIZES:
        filled.fill(study, made, like, size)
        folder = folder_of(base, size) / STUDY
        folder.mkdir(parents=True)
        with (
            closing(sqlite3.connect(base / "growing" / STUDY / DATABASE)) as source,
            closing(sqlite3.connect(folder / DATABASE)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=WAL")
        back_up(folder)
        (folder / "config.yaml").write_bytes((seed / STUDY / "config.yaml").read_bytes())
        filled.leave_artifacts(like, folder, read_trials(study))
        print(f"{size} trials", file=sys.stderr, flush=True)


def scratch(base: Path, size: int) -> Path:
    """Its database in a folder that may be written to."""
    folder = base / "scratch" / str(size) / STUDY
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in (folder_of(base, size) / STUDY).glob("study*"):
        shutil.copyfile(file, folder / file.name)
    return folder


def each_size(measure: Callable[[Real, Path], object]) -> Callable[[Path], dict[str, object]]:
    """By size, what is measured on a copy of the study's folder."""

    def part(base: Path) -> dict[str, object]:
        like = filled.real(base / "real")
        return {str(size): measure(like, scratch(base, size)) for size in sizes()}

    return part


def sizes() -> list[int]:
    wanted = os.environ.get("AUTOOPT_SIZES")
    return [int(size) for size in wanted.split(",")] if wanted else list(SIZES)


def ask(base: Path) -> dict[str, object]:
    """Each in a process of its own, which ends after LONGEST_S: then it is None."""
    found: dict[str, dict[str, float | None]] = {}
    for size in sizes():
        for name in searching.ASKS:
            words = [sys.executable, "-m", "experiments.scaling.ten_thousand", f"ask:{name}", str(scratch(base, size))]
            try:
                done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=LONGEST_S)
                told = json.loads(done.stdout.splitlines()[-1])
            except subprocess.TimeoutExpired:
                told = None
            found.setdefault(str(size), {})[name] = told
            print(size, name, told, file=sys.stderr, flush=True)
    return found


def ask_one(name: str, folder: Path) -> None:
    like = filled.real(folder.parents[2] / "real")
    print(json.dumps(searching.asking(like, searching.reopened(like, folder), name)))


def in_postgres(base: Path) -> dict[str, object]:
    like, found = filled.real(base / "real"), {}
    with TemporaryDirectory(prefix="pg") as short:
        os.chmod(short, 0o755)
        with postgres(Path(short) / "p") as server:
            for size in sizes():
                name = f"ten{size}"
                source = searching.reopened(like, scratch(base, size))
                filled.copy_rows(source, server.uri, name)
                began = time.perf_counter()
                study = searching.reopened(like, base / "scratch" / name, server.uri, name)
                trials = len(read_trials(study))
                opened = 1000 * (time.perf_counter() - began)
                assert trials >= 0.99 * size
                tpe = searching.asking(like, study, "tpe")
                loop = searching.looping(like, study, Peers(study, like.space))
                found[str(size)] = {"open_and_read": round(opened, 1), "tpe": tpe, **loop}
                print(size, found[str(size)], file=sys.stderr, flush=True)
    return found


PARTS: dict[str, Callable[[Path], dict[str, object]]] = {
    "open": each_size(searching.opening),
    "loop": each_size(lambda like, folder: searching.looping(like, searching.reopened(like, folder))),
    "ask": ask,
    "postgres": in_postgres,
    "report": lambda base: {str(size): pages.report(folder_of(base, size)) for size in sizes()},
    "sync": lambda base: {str(size): pages.sync(folder_of(base, size)) for size in sizes()},
    "update": lambda base: {str(size): pages.update(folder_of(base, size)) for size in sizes()},
    "ui": lambda base: {str(size): pages.mlflow_pages(folder_of(base, size)) for size in sizes()},
}


def note(part: str, found: dict[str, object]) -> None:
    """By round, part and size."""
    path, turn = HERE / "ten_thousand.json", os.environ.get("AUTOOPT_ROUND", "now")
    results = json.loads(path.read_text()) if path.is_file() else {}
    results.setdefault(turn, {}).setdefault(part, {}).update(found)
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(json.dumps({part: found}), flush=True)


def main(part: str, base: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if part.startswith("ask:"):
        return ask_one(part.partition(":")[2], base)
    if part in ("fill", "all"):
        fill(base)
    for name, measure in PARTS.items():
        if part in (name, "all"):
            note(name, measure(base))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute())
