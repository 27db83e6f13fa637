"""What every student of a task must take and give."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tokens:
    """Sentences as token ids below `vocabulary`, with `pad` at their end."""

    vocabulary: int
    pad: int
    used: tuple[int, ...]
    """The ids that the training sentences use, in order, with pad and the one for what is unknown."""


@dataclass(frozen=True)
class Signature:
    """From inputs of `input_shape` (without the batch axis; the first of several) to `classes` logits."""

    input_shape: tuple[int, ...]
    classes: int
    tokens: Tokens | None = None
    """None where inputs are no text."""
