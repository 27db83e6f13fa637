"""What a trial of a study is done with: in the search's own process, or in each worker."""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.artifacts.outbox import Outbox
from autoopt.artifacts.trouble import DamagedError, MissingError, StoreError
from autoopt.commands.bench import bench_as_begun, load_task
from autoopt.commands.logs import quiet
from autoopt.commands.unlike import check_machine
from autoopt.config import parse_settings
from autoopt.core.errors import ConfigError, Killed
from autoopt.core.recipe import Recipe
from autoopt.core.trial import CPU, HOST, Draft, Trial
from autoopt.elsewhere import measure_built
from autoopt.pipeline import Bench, artifact_path, make_up_siblings, run_trial, weights_path
from autoopt.search.jobs import Acts
from autoopt.search.screening import Gate
from autoopt.training.loop import Hooks

MODEL_SHA256 = "model_sha256"
FLOAT_SHA256 = "float_sha256"
"""Among the facts of a trial: by what name its model is in the store, and the same before it was quantized, of what
another machine measures.
"""


UNSENT = "unsent"
"""The folder, in the study's, of models that artifacts.uri has not taken yet."""
AWAY_S, LOOK_S = 600.0, 2.0  # that a model may be on its way to the machine that measures, between two looks for it

BY_SIZE = frozenset({"size"})
"""What is measured of artifacts that another machine measures: what every machine measures the same."""


log = logging.getLogger(__name__)


def make_acts(bench: Bench, work: Path, host: str, *, measures: bool = True) -> Acts:
    """`host`: what this machine is called; `measures`: whether artifacts are measured where they are made."""
    outbox = None if bench.store is None else Outbox(bench.store, work.with_name(UNSENT))
    where = {HOST: host, CPU: bench.conditions["cpu"]}
    bench = bench if measures else replace(bench, measures=BY_SIZE)
    return Acts(
        partial(_evaluate, bench, outbox, work),
        partial(_make_up, bench, outbox, work),
        partial(_measure, bench, work),
        partial(tidy, work),
        where,
    )


def limited(acts: Acts, limit: Callable[[], AbstractContextManager[None]]) -> Acts:
    """The same acts, done within a limit; what is recorded between two of them is not."""

    def within(siblings: Iterable[Draft]) -> Iterator[Draft]:
        coming = iter(siblings)
        while True:
            with limit():
                sibling = next(coming, None)
            if sibling is None:
                return
            yield sibling

    def evaluate(draft: Draft, gate: Gate) -> Iterator[Draft]:
        with limit():
            siblings = acts.evaluate(draft, gate)
        return within(siblings)

    return replace(acts, evaluate=evaluate, make_up=lambda trial, recipes: within(acts.make_up(trial, recipes)))


def start_worker(raw: Mapping[str, Any], threads: int, begun: Mapping[str, Any]) -> Acts:
    """In a fresh process. Task and teacher are those of the search, which has left in the cache what takes time.

    `begun` is the study's fingerprint, and its machine. Raises ConfigError where data or weights are others in this
    process, or its machine may not measure for the study.
    """
    quiet()
    settings = replace(parse_settings(raw), threads=threads)
    task = load_task(settings)

    def accept(weights: str) -> None:
        if (weights, task.fingerprint) != (begun["teacher"]["weights"], begun["task"]["data"]):
            raise ConfigError(
                f"task {task.name} makes another teacher or other data in each process: fix its seed, or type "
                f"workers=0; where {settings.host} is another machine, put the same data there"
            )

    bench = bench_as_begun(settings, task, accept)
    check_machine(settings, begun["machine"], bench)
    return make_acts(bench, settings.folder / "work", settings.host, measures=settings.measures)


def work_folder(work: Path, number: int) -> Path:
    """Where a trial, and its siblings after it, leave their models."""
    return work / f"{number:04d}"


def tidy(work: Path, number: int) -> None:
    """Remove them."""
    shutil.rmtree(work_folder(work, number), ignore_errors=True)


def _evaluate(bench: Bench, outbox: Outbox | None, work: Path, draft: Draft, gate: Gate) -> Iterator[Draft]:
    """Run the trial in its work folder, under the gate."""
    folder = work_folder(work, gate.number)

    def on_epoch(epoch: int, quality: float) -> None:
        gate.on_epoch(epoch, quality)
        gate.after_epoch(draft.measurements, draft.curve)

    def should_stop() -> bool:
        gate.check()
        bench.quiet.step()
        return False

    with draft.clock("log"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    with bench.quiet.working():
        siblings = run_trial(draft, bench, folder, Hooks(should_stop, on_epoch), gate.admit)
        _share(bench, outbox, folder, draft)
    draft.facts["baseline_drift"] = bench.drift.share
    return _under(bench, outbox, folder, siblings)


def _make_up(
    bench: Bench, outbox: Outbox | None, work: Path, trial: Trial, recipes: Sequence[Recipe]
) -> Iterator[Draft]:
    folder = work_folder(work, trial.number)
    return _under(bench, outbox, folder, make_up_siblings(trial, recipes, bench, folder))


def _under(bench: Bench, outbox: Outbox | None, folder: Path, siblings: Iterator[Draft]) -> Iterator[Draft]:
    """Each is made while nobody measures."""
    while True:
        with bench.quiet.working():
            sibling = next(siblings, None)
            if sibling is not None:
                _share(bench, outbox, folder, sibling)
        if sibling is None:
            return
        yield sibling


def _measure(bench: Bench, work: Path, draft: Draft, gate: Gate) -> None:
    """What another machine has made, fetched into the work folder of its number."""
    folder = work_folder(work, gate.number)
    with draft.clock("log"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _fetch(bench, draft.facts[MODEL_SHA256], artifact_path(folder, draft.recipe), gate)
        _fetch(bench, draft.facts[FLOAT_SHA256], weights_path(folder, draft.recipe), gate)
    with bench.quiet.working():
        measure_built(draft, bench, folder, gate.admit)
    draft.facts["baseline_drift"] = bench.drift.share


def _fetch(bench: Bench, digest: str, path: Path, gate: Gate) -> None:
    """Waits for a store that is away, or for who has made it and waits for the store. Raises Killed after AWAY_S."""
    assert bench.store is not None
    end = time.monotonic() + AWAY_S
    while True:
        try:
            return bench.store.get(digest, path)
        except StoreError as error:  # of the store, not of the recipe
            if time.monotonic() > end or isinstance(error, DamagedError):
                raise Killed(f"its artifact cannot be fetched: {error}") from error
            log.log(logging.INFO if isinstance(error, MissingError) else logging.WARNING, "waiting for it: %s", error)
            until = time.monotonic() + LOOK_S
            while time.monotonic() < until:
                gate.check()
                time.sleep(0.1)


def _share(bench: Bench, outbox: Outbox | None, folder: Path, draft: Draft) -> None:
    """Send the model to the store, for a search on another machine."""
    path = artifact_path(folder, draft.recipe)
    if outbox is not None and draft.error is None and path.is_file():
        with draft.clock("log"):
            draft.facts[MODEL_SHA256] = outbox.send(path)
            if bench.measures == BY_SIZE:
                draft.facts[FLOAT_SHA256] = outbox.send(next(folder.glob("*.float.onnx")))
