"""The point of the search space that a trial builds."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import suggestion

TEACHER = "teacher"
"""The student that is the teacher itself, made smaller by pruning; every other name is an architecture of its own."""


@dataclass(frozen=True)
class Recipe:
    """Everything that a trial builds from, apart from the task and the seed. None: does not apply to this recipe."""

    student: str
    pruning: str
    quantization: str
    layers: int | None = None
    """How many of the teacher's layers are kept, >= 1."""
    vocabulary: str | None = None
    """'cut': rows of the embedding table for the tokens of the task alone; 'full': all."""
    embedding_rank: int | None = None
    """Columns of the embedding table, >= 1."""
    ngrams: int | None = None
    """How many neighbouring tokens have a vector of their own, 1 or 2."""
    width: float | None = None
    """Multiplies the channels of a student that is not the teacher, > 0."""
    pruning_ratio: float | None = None
    """Share of channels removed, in (0, 1)."""
    sparsity: float | None = None
    """Share of weights set to zero, in (0, 1)."""
    augment: int | None = None
    """How many times the train split's size of unlabelled inputs the teacher labels besides it, >= 0."""
    epochs: int = 0
    """Passes over the train split; 0: the teacher's weights are used as they are."""
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    beta1: float | None = None
    beta2: float | None = None
    weight_decay: float | None = None
    warmup: float | None = None
    """Share of the steps during which the learning rate rises, in [0, 1)."""
    schedule: str | None = None
    distill_weight: float | None = None
    """In [0, 1]: 0 is labels only, 1 is teacher only."""
    temperature: float | None = None
    """Divides both logits, > 0."""
    qat_epochs: int | None = None
    """Passes over the train split under fake quantization, after all others, >= 1."""
    calibration: str | None = None
    """How activation ranges are found from the calibration set."""
    operators: str | None = None
    """'all' that can be quantized, or those 'with_weights' alone; None: decided by the graph."""
    keep_float: str | None = None
    """Layers that stay in float: 'none', the 'first', the 'last', or both 'ends'."""
    float_layers: int | None = None
    """How many layers stay in float, those that quantization damages most, >= 0."""
    graph_optimization: str | None = None
    """How far the runtime rewrites the graph before it is quantized: 'none', 'basic' or 'extended'."""
    runtime: str | None = None
    """What serves the artifact, where the study has more than one."""

    @property
    def is_trained(self) -> bool:
        return self.epochs > 0

    @property
    def fingerprint(self) -> str:
        """16 hex digits: equal for equal recipes, in any process."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The fields that apply, in their order here."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def to_yaml(self) -> str:
        """One `key: value` line a field. A JSON scalar is a YAML scalar, so the standard library suffices."""
        return "".join(f"{name}: {_yaml_scalar(value)}\n" for name, value in self.to_dict().items())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Raises ConfigError on a field that no recipe has, or one that every recipe needs and is missing."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown recipe field {name!r}. {suggestion(name, known)}")
        missing = {"student", "pruning", "quantization"} - set(values)
        if missing:
            raise ConfigError(f"the recipe lacks {', '.join(sorted(missing))}")
        return cls(**values)


def _yaml_scalar(value: Any) -> str:
    """JSON, but for floats like 1e-05, which YAML 1.1 reads as text unless there is a point."""
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


BASELINE = Recipe(student=TEACHER, pruning="none", quantization="none")
"""The teacher exported unchanged."""
