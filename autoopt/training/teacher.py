"""The teacher: loaded where its weights exist, else trained once and cached."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from autoopt.artifacts.cache import Cache
from autoopt.core.artifact import CARD
from autoopt.core.errors import ConfigError, Interrupted, TrialError, one_line
from autoopt.core.recipe import Recipe
from autoopt.pruning import Pruned
from autoopt.tasks import Task
from autoopt.training.lessons import Lessons
from autoopt.training.loop import Fine, Hooks, module_quality, train
from autoopt.training.place import CPU, Place, place_of

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class TeacherOptions:
    """`checkpoint` (safetensors) wins over the weights that ship with the task; without both it is trained."""

    checkpoint: Path | None = None
    model: str | None = None
    """Of a task of text: the folder or hub name of the pretrained encoder."""
    epochs: int = 0
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 0.01
    schedule: str = "cosine"
    head_factor: float = 1.0
    """Multiplies the learning rate of the last layer, which has no pretrained weights."""
    label_smoothing: float = 0.0
    """In [0, 1)."""
    clip: float | None = None
    """The largest norm of the gradient, None: any."""


def load_teacher(
    task: Task, options: TeacherOptions, cache: Cache, seed: int, hooks: Hooks, device: str = CPU
) -> nn.Module:
    """The task's teacher in eval mode; our loop, where it trains it, does so on the device. Raises ConfigError where
    weights do not fit, or nothing says how to get any.
    """
    weights = options.checkpoint or task.weights
    if weights is None and not needs_training(task, options) and task.trained:
        return task.build_teacher().eval()
    weights = weights or _made(task, options, cache, seed, hooks, device)
    model = task.build_teacher()
    try:
        state = {
            name: value.float() if value.is_floating_point() else value for name, value in load_file(weights).items()
        }
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"teacher.checkpoint={weights} does not hold the weights of task {task.name}'s teacher, as a .safetensors "
            f"file of its architecture would: {one_line(error, 300)}: type teacher.checkpoint=FILE.safetensors"
        ) from error
    return model.eval()


def needs_training(task: Task, options: TeacherOptions) -> bool:
    """Where no weights are given, nor a trained module: then the first search trains the teacher."""
    weights = options.checkpoint or task.weights
    return weights is None and (not task.trained or task.fit is not None or options.epochs > 0)


def check_options(task: Task, options: TeacherOptions) -> None:
    """Whether a teacher that needs training can be. Raises ConfigError."""
    if not needs_training(task, options):
        return
    if options.epochs < 1 and task.fit is None:
        raise ConfigError(
            f"task {task.name} ships no teacher: type teacher.checkpoint=FILE.safetensors, or teacher.epochs=N"
        )
    if options.epochs > 0 and task.fit is not None:
        raise ConfigError(
            f"teacher.epochs={options.epochs}: task {task.name} brings a fit of its own: teacher.epochs=0"
        )


def module_fingerprint(model: nn.Module) -> str:
    """sha256 over names and values of all weights (of an ONNX file: over the file), 16 hex digits."""
    digest = hashlib.sha256(getattr(model, "onnx_content", b""))
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:16]


def _made(task: Task, options: TeacherOptions, cache: Cache, seed: int, hooks: Hooks, device: str) -> Path:
    """Path of the trained teacher's weights, with a card beside it that says how good it is and how it was made."""
    check_options(task, options)
    torch.manual_seed(seed)
    model = task.build_teacher()
    source = task.fit.source if task.fit else {**asdict(options), "checkpoint": None, "from": module_fingerprint(model)}
    how = {"by": source, "seed": seed, "data": task.fingerprint, "architecture": repr(model)}
    name = f"{task.name}-{hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]}"

    def write(fresh: Path) -> None:
        curve: list[float] = []
        trained_on: dict[str, str] = {}
        if task.fit:
            try:
                task.fit.run(model)
            except Exception as error:  # it is the user's, and may raise anything
                reason = f"{type(error).__name__}: {one_line(error, 300)}"
                raise ConfigError(f"the fit of task {task.name} raised {reason}") from error
        else:
            at = place_of(device)
            curve = _train(model, task, options, seed, hooks, at)
            trained_on = at.facts
        state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}  # unshared
        save_file(state, fresh / WEIGHTS)
        quality = module_quality(model.eval(), task.validation, task.goal)
        card = {**how, **trained_on, "curve": curve, f"validation_{task.goal.metric.name}": quality}
        (fresh / CARD).write_text(json.dumps(card, indent=2) + "\n")

    def wait() -> None:
        if hooks.should_stop():
            raise Interrupted("stopped while another host trains the teacher")

    return cache.folder(f"teachers/{name}", write, wait) / WEIGHTS


def _train(model: nn.Module, task: Task, options: TeacherOptions, seed: int, hooks: Hooks, at: Place) -> list[float]:
    """By our own loop, without anybody to imitate."""
    recipe = Recipe(
        student="teacher",
        pruning="none",
        quantization="none",
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        warmup=0.1,
        schedule=options.schedule,
        distill_weight=0.0,
    )
    fine = Fine(options.label_smoothing, options.clip, options.head_factor)
    lessons = Lessons(task.train, torch.zeros(len(task.train), task.classes), task.goal)
    try:
        return train(Pruned(model), lessons, task.validation, recipe, seed=seed, hooks=hooks, fine=fine, at=at)
    except TrialError as error:
        less = f"{options.learning_rate / 10:g}"
        raise ConfigError(f"the teacher cannot be trained: {error}: type teacher.learning_rate={less}") from error
