"""Each file of a study's folder, and of the caches, truncated or with a flipped byte in turn."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from autoopt import load_champion
from autoopt.core.artifact import is_whole
from autoopt.search.record import read_trials
from autoopt.search.study import load_study
from tests.chaos.killing import environment
from tests.chaos.real import command

HARMLESS = ("search.log", ".lock", "report.html", "front.png")
"""Nothing is read from these."""


def damage_files(folder: Path, *, most: int | None = None) -> dict[str, Any]:
    """A digits study that is searched on once for each file that was damaged. `most`: so many files, of each kind
    some.
    """
    done = subprocess.run(command("digits", folder / "outputs", 8), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    before = {trial.number: trial for trial in read_trials(load_study(folder / "outputs" / "chaos", "chaos"))}
    files = sorted(
        path.relative_to(folder)
        for part in ("chaos", "cache")
        for path in (folder / "outputs" / part).rglob("*")
        if path.is_file() and not path.name.endswith(HARMLESS)
    )
    chosen = files[:: max(1, len(files) // most)] if most else files
    problems = {name: _try(folder, name, number, before) for number, name in enumerate(chosen)}
    wrong = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    return {"files": len(files), "damaged": len(chosen), "wrong": wrong}


def _try(folder: Path, name: Path, number: int, before: dict[int, Any]) -> str:
    """What went wrong, '' where the search went on and nothing is lost."""
    place = folder / "tried"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "outputs", place / "outputs", ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    file = place / name
    content = file.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :] if content else b"x"
    file.write_bytes(content[:middle] if number % 2 else flipped)
    words = command("digits", place / "outputs", 1, "tracking=none", "workers=0")
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr[-500:]}"
    study = place / "outputs" / "chaos"
    after = {trial.number: trial for trial in read_trials(load_study(study, "chaos"))}
    lost = [trial.number for trial in before.values() if after.get(trial.number) != trial]
    if lost or len(after) <= len(before):
        return f"trials {lost} are lost, {len(after) - len(before)} are new"
    document = json.loads(done.stdout.splitlines()[-1])
    if not document["champion"]:
        return "no champion"
    load_champion(study / "champion")
    broken = [path.name for path in (study / "trials").iterdir() if path.is_dir() and not is_whole(path)]
    return f"broken artifacts: {broken}" if broken and "trials" not in name.parts else ""
