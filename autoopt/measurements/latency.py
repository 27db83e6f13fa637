"""Latency, interleaved with the baseline in one process."""

import resource
import time
from dataclasses import replace

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Interval, Measurement
from autoopt.measurements.subject import Run, Subject

ATTEMPT_S, FEWEST = 2.0, 8  # an attempt of slow models takes fewer blocks, down to so many
PERCENTILES = {"latency_p50_ms": 50, "latency_p95_ms": 95, "latency_p99_ms": 99}
CALM = 25  # percentile over the blocks that is reported: other work makes blocks slower, never faster
DRAWS, SEED, LEVEL = 1000, 0, (2.5, 97.5)

Blocks = list[np.ndarray]


def latency(subject: Subject) -> dict[str, Measurement]:
    """latency_p50_ms, latency_p95_ms and, where the options give enough calls, latency_p99_ms of one call with
    `options.batch` real inputs.

    Blocks alternate: artifact, baseline, artifact, ... so that both meet the same noise. A percentile is taken in each
    block and the lower quartile over the blocks reported: other work on the machine must spoil three blocks in four to
    move the number. The 95% intervals of the value and of the ratio are bootstraps over the blocks, of artifact and
    baseline together (Efron 1979, doi:10.1214/aos/1176344552). Where half the ratio's interval is more than
    `options.max_spread` of the ratio, all is taken again, `options.attempts` times at most, and the steadiest kept:
    what is above the limit even then is `unstable`.
    """
    subject = replace(subject, inputs=mixed(subject.inputs, subject.options.calls * subject.options.batch))
    subject = replace(subject, options=replace(subject.options, blocks=_affordable(subject)))
    names = [name for name in PERCENTILES if name != "latency_p99_ms" or subject.options.has_p99]
    best: dict[str, Measurement] = {}
    for _ in range(subject.options.attempts):
        mine, base = _take(subject)
        found = {
            name: estimate(
                _by_block(mine, PERCENTILES[name]), _by_block(base, PERCENTILES[name]), subject.options.max_spread
            )
            for name in names
        }
        best = min((best, found), key=_worst) if best else found
        if not any(measured.unstable for measured in best.values()):
            break
    return best


def mixed(inputs: Inputs, calls: int) -> Inputs:
    """In an order in which each `calls` neighbours, those of a block, have short and long sequences alike: else the
    longest of a block, not the model, decides its percentile.
    """
    if inputs.lengths is None:
        return inputs
    order, groups = np.argsort(inputs.lengths, kind="stable"), max(1, len(inputs) // calls)
    return inputs[np.concatenate([order[group::groups][:calls] for group in range(groups)])]


def estimate(mine: np.ndarray, base: np.ndarray, max_spread: float) -> Measurement:
    """Of a percentile in each block (n,), artifact and baseline. The spread covers both intervals, in ms."""
    draws = np.random.default_rng(SEED).integers(0, len(mine), (DRAWS, len(mine)))
    values, bases = _calm(mine[draws]), _calm(base[draws])
    value, baseline = float(_calm(mine)), float(_calm(base))
    own, ratios = _interval(values), _interval(values / bases)
    half = _half(ratios)
    return Measurement(
        value,
        baseline,
        spread=max(half * baseline, _half(own)),
        interval=own,
        ratio_interval=ratios,
        unstable=half > max_spread * value / baseline,
    )


def _calm(blocks: np.ndarray) -> np.ndarray:
    """(..., blocks) -> (...)."""
    calm: np.ndarray = np.percentile(blocks, CALM, axis=-1)
    return calm


def _interval(draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, LEVEL)
    return float(low), float(high)


def _half(interval: Interval) -> float:
    return (interval[1] - interval[0]) / 2


def _worst(found: dict[str, Measurement]) -> float:
    """The largest half of a ratio's interval, relative to the ratio."""
    return max(_half(m.ratio_interval) / m.ratio for m in found.values() if m.ratio_interval and m.ratio)


def _by_block(blocks: Blocks, percentile: float) -> np.ndarray:
    return np.array([np.percentile(block, percentile) for block in blocks])


def _affordable(subject: Subject) -> int:
    """How many blocks, after warm-up: all that are wanted, of slow models as many as ATTEMPT_S allows."""
    options, seconds = subject.options, 0.0
    for session in (subject.session, subject.baseline_session):
        calls = time_calls(session, subject.inputs, 0, max(1, options.warmup_calls), options.batch)
        seconds += float(np.median(calls)) / 1e3
    least = options.blocks if options.has_p99 else FEWEST
    return min(options.blocks, max(least, int(ATTEMPT_S / (seconds * options.calls))))


def _take(subject: Subject) -> tuple[Blocks, Blocks]:
    options = subject.options
    mine, base = [], []
    for block in range(options.blocks):
        start = block * options.calls
        mine.append(time_calls(subject.session, subject.inputs, start, options.calls, options.batch))
        base.append(time_calls(subject.baseline_session, subject.inputs, start, options.calls, options.batch))
    return mine, base


def time_calls(session: Run, inputs: Inputs, start: int, calls: int, batch: int = 1) -> np.ndarray:
    """Milliseconds of up to `calls` calls with `batch` inputs each, from call number `start` on, round and round.

    Left out are calls during which the system gave the core to other work, as far as it tells (Linux): slow calls meet
    that more often than fast ones, so that a ratio of two models would be wrong by the factor of their lengths.
    """
    times, preempted = np.empty(calls), np.zeros(calls, bool)
    for call in range(calls):
        given = inputs[(np.arange(batch) + (start + call) * batch) % len(inputs)]
        before = _preemptions()
        began = time.perf_counter()
        session(given)
        times[call] = time.perf_counter() - began
        preempted[call] = _preemptions() != before
    return times[~preempted] * 1e3 if preempted.sum() <= calls / 2 else times * 1e3


def _preemptions() -> int:
    """How often this thread has lost its core to other work; 0 where the system does not count."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw if hasattr(resource, "RUSAGE_THREAD") else 0
