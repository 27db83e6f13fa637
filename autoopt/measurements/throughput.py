"""Throughput: several client threads on one session."""

import threading
import time
from collections.abc import Sequence

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Options, Run, Subject

DIFFERENT = 512  # inputs, round and round


def throughput(subject: Subject) -> dict[str, Measurement]:
    """throughput_qps: single-input queries a second of all clients together; the median over slices that alternate with
    the baseline's. The spread is half the range of the slices' ratios, times the baseline."""
    inputs = [subject.inputs[i : i + 1] for i in range(min(len(subject.inputs), DIFFERENT))]
    mine, base = [], []
    for _ in range(subject.options.slices):
        mine.append(_slice(subject.session, inputs, subject.options))
        base.append(_slice(subject.baseline_session, inputs, subject.options))
    value, baseline = float(np.median(mine)), float(np.median(base))
    spread = float(np.ptp(np.array(mine) / np.array(base))) / 2 * baseline
    return {"throughput_qps": Measurement(value, baseline, spread)}


def _slice(session: Run, inputs: Sequence[Inputs], options: Options) -> float:
    """Queries a second in one slice; each client counts its own calls until the time is over."""
    counts = [0] * options.clients
    began = time.perf_counter()
    end = began + options.slice_s

    def client(number: int) -> None:
        index = number
        while time.perf_counter() < end:
            session(inputs[index % len(inputs)])
            index += options.clients
            counts[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
