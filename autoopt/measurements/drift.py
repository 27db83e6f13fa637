"""Drift: by how much a latency differs when it is measured again, beyond what the calls of one measurement tell."""

import numpy as np

LEAST = 0.02  # that was seen of small models with the machine to themselves (experiments/noise)
FEWEST = 4  # measurements, for their deviation to say anything


class Drift:
    """Learned from the baseline, which is measured again with each artifact: large models drift more than small ones,
    and a shared host more than one's own.
    """

    def __init__(self, least: float = LEAST) -> None:
        self._least = least
        self._seen: list[float] = []

    def note(self, median_ms: float) -> None:
        """Of the baseline, in one more measurement."""
        self._seen.append(median_ms)

    @property
    def share(self) -> float:
        """Half of a 95% interval of what comes on top, relative to the value: twice the deviation of the baseline's
        medians, `least` at least.
        """
        if len(self._seen) < FEWEST:
            return self._least
        return max(self._least, 2 * float(np.std(np.log(self._seen), ddof=1)))
