"""Drift: by how much a latency differs when it is measured again, beyond what the calls of one measurement tell."""

import numpy as np

LEAST = 0.02  # that was seen of small models with the machine to themselves (experiments/noise)
MOST = 0.15  # above it the machine was busy for a while, which the ratio of two interleaved models does not feel
FEWEST = 4  # measurements, for their deviation to say anything
OF_DIFFERENCES = 1.4826 / np.sqrt(2)  # deviation over median difference of two, of what is normally distributed


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

    def take(self, share: float) -> None:
        """What another process has learned of the same baseline on the same machine."""
        self._least = float(np.clip(share, LEAST, MOST))

    @property
    def share(self) -> float:
        """Half of a 95% interval of what comes on top, relative to the value, from `least` to MOST: twice the deviation
        of the baseline's medians, by the median of how far each is from the one before (von Neumann et al. 1941,
        doi:10.1214/aoms/1177731746), so that an hour in which all was slower does not count.
        """
        if len(self._seen) < FEWEST:
            return self._least
        apart = float(np.median(np.abs(np.diff(np.log(self._seen)))))
        return float(np.clip(2 * OF_DIFFERENCES * apart, self._least, MOST))
