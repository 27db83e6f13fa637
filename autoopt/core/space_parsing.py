"""From a space as people write it to a Space, and everything that can be wrong about it.

scalar = fixed, list = choice, {low, high[, log][, step]} = range, {CHOICE: ...} = by another knob's choice; where that
is not the student, {STUDENT: {CHOICE: ...}} among them = that student's own.
"""

import math
from collections.abc import Mapping
from typing import Any

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import suggestion
from autoopt.core.space import (
    KNOBS,
    NAMES,
    TRAINING,
    WHOLE,
    Choice,
    Per,
    Range,
    Space,
    Value,
    reachable,
    trains,
    values,
)

# By whose choice a knob may be given, as {CHOICE: knob, ...}.
PARENTS = {**dict.fromkeys(KNOBS, "student"), "learning_rate": "optimizer"}
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
        "qat_epochs",
        "calibration",
    }
)


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
    if name == "student" or not _is_cases(raw):
        return parse_knob(name, raw)
    own = {case: inner for case, inner in raw.items() if PARENTS[name] != "student" and _is_cases(inner)}
    return Per(
        PARENTS[name],
        _parse_cases(name, {case: inner for case, inner in raw.items() if case not in own}),
        {str(student): _parse_cases(f"{name}.{student}", cases) for student, cases in own.items()},
    )


def _is_cases(raw: Any) -> bool:
    return isinstance(raw, Mapping) and not {"low", "high"} & set(raw)


def _parse_cases(path: str, raw: Mapping[str, Any]) -> dict[str, Choice | Range]:
    if not raw:
        raise ConfigError(f"space.{path}={{}} is empty: give it a value, a list or a range")
    return {str(case): parse_knob(f"{path}.{case}", inner) for case, inner in raw.items()}


def check_complete(space: Space) -> None:
    """Raises ConfigError unless every knob that may be asked has values under every choice that asks it."""
    for name in KNOBS:
        if name in TRAINING and not trains(space):
            continue
        parent, wanted = space.needs.get(name, ("", frozenset()))
        if parent and parent not in space.knobs:
            continue
        asked = not parent or bool(reachable(space, parent) & wanted)
        if asked and name in REQUIRED and name not in space.knobs:
            why = f"some {parent} in the space needs it" if parent else "every trained student needs it"
            raise ConfigError(f"space.{name} is missing: {why}")
        knob = space.knobs.get(name)
        if asked and isinstance(knob, Per):
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
