"""While one process measures, the others wait between two steps."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoopt.core import quiet
from autoopt.core.quiet import QuietMachine

WORKER = """
import sys, time
from pathlib import Path
from autoopt.core.quiet import QuietMachine
quiet = QuietMachine(Path(sys.argv[1]))
with quiet.working():
    print("begun", flush=True)
    while True:
        quiet.step()
        with open(sys.argv[2], "a") as file:
            file.write("x")
        time.sleep(0.002)
"""


@pytest.fixture
def worker(tmp_path: Path):
    steps = tmp_path / "steps"
    steps.touch()
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), str(steps)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process, steps
        process.kill()


def test_work_stands_still_while_another_measures(worker, tmp_path: Path) -> None:
    _, steps = worker
    mine = QuietMachine(tmp_path)
    for _ in range(3):
        with mine.measuring():
            before = steps.stat().st_size
            time.sleep(0.1)
            assert steps.stat().st_size == before
        end = time.monotonic() + 10
        while steps.stat().st_size == before and time.monotonic() < end:
            time.sleep(0.01)
        assert steps.stat().st_size > before, "it goes on afterwards"


def test_who_dies_at_work_holds_nothing(worker, tmp_path: Path) -> None:
    process, _ = worker
    process.kill()
    process.wait()
    began = time.monotonic()
    with QuietMachine(tmp_path).measuring():
        assert time.monotonic() - began < 1


def test_two_do_not_measure_at_once_and_work_goes_on_within(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def run(machine: QuietMachine) -> None:
        with machine.working():
            for _ in range(5):
                machine.step()
                with machine.measuring():
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.01)
                    inside.pop()

    threads = [threading.Thread(target=run, args=(QuietMachine(tmp_path),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(most) == 15
    assert max(most) == 1


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(quiet, "LONGEST_S", 0.1)
    mine, other = QuietMachine(tmp_path), QuietMachine(tmp_path)
    with other.working():  # and takes no step
        for _ in range(2):
            began = time.monotonic()
            with mine.measuring():
                waited = time.monotonic() - began
    assert waited < 0.05, "it has given up on that one"
    assert caplog.text.count("going on, timings may be noisy") == 1
    with mine.measuring():
        pass
    with other.measuring(), mine.working():
        began = time.monotonic()
        for _ in range(5):
            mine.step()
        assert time.monotonic() - began < 0.1


def test_without_a_place_for_the_locks_nobody_waits(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("")
    machine = QuietMachine(tmp_path / "file" / "below")
    with machine.working():
        machine.step()
        with machine.measuring():
            pass
    assert "cannot be locked" in caplog.text


def test_who_only_looks_sees_a_measurement_of_any_process_and_holds_nobody_up(tmp_path: Path) -> None:
    mine, other = QuietMachine(tmp_path), QuietMachine(tmp_path)
    assert not mine.is_taken()
    for measuring in (mine, other):
        with measuring.measuring():
            assert mine.is_taken()
        assert not mine.is_taken()
    with other.working():
        assert not mine.is_taken()
