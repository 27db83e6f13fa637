"""The search space: which knobs there are, what each may be, and when each is asked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import suggestion
from autoopt.core.recipe import TEACHER, Recipe

Value = str | int | float | bool

# Asked in this order: a knob may depend on those above it. Limits hold for every value that a user may write.
ANY: tuple[float, float, str] = (-math.inf, math.inf, "a name")
KNOBS: dict[str, tuple[float, float, str]] = {
    "student": ANY,
    "width": (1e-3, 64, "> 0"),
    "pruning": ANY,
    "pruning_ratio": (1e-6, 0.99, "in (0, 0.99]"),
    "sparsity": (1e-6, 0.999, "in (0, 0.999]"),
    "epochs": (1, 1e6, "a whole number >= 1"),
    "batch_size": (1, 1e6, "a whole number >= 1"),
    "optimizer": ANY,
    "learning_rate": (1e-12, 1e3, "> 0"),
    "momentum": (0, 1 - 1e-9, "in [0, 1)"),
    "nesterov": (0, 1, "true or false"),
    "beta1": (0, 1 - 1e-9, "in [0, 1)"),
    "beta2": (0, 1 - 1e-9, "in [0, 1)"),
    "weight_decay": (0, 1e3, ">= 0"),
    "warmup": (0, 1 - 1e-9, "in [0, 1)"),
    "schedule": ANY,
    "distill_weight": (0, 1, "in [0, 1]"),
    "temperature": (1e-3, 1e3, "> 0"),
    "quantization": ANY,
    "calibration": ANY,
}
NAMES = frozenset(name for name, limits in KNOBS.items() if limits is ANY)
WHOLE = frozenset({"epochs", "batch_size"})
TRAINING = frozenset(
    [
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


# Knobs that may be given by another knob's choice, as {CHOICE: knob, ...}.
PARENTS = {"learning_rate": "optimizer"} | dict.fromkeys(
    ("width", "pruning", "pruning_ratio", "sparsity", "epochs", "quantization"), "student"
)
# Knobs without a sensible value of their own: where they are asked, the space must say what they may be.
REQUIRED = frozenset(
    {
        "student",
        "pruning",
        "pruning_ratio",
        "sparsity",
        "epochs",
        "optimizer",
        "learning_rate",
        "quantization",
        "calibration",
    }
)


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
    """A knob whose values depend on what was chosen for the knob `parent`."""

    parent: str
    cases: Mapping[str, "Choice | Range"]


@dataclass(frozen=True)
class Space:
    """`needs` maps a knob to the (parent knob, parent values) that it is asked for; a knob without entry is always
    asked.
    """

    knobs: Mapping[str, Choice | Range | Per]
    needs: Mapping[str, tuple[str, frozenset[str]]]

    def is_asked(self, name: str, chosen: Mapping[str, Value]) -> bool:
        """Whether `name` applies after the choices so far. A knob that the space does not name keeps the library's
        default.
        """
        if name not in self.knobs:
            return False
        if name in TRAINING and chosen["student"] == TEACHER and chosen["pruning"] == "none":
            return False  # the unpruned teacher has its weights already: only its export differs
        if name == "temperature" and not chosen.get("distill_weight"):
            return False
        parent, values = self.needs.get(name, ("", frozenset()))
        return not parent or chosen.get(parent) in values


def draw(space: Space, ask: Callable[[str, Choice | Range], Value]) -> Recipe:
    """Build a recipe knob by knob. `ask(parameter, knob)` answers for the knobs that apply and are not fixed.

    A parameter is the knob's name; where its values depend on another knob, with that choice in brackets
    (`learning_rate[sgd]`), since Optuna allows one distribution a name.
    """
    chosen: dict[str, Value] = {}
    for name in KNOBS:
        if not space.is_asked(name, chosen):
            continue
        knob, parameter = space.knobs[name], name
        if isinstance(knob, Per):
            case = str(chosen[knob.parent])
            knob, parameter = knob.cases[case], f"{name}[{case}]"
        if isinstance(knob, Choice) and len(knob.values) == 1:
            chosen[name] = knob.values[0]
        else:
            chosen[name] = _rounded(ask(parameter, knob), knob)
    return Recipe.from_dict(chosen)


def _rounded(value: Value, knob: Choice | Range) -> Value:
    """Six significant digits: a recipe that people can read and type. The ends of a range stay as they were written."""
    if isinstance(knob, Choice) or not isinstance(value, float):
        return value
    return min(max(float(f"{value:.6g}"), knob.low), knob.high)


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


def typical(space: Space, student: str) -> Recipe:
    """A sensible first recipe of a student: of each choice the first value, of each range the middle.

    So the order of a list in conf/space says what to try first.
    """

    def answer(parameter: str, knob: Choice | Range) -> Value:
        if parameter == "student":
            return student
        return knob.values[0] if isinstance(knob, Choice) else _middle(knob)

    return draw(space, answer)


def _middle(knob: Range) -> float | int:
    """Halfway, in the logarithm where the range is logarithmic, on a step where it has steps."""
    if knob.log:
        middle = math.sqrt(knob.low * knob.high)
    else:
        step = knob.step or (1.0 if knob.whole else 0.0)
        half = (knob.high - knob.low) / 2
        middle = knob.low + (step * round(half / step) if step else half)
    return round(middle) if knob.whole else middle


def contains(knob: Choice | Range, value: Any) -> bool:
    if isinstance(knob, Choice):
        return value in knob.values
    return not isinstance(value, str) and knob.low <= value <= knob.high


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


def parse_space(raw: Mapping[str, Any], needs: Mapping[str, tuple[str, frozenset[str]]]) -> Space:
    """From `{knob: value | [values] | {low, high[, log][, step]} | {parent's choice: ...}}`. Raises ConfigError."""
    for name in raw:
        if name not in KNOBS:
            raise ConfigError(f"unknown knob space.{name}. {suggestion(name, KNOBS)}")
    knobs = {name: _parse_any(name, raw[name]) for name in KNOBS if raw.get(name) is not None}
    space = Space(knobs, needs)
    for name in ("student", "pruning", "quantization"):
        if name not in knobs:
            raise ConfigError(f"space.{name} is missing: every recipe needs one")
    return space


def _parse_any(name: str, raw: Any) -> Choice | Range | Per:
    by_parent = isinstance(raw, Mapping) and name in PARENTS and not {"low", "high"} & set(raw)
    if not by_parent:
        return parse_knob(name, raw)
    if not raw:
        raise ConfigError(f"space.{name}={{}} is empty: give it a value, a list or a range")
    return Per(PARENTS[name], {str(case): parse_knob(f"{name}.{case}", inner) for case, inner in raw.items()})


def check_complete(space: Space) -> None:
    """Raises ConfigError unless every knob that may be asked has values under every choice that asks it."""
    trains = any(method != "none" for method in values(space.knobs["pruning"])) or values(space.knobs["student"]) != (
        TEACHER,
    )
    for name in KNOBS:
        if name in TRAINING and not trains:
            continue
        parent, wanted = space.needs.get(name, ("", frozenset()))
        if parent and parent not in space.knobs:
            continue
        reachable = not parent or bool(set(values(space.knobs[parent])) & wanted)
        if reachable and name in REQUIRED and name not in space.knobs:
            why = f"some {parent} in the space needs it" if parent else "every trained student needs it"
            raise ConfigError(f"space.{name} is missing: {why}")
        knob = space.knobs.get(name)
        if reachable and isinstance(knob, Per):
            _check_cases(space, name, knob)


def _check_cases(space: Space, name: str, knob: Per) -> None:
    parent, wanted = space.needs.get(name, ("", frozenset()))
    for case in map(str, values(space.knobs[knob.parent])):
        applies = parent != knob.parent or case in wanted
        if applies and case not in knob.cases:
            raise ConfigError(f"space.{name} has no values for {knob.parent} {case!r}: add space.{name}.{case}=...")


def parse_knob(path: str, raw: Any) -> Choice | Range:
    """scalar = fixed, list = choice, {low, high[, log][, step]} = range. `path` is the knob's name, or name.case."""
    if isinstance(raw, Mapping):
        return _parse_range(path, raw)
    given = list(raw) if isinstance(raw, (list, tuple)) else [raw]
    if not given:
        raise ConfigError(f"space.{path}=[] is empty: give at least one value, such as space.{path}=VALUE")
    return Choice(tuple(dict.fromkeys(_check(path, value) for value in given)))


