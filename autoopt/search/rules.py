"""What the search does beyond asking the sampler: each rule can be turned off, to see what it is worth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    warm_start: bool = True
    """Before the sampler has a say: the teacher under each scheme, then a typical recipe of each student."""
    screens: bool = True
    """End a trial whose structure breaks a bound before it trains, and one whose learning curve falls short."""
    bar: bool = True
    """Hold a trial against the Pareto front, not against its bounds alone."""
    siblings: bool = True
    """Trained weights under every scheme and runtime of the space, each a trial of its own."""
    margin: float = 0.01
    """How much better than the baseline a student may be expected to get, in the quality's unit."""
