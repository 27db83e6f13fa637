"""Latency, interleaved with the baseline in one process."""

import resource
import time
from dataclasses import replace

import numpy as np
from scipy.stats import t

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Run, Subject

ATTEMPT_S, FEWEST = 2.0, 8  # an attempt of slow models takes fewer blocks, down to so many
PERCENTILES = {"latency_p50_ms": 50, "latency_p95_ms": 95, "latency_p99_ms": 99}
CALM = 10  # percentile over the blocks that is reported: other work makes blocks slower, never faster
GROUPS = 5  # of neighbouring blocks: what disturbs one disturbs the next, so that single blocks would seem too sure
DRIFT = 0.02  # by which a ratio that is measured again some seconds later differs, beyond what blocks tell

Blocks = list[np.ndarray]


def latency(subject: Subject) -> dict[str, Measurement]:
    """latency_p50_ms, latency_p95_ms and, where the options give enough calls, latency_p99_ms of one call with
    `options.batch` real inputs.

    Blocks alternate: artifact, baseline, artifact, ... so that both meet the same noise. A percentile is taken in each
    block and the lowest tenth of the blocks reported: other work on the machine must spoil nine in ten to move the
    number. The 95% intervals of the value and of the ratio are Student's over groups of neighbouring blocks (batch
    means: Conway 1963, doi:10.1287/mnsc.10.1.47), wider by DRIFT: a bootstrap over single blocks held the long-run
    value in half of the cases at most (experiments/noise). Where half the ratio's interval is more than
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
    """Of a percentile in each block (n,), n >= 2, artifact and baseline. The spread covers both intervals, in ms."""
    value, baseline = float(_calm(mine)), float(_calm(base))
    ratio = value / baseline
    places = np.array_split(np.arange(len(mine)), min(GROUPS, len(mine)))
    half = _half([float(_calm(mine[at]) / _calm(base[at])) for at in places], ratio)
    half_ms = _half([float(_calm(mine[at])) for at in places], value)
    return Measurement(
        value,
        baseline,
        spread=max(half * baseline, half_ms),
        interval=(max(0.0, value - half_ms), value + half_ms),
        ratio_interval=(max(0.0, ratio - half), ratio + half),
        unstable=half > max_spread * ratio,
    )


def _calm(blocks: np.ndarray) -> float:
    return float(np.percentile(blocks, CALM))


def _half(groups: list[float], whole: float) -> float:
    """Half of the 95% interval: Student's, over what groups of neighbouring blocks give, and DRIFT."""
    sampling = t.ppf(0.975, len(groups) - 1) * np.std(groups, ddof=1) / np.sqrt(len(groups))
    return float(np.hypot(sampling, DRIFT * whole))


def _worst(found: dict[str, Measurement]) -> float:
    """The largest half of a ratio's interval, relative to the ratio."""
    return max((m.ratio_interval[1] - m.ratio) / m.ratio for m in found.values() if m.ratio_interval and m.ratio)


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
