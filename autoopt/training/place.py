"""Where modules are trained: on the CPU, or on an NVIDIA GPU by way of CUDA."""

import copy
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autoopt.core.errors import ConfigError, TrialError, one_line
from autoopt.tasks.goal import Goal

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
CHECKED_STEPS = 50
"""Of a GPU, whose losses are read so many at once: each reading waits until it has caught up."""
MIXED_DEVICES = ("same device", "can't convert cuda", "on cpu", "is on cpu", "cuda tensor")


@dataclass(frozen=True)
class Place:
    device: torch.device
    mixed: torch.dtype | None = None
    """What the products of training are computed in; None: float32, as the rest is."""

    @property
    def is_cpu(self) -> bool:
        return self.device.type == CPU

    @property
    def checked_steps(self) -> int:
        """So many losses are read at once."""
        return 1 if self.is_cpu else CHECKED_STEPS

    @property
    def facts(self) -> dict[str, str]:
        """For a record: nothing of the CPU."""
        return {} if self.is_cpu else {"trained_on": torch.cuda.get_device_name(self.device)}

    def in_float32(self) -> "Place":
        return replace(self, mixed=None)

    def outputs(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """In training, as float32: the loss is never computed in less."""
        if self.mixed is None:
            return model(*inputs)  # type: ignore[no-any-return]
        with torch.autocast(self.device.type, self.mixed):
            found: Tensor = model(*inputs)
        return found.float()

    def scaler(self) -> torch.amp.GradScaler:
        """Of gradients that float16 would round to zero; bfloat16 has the range of float32."""
        return torch.amp.GradScaler(self.device.type, enabled=self.mixed == torch.float16)

    def goal(self, goal: Goal) -> Goal:
        """With the weights of a loss that has some, such as those of its classes, on the device."""
        if self.is_cpu or not isinstance(goal.loss, nn.Module):
            return goal
        return replace(goal, loss=copy.deepcopy(goal.loss).to(self.device))

    @contextmanager
    def holding(self, model: nn.Module) -> Iterator[None]:
        """The model is there within the block, and on the CPU again after it, however it ends."""
        if self.is_cpu:
            yield
            return
        try:
            with _told(self.device), _deterministic():
                model.to(self.device)
                yield
        finally:
            model.to(CPU)
            torch.cuda.empty_cache()  # other workers, and what measures on the same GPU, may need it


HERE = Place(torch.device(CPU))


def place_of(asked: str) -> Place:
    """auto, cpu, cuda or cuda:N. Raises ConfigError where that is not there."""
    there = gpus()
    if asked == CPU or (asked == AUTO and not there):
        return HERE
    number = int(asked.partition(":")[2] or 0)
    if not there:
        raise ConfigError(
            f"device={asked}: torch {torch.__version__} sees no CUDA GPU on this machine: type device=cpu, or install "
            "the build of torch for CUDA (pytorch.org)"
        )
    if number >= there:
        known = "cuda:0 alone" if there == 1 else f"cuda:0 to cuda:{there - 1}"
        raise ConfigError(f"device={asked}: this machine has {known}: type device=cuda:0")
    # Read when cuBLAS is first used: its products are the same each time with a workspace of fixed size only.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return Place(torch.device(CUDA, number), _mixed(number))


def gpus() -> int:
    """That torch could use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _mixed(number: int) -> torch.dtype:
    with torch.cuda.device(number):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@contextmanager
def _told(device: torch.device) -> Iterator[None]:
    """A user's module, or loss, may make tensors on the CPU whatever the device of its inputs."""
    try:
        yield
    except (RuntimeError, TypeError) as error:
        text = one_line(error, 300)
        if any(words in text.lower() for words in MIXED_DEVICES):
            raise TrialError(
                f"a part of the model or of its loss stays on the CPU ({text}): type device=cpu"
            ) from error
        raise


@contextmanager
def _deterministic() -> Iterator[None]:
    """The same numbers under a seed, on one model of GPU and one torch. Operators of which CUDA has no such kernel, as
    torch.use_deterministic_algorithms lists them, are left as they are: the backward pass of adaptive pooling and
    interpolation, for example.
    """
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    fills: Any = torch.utils.deterministic
    benchmark, filling = torch.backends.cudnn.benchmark, fills.fill_uninitialized_memory
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*deterministic")
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.backends.cudnn.benchmark = False
            fills.fill_uninitialized_memory = False  # which nobody reads
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark
        fills.fill_uninitialized_memory = filling
