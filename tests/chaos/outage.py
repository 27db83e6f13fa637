"""An MLflow server that is stopped and started, and a disk that runs full, under a search."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.chaos.killing import Told, audit, environment, start_table, sync_and_count
from tests.chaos.real import audit as audit_real
from tests.chaos.real import command, on_record


class Server:
    """`mlflow server` on a SQLite file, at one port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["server", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}", "--workers", "1"]
        words += [
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--artifacts-destination",
            str(self.folder / "files"),
        ]
        with (self.folder / "server.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words],
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
        end = time.monotonic() + 120
        while not self._answers():
            assert time.monotonic() < end, (self.folder / "server.txt").read_text()[-2000:]
            time.sleep(0.3)

    def stop(self, how: int = signal.SIGKILL) -> None:
        """With all of its processes."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
        if how == signal.SIGKILL:
            self._process.wait()

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


def interrupt_mlflow(folder: Path, outages: int) -> dict[str, Any]:
    """A lookup-table study, whose MLflow server is killed or frozen so often. Returns the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    server, told = Server(folder), Told()
    server.start()
    search = start_table(folder, 100_000, told, uri=server.uri)
    waits: dict[str, list[float]] = {"up": [], "down": []}
    for number in range(outages):
        waits["up"].append(wait_for_news(told, 10))
        frozen = number % 2
        server.stop(signal.SIGSTOP if frozen else signal.SIGKILL)
        began = time.monotonic()
        for _ in range(10):  # the search goes on without
            waits["down"].append(wait_for_news(told, 1))
        assert time.monotonic() - began < 60
        server.stop(signal.SIGCONT) if frozen else server.start()
    wait_for_news(told, 5)
    search.kill()
    search.wait()
    server.stop()
    server.start()
    found = {**audit(folder, told), **sync_and_count(folder, server.uri)}
    server.stop()
    longest = {state: round(max(seconds), 2) for state, seconds in waits.items()}
    return {"outages": outages, "longest_s_between_events": longest, **found}


def wait_for_news(told: Told, count: int) -> float:
    """Until so many more trials have begun or ended; the longest pause between two."""
    longest = 0.0
    for _ in range(count):
        news, began = told.news, time.monotonic()
        while told.news == news:
            assert time.monotonic() - began < 60
            time.sleep(0.005)
        longest = max(longest, time.monotonic() - began)
    return longest


@contextmanager
def small_disk(folder: Path, mb: int) -> Iterator[Path]:
    """A disk of its own in memory. Raises OSError where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        raise OSError("no right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(folder: Path, times: int) -> dict[str, Any]:
    """A digits study on a disk of 50 MB that somebody else fills and clears so often. Returns the figures."""
    with small_disk(folder, 50) as disk:
        outputs, waited, told = disk / "outputs", 0, dict[int, str]()
        errors = folder.with_name("stderr.txt")
        with errors.open("w") as file:
            words = command("digits", outputs, 8 + 4 * times, "exam.rule=point")
            search = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=file, text=True, env=environment())
        for _ in range(times):
            _wait_for_trials(outputs, len(on_record(outputs)) + 5)
            told |= on_record(outputs)
            fill(disk / "fill")
            waited += _wait_for_words(errors, errors.read_text().count("waiting: ") + 1)
            time.sleep(2)
            (disk / "fill").unlink()
        out, _ = search.communicate(timeout=600)
        assert search.returncode == 0, errors.read_text()[-2000:]
        return {"filled": times, "waited": waited, **audit_real(outputs, told, out)}


def _wait_for_trials(outputs: Path, count: int) -> None:
    _wait_until(lambda: len(on_record(outputs)) >= count)


def _wait_for_words(errors: Path, count: int) -> int:
    """Until the search has said so often that it waits."""
    _wait_until(lambda: errors.read_text().count("waiting: ") >= count)
    return 1


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)


def _wait_until(condition: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)
