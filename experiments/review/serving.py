"""A promoted champion behind `mlflow models serve`: do clients get what the artifact says, and rollback what was there?

    python serving.py FOLDER task=digits budget.trials=12 [KEY=VALUE ...]      # searches, promotes and serves in FOLDER

1,000 requests from 8 clients at once, each of 1 to 4 rows of the validation split. Then another trial is promoted and
rolled back. What it found goes into results.json, under the task's name.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.champion.served import FILE, answers
from autoopt.champion.serving import CONTENT, as_typed
from autoopt.commands.bench import load_task
from autoopt.commands.reading import READERS
from autoopt.config import load_settings
from autoopt.measurements.quality import predict
from autoopt.runtimes import RUNTIMES
from autoopt.tasks import Task
from autoopt.tracking.registry import Registry
from autoopt.tracking.store import default_uri, open_client

REQUESTS, CLIENTS, MOST_ROWS, PORT = 1000, 8, 4, 5611
UP_S = 120


def main(folder: Path, words: list[str]) -> None:
    words = [*words, f"outputs={folder.resolve()}", "study=served"]
    settings = load_settings(words)
    autoopt("search", *words)
    task, name = load_task(settings), settings.model
    champion = autoopt("promote", *words)
    uri = default_uri(settings.outputs)
    registry = Registry(open_client(uri), uri, name)
    result = {"trial": champion["trial"], "requests": REQUESTS, "clients": CLIENTS}
    with serving(uri, name):
        result |= asked(task, settings.folder / "champion", served_by(registry))
    before = digests(registry)
    result["rollback"] = rolled_back(registry, words, settings.folder, champion["trial"], before)
    print(json.dumps(result, indent=1))
    file = Path(__file__).parent / "results.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**known, settings.task: result}, indent=1) + "\n")


def autoopt(verb: str, *words: str) -> dict[str, Any]:
    known = READERS.get(verb)  # all but a search take a few keys
    mine = [w for w in words if known is None or w.startswith("-") or w.partition("=")[0].partition(".")[0] in known]
    command = [sys.executable, "-m", "autoopt", verb, *mine]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def serving(uri: str, name: str) -> Iterator[None]:
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{name}@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(PORT)]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, env={**os.environ, "MLFLOW_TRACKING_URI": uri}, stdout=log, stderr=log) as server,
    ):
        try:
            wait_until_up(server)
            yield
        finally:
            server.terminate()


def wait_until_up(server: "subprocess.Popen[bytes]") -> None:
    for _ in range(10 * UP_S):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ping").close()
            return
        except OSError:
            assert server.poll() is None, "the server has ended"
            time.sleep(0.1)
    raise TimeoutError("the server does not come up")


def served_by(registry: Registry) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        saved = registry.download(registry.aliases()["champion"], Path(folder))
        return dict(json.loads((saved / "data" / CONTENT / FILE).read_text()))


def asked(task: Task, champion: Path, about: dict[str, Any]) -> dict[str, Any]:
    """How many answers over HTTP are errors, or other than the artifact's own."""
    session = RUNTIMES[about["runtime"]](champion / "model.onnx", about["threads"])
    expected = answers(predict(session, task.validation.inputs.numpy()), about)
    rng = np.random.default_rng(0)
    rows = [rng.integers(len(task.validation), size=rng.integers(1, MOST_ROWS + 1)) for _ in range(REQUESTS)]

    def ask(chosen: np.ndarray) -> str:
        try:
            found = post({"inputs": plain(as_typed(task, chosen))})["predictions"]
        except OSError:
            return "error"
        own = (
            expected[chosen].tolist() if isinstance(expected, np.ndarray) else expected.iloc[chosen].to_dict("records")
        )
        return "same" if found == own else "other"

    with ThreadPoolExecutor(CLIENTS) as clients:
        told = list(clients.map(ask, rows))
    return {
        "rows": sum(map(len, rows)),
        "different_rows": len(np.unique(np.concatenate(rows))),
        **{what: told.count(what) for what in ("same", "other", "error")},
    }


def plain(typed: Any) -> Any:
    if isinstance(typed, dict):
        return {name: array.tolist() for name, array in typed.items()}
    return typed.tolist() if isinstance(typed, np.ndarray) else typed


def post(content: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/invocations",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return dict(json.load(response))


def digests(registry: Registry) -> dict[str, str]:
    """Of each file that models:/NAME@champion hands out."""
    with tempfile.TemporaryDirectory() as folder:
        saved = registry.download(registry.aliases()["champion"], Path(folder))
        files = [path for path in sorted(saved.rglob("*")) if path.is_file()]
        return {str(path.relative_to(saved)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rolled_back(
    registry: Registry, words: list[str], study: Path, champion: int, before: dict[str, str]
) -> dict[str, Any]:
    """Whether the files are those from before another trial was promoted."""
    kept = sorted(int(path.name) for path in (study / "trials").iterdir())
    other = next(number for number in kept if number not in (0, champion))
    autoopt("promote", *words, f"trial={other}", "--force=to be rolled back at once")
    between = digests(registry)
    autoopt("rollback", *words)
    after = digests(registry)
    return {
        "promoted": other,
        "files": len(before),
        "changed_by_promote": sum(between.get(name) != digest for name, digest in before.items()),
        "changed_after_rollback": sum(after.get(name) != digest for name, digest in before.items()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
