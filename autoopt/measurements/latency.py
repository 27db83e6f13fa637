"""Latency, interleaved with the baseline in one process."""

import resource
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Run, Subject

ATTEMPT_S, FEWEST = 2.0, 8  # an attempt of slow models takes fewer blocks, down to so many
PERCENTILES = {"latency_p50_ms": 50, "latency_p95_ms": 95, "latency_p99_ms": 99}
CALM = 0.5  # share of the blocks that counts: other work makes blocks slower, never faster
GROUPS = 5  # of neighbouring blocks: what disturbs one disturbs the next, so that single blocks would seem too sure

Blocks = list[np.ndarray]


def latency(subject: Subject) -> dict[str, Measurement]:
    """latency_p50_ms, latency_p95_ms and, where the options give enough calls, latency_p99_ms of one call with
    `options.batch` real inputs.

    Blocks alternate: artifact, baseline, artifact, ... so that both meet the same noise. A percentile is that of all
    calls in the calmer half of the blocks, those of the lower medians: other work on the machine must spoil more than
    every other one to move the number. The 95% intervals of the value and of the ratio are Student's over groups of
    neighbouring blocks (batch means: Conway 1963, doi:10.1287/mnsc.10.1.47), wider by the subject's drift: a bootstrap
    over single blocks held the long-run value in half of the cases at most (experiments/noise). Where half the ratio's
    interval, drift left out, is more than `options.max_spread` of it, as many blocks are taken again,
    `options.attempts` times at most, and all of them count: what is above the limit even then is `unstable`.
    """
    subject = replace(subject, inputs=mixed(subject.inputs, subject.options.calls * subject.options.batch))
    subject = replace(subject, options=replace(subject.options, blocks=_affordable(subject)))
    mine, base = _take(subject, [], [])
    found = _estimates(mine, base, subject)
    for _ in range(subject.options.attempts - 1):
        if not any(measured.unstable for measured in found.values()):
            break
        mine, base = _take(subject, mine, base)
        found = _estimates(mine, base, subject)
    subject.drift.note(calm(base, 50))
    return found


def mixed(inputs: Inputs, calls: int) -> Inputs:
    """In an order in which each `calls` neighbours, those of a block, have short and long sequences alike: else the
    longest of a block, not the model, decides its percentile. Within a block they are shuffled, as in traffic. Of rows
    that are too few for one more block, evenly spread ones are left out; the shortest and the longest stay.
    """
    if inputs.lengths is None:
        return inputs
    groups, rng = max(1, len(inputs) // calls), np.random.default_rng(0)
    wanted = np.linspace(0, len(inputs) - 1, min(len(inputs), groups * calls)).round().astype(int)
    order = np.argsort(inputs.lengths, kind="stable")[wanted]
    return inputs[np.concatenate([rng.permutation(order[group::groups]) for group in range(groups)])]


def _estimates(mine: Blocks, base: Blocks, subject: Subject) -> dict[str, Measurement]:
    options, drift = subject.options, subject.drift.share
    return {
        name: estimate(mine, base, percentile, max_spread=options.max_spread, drift=drift)
        for name, percentile in PERCENTILES.items()
        if name != "latency_p99_ms" or options.has_p99
    }


def estimate(mine: Blocks, base: Blocks, percentile: float, *, max_spread: float, drift: float) -> Measurement:
    """Of a percentile, from as many blocks of artifact and baseline, 2 or more, each of calls in ms. The spread covers
    both intervals, in ms.
    """
    value, baseline = calm(mine, percentile), calm(base, percentile)
    ratio = value / baseline
    places = np.array_split(np.arange(len(mine)), min(GROUPS, len(mine)))
    groups = [tuple(calm([blocks[i] for i in at], percentile) for blocks in (mine, base)) for at in places]
    sampling = _half([own / theirs for own, theirs in groups])
    half = float(np.hypot(sampling, drift * ratio))
    half_ms = float(np.hypot(_half([own for own, _ in groups]), drift * value))
    return Measurement(
        value,
        baseline,
        spread=max(half * baseline, half_ms),
        interval=(max(0.0, value - half_ms), value + half_ms),
        ratio_interval=(max(0.0, ratio - half), ratio + half),
        unstable=sampling > max_spread * ratio,
    )


def calm(blocks: Sequence[np.ndarray], percentile: float, share: float = CALM) -> float:
    """Of all calls in those blocks whose medians are the lowest, that share of them."""
    order = np.argsort([np.median(block) for block in blocks], kind="stable")
    chosen = [blocks[place] for place in order[: max(1, round(len(blocks) * share))]]
    return float(np.percentile(np.concatenate(chosen), percentile))


def _half(groups: list[float]) -> float:
    """Half of the 95% interval: Student's, over what groups of neighbouring blocks give."""
    return float(stdtrit(len(groups) - 1, 0.975) * np.std(groups, ddof=1) / np.sqrt(len(groups)))


def _affordable(subject: Subject) -> int:
    """How many blocks, after warm-up: all that are wanted, of slow models as many as ATTEMPT_S allows."""
    options, seconds = subject.options, 0.0
    for session in (subject.session, subject.baseline_session):
        calls = time_calls(session, subject.inputs, 0, max(1, options.warmup_calls), options.batch)
        seconds += float(np.median(calls)) / 1e3
    least = options.blocks if options.has_p99 else FEWEST
    return min(options.blocks, max(least, int(ATTEMPT_S / (seconds * options.calls))))


def _take(subject: Subject, mine: Blocks, base: Blocks) -> tuple[Blocks, Blocks]:
    """The blocks, and `options.blocks` more of each."""
    options, mine, base = subject.options, list(mine), list(base)
    for block in range(len(mine), len(mine) + options.blocks):
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
