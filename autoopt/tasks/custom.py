"""task=custom: the user's own model and data."""

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autoopt.core.errors import ConfigError, TrialError, one_line
from autoopt.core.inputs import Inputs
from autoopt.tasks.factory import call
from autoopt.tasks.reading import in_order_of, read_split
from autoopt.tasks.task import Fit, Split, Task
from autoopt.tasks.user import UserTask, check_fields, goal_of


def custom(factory: str | None = None) -> Task:
    """`factory`: 'module:function', importable from the current directory. Raises ConfigError."""
    torch.manual_seed(0)  # a model with random weights begins with the same ones in each process
    user = call("task.factory", factory)
    if not isinstance(user, UserTask):
        raise ConfigError(f"task.factory={factory} returns {type(user).__name__}: it must return an autoopt.Task")
    return from_user(user)


def from_user(user: UserTask) -> Task:
    """Raises ConfigError, naming what is wrong."""
    check_fields(user)
    goal = goal_of(user)
    train, validation, test = (
        read_split(name, data, user.model, goal, user.collate)
        for name, data in (("train", user.train), ("validation", user.validation), ("test", user.test))
    )
    if not len(train):
        raise ConfigError("the train split is empty")
    validation, test = (in_order_of(train, name, split) for name, split in (("validation", validation), ("test", test)))
    validation, test = (
        _sliced(name, split, user.slices) for name, split in (("validation", validation), ("test", test))
    )
    model = _adapted(user.model, train.inputs)
    outputs = _outputs(model, train.inputs).shape[1]
    return Task(
        name=user.name,
        train=train,
        validation=validation,
        test=test,
        classes=outputs,
        build_teacher=lambda: copy.deepcopy(model),
        students=(*user.students, *_fitting_students(train.inputs)),
        own_students={name: _student(build, train.inputs, outputs) for name, build in user.students.items()},
        input_meaning=user.input_meaning,
        data_source=user.data_source,
        goal=goal,
        fit=Fit(_fitting(user.fit), _source(user.fit)) if user.fit else None,
        trained=user.fit is None,
    )


def _sliced(name: str, split: Split, slices: Mapping[str, Sequence[Any]]) -> Split:
    if not slices:
        return split
    if name not in slices or len(slices[name]) != len(split):
        given = f"{len(slices[name])} entries" if name in slices else f"nothing for {name}, but {', '.join(slices)}"
        raise ConfigError(f"Task(slices=...) has {given}: one for each of the {len(split)} rows of {name} is needed")
    return replace(split, slices=tuple(map(str, slices[name])))


def _fitting_students(inputs: Inputs) -> tuple[str, ...]:
    """Of ours, those that take one array of numbers: of any shape, or images of 8x8 and more."""
    first = next(iter(inputs))
    if len(inputs.arrays) > 1 or not first.is_floating_point():
        return ()
    return ("mlp", "cnn") if first.ndim == 4 and min(first.shape[2:]) >= 8 else ("mlp",)


class Adapted(nn.Module):
    """A module that takes a dict, or keywords, or returns more than a tensor, called with the arrays in their order."""

    def __init__(self, module: nn.Module, names: tuple[str, ...], call: str) -> None:
        super().__init__()
        self.module, self.names, self.call = module, names, call

    def forward(self, *arrays: Tensor) -> Tensor:
        named = dict(zip(self.names, arrays, strict=True))
        if self.call == "dict":
            found = self.module(named)
        else:
            found = self.module(**named) if self.call == "keywords" else self.module(*arrays)
        return plain(found)


def plain(found: Any) -> Tensor:
    """The outputs (n, k) in what a module returns: itself, `.logits`, or the first of several; of (n,), as (n, 1)."""
    if hasattr(found, "logits"):
        found = found.logits
    elif isinstance(found, Mapping):
        found = next(iter(found.values()))
    elif isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise TypeError(f"it returns no tensor, but {type(found).__name__}")
    outputs: Tensor = found.unsqueeze(1) if found.ndim == 1 else found
    return outputs


def _adapted(model: nn.Module, inputs: Inputs) -> nn.Module:
    """The module itself where it takes the arrays and returns a tensor, else wrapped."""
    errors, example, names = {}, inputs[:2], tuple(inputs.arrays)
    was, _ = model.training, model.eval()
    try:
        for call in _ways(model, names):
            wrapped = Adapted(model, names, call)
            try:
                with torch.no_grad():
                    found = model(*example) if call == "arrays" else wrapped(*example)
                if call == "arrays" and isinstance(found, Tensor) and found.ndim != 1:
                    return model
                plain(found)
                return wrapped
            except Exception as error:  # a module raises whatever it likes
                errors[call] = f"{type(error).__name__}: {one_line(error, 200)}"
    finally:
        model.train(was)
    shapes = {name: tuple(array.shape) for name, array in example.arrays.items()}
    reasons = "; ".join(f"as {call}: {reason}" for call, reason in errors.items())
    raise ConfigError(f"the model does not take the train split's inputs {shapes}, or gives no outputs ({reasons})")


def _ways(model: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """How to call the module, likeliest first. By position only in the order that it names itself: another order may
    pass, and feed the mask as the ids.
    """
    if names == ("input",):
        return ("arrays",)
    in_order = names == tuple(inspect.signature(model.forward).parameters)[: len(names)]
    return ("arrays", "keywords", "dict") if in_order else ("keywords", "dict", "arrays")


def _outputs(model: nn.Module, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = copy.deepcopy(model).eval()(*inputs[:2])
    if outputs.ndim != 2 or len(outputs) != len(inputs[:2]):
        raise ConfigError(
            f"the model gives outputs of shape {tuple(outputs.shape)} for {len(inputs[:2])} rows: "
            "(rows, classes), or (rows, numbers) of a regression, is allowed"
        )
    return outputs


def _student(build: Callable[[float], nn.Module], inputs: Inputs, outputs: int) -> Callable[[float], nn.Module]:
    def built(width: float) -> nn.Module:
        found = _adapted(copy.deepcopy(build(width)), inputs)  # a copy, should it be one model each time
        given = _outputs(found, inputs).shape[1]
        if given != outputs:
            raise TrialError(f"it gives {given} outputs, and the model {outputs}")
        return found

    return built


def _fitting(fit: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    def fitted(model: nn.Module) -> None:
        fit(model.module if isinstance(model, Adapted) else model)

    return fitted


def _source(function: Callable[..., Any]) -> str:
    """A fingerprint of the text of a function's module: another one may train another teacher."""
    text = function.__qualname__
    for source in (inspect.getmodule(function), function):  # a notebook's cells have no module's text
        try:
            text += inspect.getsource(source)  # type: ignore[arg-type]
            break
        except (OSError, TypeError):
            continue
    return hashlib.sha256(text.encode()).hexdigest()[:16]
