"""Throughput and latency under load: several client threads on one session."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from autoopt.core.inputs import Inputs
from autoopt.core.kpi import Measurement
from autoopt.measurements.subject import Options, Run, Subject

DIFFERENT = 512  # inputs, round and round


def throughput(subject: Subject) -> dict[str, Measurement]:
    """throughput_qps: single-input queries a second of all clients together; the median over slices that alternate with
    the baseline's. load_p95_ms: the 95th percentile of the time of one call meanwhile, over all slices. With a price,
    cost_per_million: what a million of such queries cost.

    The spread is half the range of the slices, and of their ratios times the baseline, whichever is more. A pair of
    slices goes before that does not count: a runtime may make what serves several threads when they first call.
    """
    inputs = [subject.inputs[i : i + 1] for i in range(min(len(subject.inputs), DIFFERENT))]
    slices = [
        [_slice(session, inputs, subject.options) for session in (subject.session, subject.baseline_session)]
        for _ in range(subject.options.slices + 1)
    ][1:]
    rates = np.array([[rate for rate, _ in pair] for pair in slices])
    p95s = np.array([[np.percentile(times, 95) for _, times in pair] for pair in slices])
    calls = [np.concatenate([pair[who][1] for pair in slices]) for who in (0, 1)]
    found = {
        "throughput_qps": _measurement(np.median(rates, 0), rates),
        "load_p95_ms": _measurement([np.percentile(times, 95) for times in calls], p95s),
    }
    price = subject.options.price_per_hour
    if price is not None:
        costs = price / 3600 * 1e6 / rates
        found["cost_per_million"] = _measurement(np.median(costs, 0), costs)
    return found


def _measurement(pair: Sequence[Any] | np.ndarray, slices: np.ndarray) -> Measurement:
    """The values of the artifact and of the baseline; in `slices` (n, 2), those of each slice."""
    value, baseline = map(float, pair)
    of_ratios = float(np.ptp(slices[:, 0] / slices[:, 1])) * baseline
    return Measurement(value, baseline, spread=max(of_ratios, float(np.ptp(slices[:, 0]))) / 2)


def _slice(session: Run, inputs: Sequence[Inputs], options: Options) -> tuple[float, np.ndarray]:
    """Queries a second in one slice, and the milliseconds of each; each client calls until the time is over."""
    times: list[list[float]] = [[] for _ in range(options.clients)]
    began = time.perf_counter()
    end = began + options.slice_s

    def client(number: int) -> None:
        index, now = number, time.perf_counter()
        while now < end or not times[number]:
            session(inputs[index % len(inputs)])
            index += options.clients
            before, now = now, time.perf_counter()
            times[number].append(now - before)

    with ThreadPoolExecutor(options.clients) as threads:
        list(threads.map(client, range(options.clients)))  # raises what a client raises
    seconds = time.perf_counter() - began
    return sum(map(len, times)) / seconds, 1e3 * np.concatenate([np.array(own) for own in times])
