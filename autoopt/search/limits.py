"""What one trial may take of the machine, and how often it is tried again."""

from dataclasses import dataclass

RESPONSE_S = 20.0
"""After it was told to end, until its process is ended."""
LATE_S = 900.0
"""After the budget's time was over: what is measured by then may come to its end."""
BEYOND = 1.15  # times its memory: then there is no time left to tell it


@dataclass(frozen=True)
class Limits:
    """None: no such limit."""

    trial_minutes: float | None = None
    trial_gb: float | None = None
    """Of memory, of the process that does the trial."""
    disk_gb: float | None = None
    """Of the study's folder: what can be made again goes first, the record never."""
    grace_s: float = 30.0
    """From the first signal to stop until running trials are abandoned."""
    retries: int = 1
    """Of a recipe whose worker died."""
