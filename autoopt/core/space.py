"""The search space: which knobs there are, what each may be, and when each is asked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoopt.core.errors import ConfigError
from autoopt.core.recipe import TEACHER, Recipe

Value = str | int | float | bool

# Asked in this order: a knob may depend on those above it. Limits hold for every value that a user may write.
ANY: tuple[float, float, str] = (-math.inf, math.inf, "a name")
KNOBS: dict[str, tuple[float, float, str]] = {
    "student": ANY,
    "width": (1e-3, 64, "in [0.001, 64]"),
    "pruning": ANY,
    "pruning_ratio": (1e-6, 0.99, "in (0, 0.99]"),
    "sparsity": (1e-6, 0.999, "in (0, 0.999]"),
    "layers": (1, 1000, "a whole number from 1 to 1000"),
    "vocabulary": ANY,
    "embedding_rank": (1, 1e5, "a whole number from 1 to 100000"),
    "ngrams": (1, 2, "1 or 2"),
    "augment": (0, 8, "a whole number from 0 to 8"),
    "epochs": (1, 1e6, "a whole number from 1 to 1000000"),
    "batch_size": (2, 1e6, "a whole number from 2 to 1000000"),
    "optimizer": ANY,
    "learning_rate": (1e-12, 1e3, "in (0, 1000]"),
    "momentum": (0, 1 - 1e-9, "in [0, 1)"),
    "nesterov": (0, 1, "true or false"),
    "beta1": (0, 1 - 1e-9, "in [0, 1)"),
    "beta2": (0, 1 - 1e-9, "in [0, 1)"),
    "weight_decay": (0, 1e3, "in [0, 1000]"),
    "warmup": (0, 1 - 1e-9, "in [0, 1)"),
    "schedule": ANY,
    "distill_weight": (0, 1, "in [0, 1]"),
    "temperature": (1e-3, 1e3, "in [0.001, 1000]"),
    "quantization": ANY,
    "qat_epochs": (1, 1e6, "a whole number from 1 to 1000000"),
    "calibration": ANY,
    "operators": ANY,
    "keep_float": ANY,
    "float_layers": (0, 1000, "a whole number from 0 to 1000"),
    "graph_optimization": ANY,
    "runtime": ANY,
}
NAMES = frozenset(name for name, limits in KNOBS.items() if limits is ANY)
WHOLE = frozenset(
    {"epochs", "batch_size", "layers", "embedding_rank", "ngrams", "augment", "qat_epochs", "float_layers"}
)
TRAINING = frozenset(
    [
        "augment",
        "epochs",
        "batch_size",
        "optimizer",
        "learning_rate",
        "momentum",
        "nesterov",
        "beta1",
        "beta2",
        "weight_decay",
        "warmup",
        "schedule",
        "distill_weight",
        "temperature",
    ]
)


SHRINKING = frozenset({"layers", "vocabulary", "embedding_rank"})


@dataclass(frozen=True)
class Choice:
    """One of several values, without order. A choice of one is fixed: it is not asked."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A number from low to high, both included; whole numbers where `whole`. `log`: uniform in the logarithm."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class Per:
    """A knob whose values depend on what was chosen for the knob `parent`.

    `own`: by student, the cases in which that student has values of its own.
    """

    parent: str
    cases: Mapping[str, "Choice | Range"]
    own: Mapping[str, Mapping[str, "Choice | Range"]] = field(default_factory=dict)

    def case(self, chosen: Mapping[str, Value]) -> tuple[str, "Choice | Range"]:
        """What holds after the choices so far, and under which name."""
        student, case = str(chosen["student"]), str(chosen[self.parent])
        if case in self.own.get(student, ()):
            return f"{student}, {case}", self.own[student][case]
        return case, self.cases[case]


@dataclass(frozen=True)
class Space:
    """`needs` maps a knob to the (parent knob, parent values) that it is asked for; a knob without entry is always
    asked.
    """

    knobs: Mapping[str, Choice | Range | Per]
    needs: Mapping[str, tuple[str, frozenset[str]]]

    def is_asked(self, name: str, chosen: Mapping[str, Value]) -> bool:
        """Whether `name` applies after the choices so far. Knobs that the space does not name are left to the code
        that reads them: optimizers keep their library's defaults.
        """
        if name not in self.knobs:
            return False
        if name in TRAINING | SHRINKING and chosen["student"] == TEACHER and chosen["pruning"] == "none":
            return False  # the unpruned teacher has its weights already: only its export differs
        if name == "temperature" and not chosen.get("distill_weight"):
            return False
        parent, values = self.needs.get(name, ("", frozenset()))
        return not parent or chosen.get(parent) in values


