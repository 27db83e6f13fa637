"""Searches of real data through the command line, killed at random moments."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoopt import load_champion
from autoopt.core.trial import COMPLETE
from autoopt.search.record import read_trials
from autoopt.search.study import load_study
from tests.chaos.killing import environment

LONGEST_S = 20.0  # from news of a search to the next kill
QUICK = ["runtime.blocks=5", "runtime.calls=20", "runtime.attempts=1", "exam.batch_sizes=[8]", "exam.clients=[2]"]


def command(task: str, outputs: Path, trials: int, *words: str) -> list[str]:
    common = [f"task={task}", "study=chaos", f"outputs={outputs}", f"budget.trials={trials}", "budget.hours=null"]
    return [sys.executable, "-m", "autoopt", "search", *common, *QUICK, *words]


def kill_real(
    task: str, outputs: Path, kills: int, trials: int, *, seed: int = 0, longest_s: float = 20
) -> dict[str, Any]:
    """A real study, killed so often, then left to its end. Returns the figures."""
    dice, faults, resumed = random.Random(seed), Counter[str](), list[float]()
    told = dict[int, str]()
    search = start(task, outputs, trials)
    while sum(faults.values()) < kills:
        resumed.append(wait_for_news(outputs, search))
        if search.poll() is not None:
            trials += 4
            search = start(task, outputs, trials)
            continue
        time.sleep(dice.uniform(0, LONGEST_S))
        told |= on_record(outputs)
        whom = dice.choice(["worker", "supervisor", "both"])
        pids = workers(search.pid)
        for pid in {"worker": pids[:1], "supervisor": [search.pid], "both": [search.pid, *pids]}[whom]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        faults[whom] += 1
        if whom != "worker":
            search.wait()
            search = start(task, outputs, trials)
    out, _ = search.communicate(timeout=900)
    assert search.returncode == 0
    return {"faults": dict(faults), "seconds_to_resume": sorted(resumed), **audit(outputs, told, out)}


def start(task: str, outputs: Path, trials: int) -> "subprocess.Popen[str]":
    outputs.mkdir(parents=True, exist_ok=True)
    with (outputs / "stderr.txt").open("a") as errors:
        return subprocess.Popen(
            command(task, outputs, trials, "workers=2"),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(),
        )


def wait_for_news(outputs: Path, search: "subprocess.Popen[str]") -> float:
    """Seconds until the search that has just been started, or lost a worker, has one more trial on record."""
    began, before = time.monotonic(), len(on_record(outputs))
    while search.poll() is None and len(on_record(outputs)) == before:
        assert time.monotonic() - began < 300
        time.sleep(0.2)
    return time.monotonic() - began


def on_record(outputs: Path) -> dict[int, str]:
    """State by trial, as search.log tells: a line is written after the record."""
    told = dict[int, str]()
    for path in (outputs / "chaos").glob("search.log*"):
        for line in path.read_text().splitlines():
            _, found, rest = line.partition("searching: trial")
            if found:
                number = int(rest.split()[0])
                told[number] = next((s for s in ("screened", "failed") if f"  {s}: " in rest), COMPLETE)
    return told


def workers(pid: int) -> list[int]:
    """Processes that the search has started to do trials."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def audit(outputs: Path, told: dict[int, str], out: str) -> dict[str, Any]:
    there = {trial.number: trial for trial in read_trials(load_study(outputs / "chaos", "chaos"))}
    lost = [number for number, state in told.items() if number not in there or there[number].state != state]
    counted = Counter(trial.recipe for trial in there.values() if trial.state == COMPLETE)
    document = json.loads(out.splitlines()[-1])
    if document["champion"]:
        load_champion(outputs / "chaos" / "champion")
    done = subprocess.run(
        [sys.executable, "-m", "autoopt", "sync", "study=chaos", f"outputs={outputs}"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    synced = json.loads(done.stdout.splitlines()[-1])
    return {
        "trials": len(there),
        "told": len(told),
        "lost": len(lost),
        "duplicates": sum(count - 1 for count in counted.values()),
        "champion": bool(document["champion"]),
        "in_mlflow": synced["complete"],
        "removed_from_mlflow": synced["removed"],
    }
