"""Speed and memory in fresh processes: what a search of hours has left in this one must not decide."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from autoopt.core.exam import ExamRules
from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements import Options, Subject
from autoopt.measurements.cold_start import cold_start
from autoopt.measurements.drift import Drift
from autoopt.measurements.latency import FEWEST, latency, time_calls
from autoopt.measurements.process import run_fresh
from autoopt.measurements.throughput import throughput
from autoopt.runtimes import RUNTIMES
from autoopt.runtimes.providers import CPU

FEWEST_CALLS, MOST_CALLS, BATCHES_S = 3, 20, 4.0  # of many inputs each: a block, and seconds for all blocks
ROWS, LENGTHS, SEQUENCES = "row ", "lengths", "sequences"


@dataclass(frozen=True)
class Order:
    """What the other process is told, as plain JSON values."""

    model: str
    baseline: str
    inputs: str
    runtime: str
    baseline_runtime: str
    threads: int
    provider: str
    options: Mapping[str, Any]
    drift: float
    clients: Sequence[int]
    batch_sizes: Sequence[int]


def measure_fresh(
    model: Path,
    baseline: Path,
    inputs: Inputs,
    *,
    runtime: str,
    baseline_runtime: str,
    threads: int,
    provider: str = CPU,
    options: Options,
    drift: float,
    rules: ExamRules,
) -> dict[str, Measurement]:
    """Latency, throughput and cold start of a model beside the baseline, on numpy `inputs`; by the rules with several
    numbers of clients and inputs a call, too. `drift`: see Drift.share.

    Raises TrialError where the process does not come to its end.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "inputs.npz"
        _save(inputs, file)
        order = Order(
            str(model),
            str(baseline),
            str(file),
            runtime,
            baseline_runtime,
            threads,
            provider,
            asdict(options),
            drift,
            rules.clients,
            rules.batch_sizes,
        )
        found = run_fresh("-m", "autoopt.champion.fresh", json.dumps(asdict(order)))
    return {name: Measurement.from_list(numbers) for name, numbers in found.items()}


def main(order: Order) -> None:
    """Prints the measurements as JSON."""
    inputs = _load(Path(order.inputs))
    served = ((order.runtime, order.model), (order.baseline_runtime, order.baseline))
    sessions = [RUNTIMES[runtime](Path(path), order.threads, order.provider) for runtime, path in served]
    subject = Subject(
        path=Path(order.model),
        float_path=Path(order.model),
        session=sessions[0],
        baseline_path=Path(order.baseline),
        baseline_session=sessions[1],
        inputs=inputs,
        targets=np.zeros(len(inputs)),
        metrics=(),
        baseline_outputs=np.zeros((len(inputs), 1)),
        options=Options(**order.options),
        drift=Drift(order.drift),
        threads=order.threads,
        provider=order.provider,
        runtime=order.runtime,
        baseline_runtime=order.baseline_runtime,
    )
    loads = {
        clients: throughput(replace(subject, options=replace(subject.options, clients=clients)))
        for clients in sorted({*order.clients, subject.options.clients})
    }
    found = latency(subject) | loads[subject.options.clients] | cold_start(subject)
    for clients in order.clients:
        found |= {f"{name}_{clients}_clients": loads[clients][name] for name in ("throughput_qps", "load_p95_ms")}
    for batch in order.batch_sizes:
        options = _of_batches(subject, batch)
        timed = latency(replace(subject, options=options, drift=Drift(order.drift)))  # other calls drift by themselves
        found |= {f"{name}_batch_{batch}": measured for name, measured in timed.items()}
    print(json.dumps({name: measured.to_list() for name, measured in found.items()}))


def _of_batches(subject: Subject, batch: int) -> Options:
    """Calls of many inputs may take seconds: then a block has few, and nothing is measured twice."""
    sessions = (subject.session, subject.baseline_session)
    seconds = sum(float(time_calls(session, subject.inputs, 0, 1, batch)[0]) for session in sessions) / 1e3
    most = max(MOST_CALLS, subject.options.calls // batch)
    calls = int(np.clip(BATCHES_S / (FEWEST * seconds), FEWEST_CALLS, most))
    return replace(
        subject.options, batch=batch, calls=calls, warmup_calls=min(calls, subject.options.warmup_calls), attempts=1
    )


def _save(inputs: Inputs, file: Path) -> None:
    arrays: dict[str, Any] = {ROWS + name: array for name, array in inputs.arrays.items()}
    arrays[SEQUENCES] = np.array(inputs.sequences, dtype=str)
    if inputs.lengths is not None:
        arrays[LENGTHS] = inputs.lengths
    np.savez(file, **arrays)


def _load(file: Path) -> Inputs:
    with np.load(file, allow_pickle=False) as found:
        arrays = {name.removeprefix(ROWS): found[name] for name in found.files if name.startswith(ROWS)}
        return Inputs(arrays, found[LENGTHS] if LENGTHS in found.files else None, tuple(map(str, found[SEQUENCES])))


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