def draw(space: Space, ask: Callable[[str, Choice | Range], Value]) -> Recipe:
    """Build a recipe knob by knob. `ask(parameter, knob)` answers for the knobs that apply and are not fixed.

    A parameter is the knob's name; where its values depend on another knob, with that choice in brackets
    (`learning_rate[sgd]`, `learning_rate[teacher, sgd]`), since Optuna allows one distribution a name.
    """
    chosen: dict[str, Value] = {}
    for name in KNOBS:
        if not space.is_asked(name, chosen):
            continue
        knob, parameter = space.knobs[name], name
        if isinstance(knob, Per):
            case, knob = knob.case(chosen)
            parameter = f"{name}[{case}]"
        if isinstance(knob, Choice) and len(knob.values) == 1:
            chosen[name] = knob.values[0]
        else:
            chosen[name] = _rounded(ask(parameter, knob), knob)
    return Recipe.from_dict(chosen)


def _rounded(value: Value, knob: Choice | Range) -> Value:
    """Six significant digits: a recipe that people can read and type. The ends of a range stay as they were written,
    and its steps to twelve digits, so that they stay on Optuna's grid.
    """
    if isinstance(knob, Choice) or not isinstance(value, float):
        return value
    digits = 12 if knob.step else 6
    return min(max(float(f"{value:.{digits}g}"), knob.low), knob.high)


def parameters(space: Space, recipe: Recipe) -> dict[str, Value] | None:
    """The answers with which `draw` gives this very recipe; None where the recipe lies outside of the space."""
    wanted, answers = recipe.to_dict(), {}

    def answer(parameter: str, knob: Choice | Range) -> Value:
        value = wanted.get(parameter.partition("[")[0])
        if value is None or not contains(knob, value):
            raise KeyError(parameter)
        answers[parameter] = value
        return value  # type: ignore[no-any-return]

    try:
        drawn = draw(space, answer)
    except KeyError:
        return None
    return answers if drawn == recipe else None


def without_temperature(space: Space) -> Space:
    """For numbers, which have no softmax that a temperature could divide."""
    return Space({name: knob for name, knob in space.knobs.items() if name != "temperature"}, space.needs)


def trains(space: Space) -> bool:
    """False where no recipe of the space is trained, since all are the unpruned teacher."""
    return set(values(space.knobs["student"])) != {TEACHER} or reachable(space, "pruning") != {"none"}


def reachable(space: Space, name: str) -> set[Value]:
    """The values of a choice that some student of the space may take."""
    knob = space.knobs[name]
    if not isinstance(knob, Per) or knob.parent != "student":
        return set(values(knob))
    return {value for s in values(space.knobs["student"]) if s in knob.cases for value in values(knob, str(s))}


def typical(space: Space, student: str, epochs: str = "middle") -> Recipe:
    """A sensible first recipe of a student: of each choice the first value, of each range the middle.

    So the order of a list in conf/space says what to try first. `epochs`: where in their range, 'low', 'middle' or
    'high'.
    """

    def answer(parameter: str, knob: Choice | Range) -> Value:
        if parameter == "student":
            return student
        if isinstance(knob, Range) and parameter.partition("[")[0] == "epochs" and epochs != "middle":
            return int(getattr(knob, epochs))
        return knob.values[0] if isinstance(knob, Choice) else middle(knob)

    return draw(space, answer)


def middle(knob: Range) -> float | int:
    """Halfway, in the logarithm where the range is logarithmic, on a step where it has steps."""
    if knob.log:
        found = math.sqrt(knob.low * knob.high)
    else:
        step = knob.step or (1.0 if knob.whole else 0.0)
        half = (knob.high - knob.low) / 2
        found = knob.low + (step * round(half / step) if step else half)
    return round(found) if knob.whole else found


def contains(knob: Choice | Range, value: Any) -> bool:
    if isinstance(knob, Choice):
        return value in knob.values
    return not isinstance(value, str) and knob.low <= value <= knob.high and _on_step(knob, value)


def _on_step(knob: Range, value: float) -> bool:
    steps = (value - knob.low) / knob.step if knob.step else 0.0
    return abs(steps - round(steps)) < 1e-8  # as near as Optuna's own check


def values(knob: Choice | Range | Per, case: str | None = None) -> tuple[Value, ...]:
    """The values of a choice: all that it may take, or under the parent's choice `case`; () for a range."""
    if isinstance(knob, Per):
        cases = knob.cases.values() if case is None else [knob.cases[case]]
        return tuple(dict.fromkeys(value for inner in cases for value in values(inner)))
    return knob.values if isinstance(knob, Choice) else ()


def restrict(space: Space, offered: Mapping[str, tuple[str, ...]]) -> Space:
    """Leave to each student only the quantization schemes that change something in it. Raises ConfigError where none
    is left.
    """
    knob = space.knobs["quantization"]
    cases: dict[str, Choice | Range] = {}
    for student in map(str, values(space.knobs["student"])):
        wanted = values(knob, student) if isinstance(knob, Per) else values(knob)
        left = tuple(value for value in wanted if value in offered[student])
        if not left:
            raise ConfigError(
                f"space.quantization={list(wanted)} changes nothing in student {student!r}: "
                f"add one of {', '.join(offered[student])}, or leave that student out of space.student"
            )
        cases[student] = Choice(left)
    same = len(set(cases.values())) == 1
    narrowed = next(iter(cases.values())) if same else Per("student", cases)
    return Space({**space.knobs, "quantization": narrowed}, space.needs)
