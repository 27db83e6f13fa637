"""Learning-rate schedules. A member is `progress -> factor`: the share of training after warm-up, in [0, 1], to a
factor in [0, 1].
"""

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """The learning rate's factor at `step` of `steps`: a linear rise over the share `warmup`, then the schedule."""
    rise = int(warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return SCHEDULES[schedule]((step - rise) / max(1, steps - rise))