def _parse_range(path: str, raw: Mapping[str, Any]) -> Range:
    name = path.partition(".")[0]
    for key in raw:
        if key not in ("low", "high", "log", "step"):
            raise ConfigError(f"space.{path}: unknown key {key!r}. {suggestion(key, ['low', 'high', 'log', 'step'])}")
    if name in NAMES or name == "nesterov" or "low" not in raw or "high" not in raw:
        raise ConfigError(
            f"space.{path}={dict(raw)}: write a value, a list of values, or for a number {{low: A, high: B}}"
        )
    low, high = float(_check(path, raw["low"])), float(_check(path, raw["high"]))
    log, step = raw.get("log") or False, raw.get("step")
    if low > high:
        raise ConfigError(f"space.{path}: low={raw['low']} is above high={raw['high']}: swap them")
    if not isinstance(log, bool):
        raise ConfigError(f"space.{path}.log={log!r}: true or false is allowed")
    if log and (step is not None or low <= 0):
        raise ConfigError(f"space.{path}: log needs low > 0 and no step (low={low}, step={step})")
    if step is not None and (
        isinstance(step, bool) or not isinstance(step, (int, float)) or not 0 < step <= max(high - low, 1e-12)
    ):
        raise ConfigError(f"space.{path}.step={step!r}: a number > 0 and at most high - low is allowed")
    if step is not None and name in WHOLE and step != int(step):
        raise ConfigError(f"space.{path}.step={step!r}: a whole number is allowed")
    if step is not None:
        high = low + step * math.floor((high - low) / step + 1e-9)  # the last value that the steps reach
    return Range(low, high, log=log, step=step, whole=name in WHOLE)


def _check(path: str, value: Any) -> Value:
    """The value, if it is of the right kind and within the knob's limits."""
    name = path.partition(".")[0]
    low, high, rule = KNOBS[name]
    if name in NAMES:
        good = isinstance(value, str) and value != ""
    elif name == "nesterov":
        good = isinstance(value, bool)
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        good = number and low <= value <= high and (name not in WHOLE or value == int(value))
    if not good:
        raise ConfigError(f"space.{path}={value!r} is not allowed: {rule}")
    return int(value) if name in WHOLE else value  # type: ignore[no-any-return]
