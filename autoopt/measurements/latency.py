"""Latency at batch 1, interleaved with the baseline in one process."""

import time
from collections.abc import Callable

import numpy as np

from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Subject


def latency(subject: Subject) -> dict[str, Measurement]:
    """latency_p50_ms and latency_p95_ms of one call with one real input.

    Blocks alternate: artifact, baseline, artifact, ... so that both meet the same noise. A percentile is taken in
    each block and the median over the blocks reported: a burst of other work on the machine spoils a few blocks, not
    the number.
    """
    options = subject.options
    for session in (subject.session, subject.baseline_session):
        time_calls(session, subject.inputs, 0, options.warmup_calls)
    mine, base = [], []
    for block in range(options.blocks):
        start = block * options.calls
        mine.append(time_calls(subject.session, subject.inputs, start, options.calls))
        base.append(time_calls(subject.baseline_session, subject.inputs, start, options.calls))
    return {
        name: Measurement(_typical(mine, percentile), _typical(base, percentile))
        for name, percentile in (("latency_p50_ms", 50), ("latency_p95_ms", 95))
    }


def time_calls(session: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, start: int, calls: int) -> np.ndarray:
    """Milliseconds of each call (calls,), over the inputs from `start` on, round and round."""
    times = np.empty(calls)
    for call in range(calls):
        index = (start + call) % len(inputs)
        one = inputs[index : index + 1]
        began = time.perf_counter()
        session(one)
        times[call] = time.perf_counter() - began
    return times * 1e3


def _typical(blocks: list[np.ndarray], percentile: float) -> float:
    return float(np.median([np.percentile(block, percentile) for block in blocks]))
