"""Space and runtimes of a configuration against the tables: which names there are, which knob is asked under which."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import lookup
from autoopt.core.packages import need
from autoopt.core.recipe import TEACHER
from autoopt.core.space import Choice, Per, Space, values
from autoopt.core.space_parsing import check_complete, parse_space
from autoopt.pruning import METHODS
from autoopt.quantization import CALIBRATIONS, GRAPH_OPTIMIZATIONS, KEEP_FLOAT, OPERATORS, SCHEMES
from autoopt.runtimes import RUNTIMES
from autoopt.students import STUDENTS
from autoopt.training.optimizers import OPTIMIZERS
from autoopt.training.schedules import SCHEDULES


def read_space(raw: Mapping[str, Any], *, own_students: bool) -> Space:
    """Check a space, and every name in it. Raises ConfigError. `own_students`: the task may bring students of its own
    along, whose names are not known yet, and which have a width.
    """
    if "runtime" in raw:
        raise ConfigError(f"space.runtime={raw['runtime']}: a key of its own: type 'runtime=[onnxruntime,openvino]'")
    named = raw.get("student") or ()
    own = {str(name) for name in ([named] if isinstance(named, str) else named)} - set(STUDENTS)
    own = own if own_students else set()
    space = parse_space(raw, needs(own))
    tables: dict[str, Mapping[str, Any]] = {
        "student": {**STUDENTS, **dict.fromkeys(own)},
        "pruning": METHODS,
        "vocabulary": dict.fromkeys(("cut", "full")),
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "quantization": SCHEMES,
        "calibration": CALIBRATIONS,
        "operators": dict.fromkeys(OPERATORS),
        "keep_float": dict.fromkeys(KEEP_FLOAT),
        "graph_optimization": GRAPH_OPTIMIZATIONS,
    }
    for name, table in tables.items():
        for value in values(space.knobs[name]) if name in space.knobs else ():
            lookup(table, str(value), f"{name} in space.{name}")
    for scheme in map(str, values(space.knobs["quantization"])):
        needed = SCHEMES[scheme].needs
        if needed:
            need(*needed, f"space.quantization={scheme}")
    for name, knob in space.knobs.items():
        if isinstance(knob, Per):
            for student in knob.own:
                lookup(tables["student"], student, f"student in space.{name}")
            for case in (case for cases in (knob.cases, *knob.own.values()) for case in cases):
                lookup(tables[knob.parent], case, f"{knob.parent} in space.{name}")
    check_complete(space)
    _check_depth(space)
    _check_float(space)
    return space


def _check_float(space: Space) -> None:
    """Layers stay in float by their place or by their damage: of both at once nobody could say what was searched."""
    by_place, by_damage = (space.knobs.get(name) for name in ("keep_float", "float_layers"))
    if by_place and by_damage and values(by_place) != ("none",) and values(by_damage) != (0,):
        raise ConfigError(
            "space.keep_float and space.float_layers both say which layers stay in float: "
            "type space.keep_float=none, or space.float_layers=0"
        )


def read_runtimes(given: Any) -> tuple[str, ...]:
    """One name, or a list of them, the first for the baseline. Raises ConfigError."""
    names = tuple(dict.fromkeys(map(str, given))) if isinstance(given, list) else (str(given),)
    if not names:
        raise ConfigError("runtime.name=[]: name one at least, such as runtime=onnxruntime")
    for name in names:
        lookup(RUNTIMES, name, "runtime")
        need(name, name, f"runtime={name}")
    return names


def with_runtimes(space: Space, names: Sequence[str]) -> Space:
    """Several runtimes are a knob, one is not."""
    return Space({**space.knobs, "runtime": Choice(tuple(names))}, space.needs) if len(names) > 1 else space


def _check_depth(space: Space) -> None:
    """Only the teacher has layers that go one by one: under another student the method would remove nothing."""
    for student in map(str, values(space.knobs["student"])):
        pruning = space.knobs["pruning"]
        methods = values(pruning, student) if isinstance(pruning, Per) else values(pruning)
        if student != TEACHER and "depth" in methods:
            raise ConfigError(
                f"space.pruning=depth removes nothing from student {student!r}: type space.pruning.{student}=none"
            )
    if "depth" in values(space.knobs["pruning"]) and "layers" not in space.knobs:
        raise ConfigError("space.pruning=depth keeps as many layers as space.layers says: type space.layers=[1,2]")


def needs(own: Collection[str] = ()) -> dict[str, tuple[str, frozenset[str]]]:
    """Which knob is asked under which choices of its parent: gathered from the rows of the tables."""
    tables: dict[str, Mapping[str, Any]] = {
        "student": STUDENTS,
        "pruning": METHODS,
        "optimizer": OPTIMIZERS,
        "quantization": SCHEMES,
    }
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for parent, table in tables.items():
        for name in {knob for row in table.values() for knob in row.knobs}:
            found[name] = (parent, frozenset(choice for choice, row in table.items() if name in row.knobs))
    found["width"] = ("student", found["width"][1] | frozenset(own))
    return found
