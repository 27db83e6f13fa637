"""Latency at batch 1, interleaved with the baseline in one process."""

import resource
import time
from dataclasses import replace

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Run, Subject

ATTEMPT_S, FEWEST = 2.0, 8  # an attempt of slow models takes fewer blocks, down to so many
STEADY = 1.5  # upper over lower quartile of the blocks' p95: above it other work got in the way, and it is taken again

Blocks = list[np.ndarray]


def latency(subject: Subject) -> dict[str, Measurement]:
    """latency_p50_ms and latency_p95_ms of one call with one real input.

    Blocks alternate: artifact, baseline, artifact, ... so that both meet the same noise. A percentile is taken in each
    block and the lower quartile over the blocks reported: other work on the machine makes blocks slower, never faster,
    and must spoil three in four to move the number. Unsteady blocks are taken again, `attempts` times at most, and the
    steadiest kept. The spread is half the interquartile range of the blocks' ratios, times the baseline.
    """
    subject = replace(subject, inputs=mixed(subject.inputs, subject.options.calls))
    seconds = 0.0
    for session in (subject.session, subject.baseline_session):
        seconds += float(np.median(time_calls(session, subject.inputs, 0, max(1, subject.options.warmup_calls)))) / 1e3
    blocks = int(ATTEMPT_S / (seconds * subject.options.calls))
    options = replace(subject.options, blocks=min(subject.options.blocks, max(FEWEST, blocks)))
    mine, base = _steadiest(replace(subject, options=options))
    return {
        name: _measurement(_by_block(mine, percentile), _by_block(base, percentile))
        for name, percentile in (("latency_p50_ms", 50), ("latency_p95_ms", 95))
    }


def mixed(inputs: Inputs, calls: int) -> Inputs:
    """In an order in which each `calls` neighbours, those of a block, have short and long sequences alike: else the
    longest of a block, not the model, decides its percentile.
    """
    if inputs.lengths is None:
        return inputs
    order, groups = np.argsort(inputs.lengths, kind="stable"), max(1, len(inputs) // calls)
    return inputs[np.concatenate([order[group::groups][:calls] for group in range(groups)])]


def _measurement(mine: np.ndarray, base: np.ndarray) -> Measurement:
    value, baseline = (float(np.percentile(blocks, 25)) for blocks in (mine, base))
    low, high = np.percentile(mine / base, [25, 75])
    return Measurement(value, baseline, spread=float(high - low) / 2 * baseline)


def _by_block(blocks: Blocks, percentile: float) -> np.ndarray:
    return np.array([np.percentile(block, percentile) for block in blocks])


def _steadiest(subject: Subject) -> tuple[Blocks, Blocks]:
    taken = []
    for _ in range(subject.options.attempts):
        blocks = _take(subject)
        spread = max(_spread(blocks[0]), _spread(blocks[1]))
        taken.append((spread, blocks))
        if spread <= STEADY:
            break
    return min(taken, key=lambda pair: pair[0])[1]


def _take(subject: Subject) -> tuple[Blocks, Blocks]:
    options = subject.options
    mine, base = [], []
    for block in range(options.blocks):
        start = block * options.calls
        mine.append(time_calls(subject.session, subject.inputs, start, options.calls))
        base.append(time_calls(subject.baseline_session, subject.inputs, start, options.calls))
    return mine, base


def _spread(blocks: Blocks) -> float:
    low, high = np.percentile(_by_block(blocks, 95), [25, 75])
    return float(high / low)


def time_calls(session: Run, inputs: Inputs, start: int, calls: int) -> np.ndarray:
    """Milliseconds of up to `calls` calls, over the inputs from `start` on, round and round.

    Left out are calls during which the system gave the core to other work, as far as it tells (Linux): slow calls meet
    that more often than fast ones, so that a ratio of two models would be wrong by the factor of their lengths.
    """
    times, preempted = np.empty(calls), np.zeros(calls, bool)
    for call in range(calls):
        index = (start + call) % len(inputs)
        one = inputs[index : index + 1]
        before = _preemptions()
        began = time.perf_counter()
        session(one)
        times[call] = time.perf_counter() - began
        preempted[call] = _preemptions() != before
    return times[~preempted] * 1e3 if preempted.sum() <= calls / 2 else times * 1e3


def _preemptions() -> int:
    """How often this thread has lost its core to other work; 0 where the system does not count."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw if hasattr(resource, "RUSAGE_THREAD") else 0
