"""A pretrained teacher for images: any classifier of Hugging Face transformers, with a head for the task's classes."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoopt.core.errors import ConfigError, one_line
from autoopt.tasks.hub import need_transformers, pretrained_folder, quiet_transformers

FILES = ("config.json", "*.safetensors", "preprocessor_config.json")


class Classifier(nn.Module):
    """Images (n, 1 or 3, h, w) in [0, 1] to logits (n, classes): it normalises as the pretrained model expects."""

    def __init__(self, model: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model = model
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=(images - self.mean) / self.std).logits  # grey is made three channels
        return logits


def vision_folder(model: str) -> Path:
    """Raises ConfigError."""
    need_transformers("vision")
    return pretrained_folder(model, FILES)


def build_classifier(folder: Path, classes: int, size: int) -> nn.Module:
    """The pretrained model with a fresh head, for images of `size` x `size`. Raises ConfigError."""
    import transformers  # seconds to import: here, since other tasks need not pay

    quiet_transformers()
    how: dict[str, Any] = {"num_labels": classes, "ignore_mismatched_sizes": True, "dtype": torch.float32}
    try:
        model = transformers.AutoModelForImageClassification.from_pretrained(folder, **how)
    except (OSError, ValueError) as error:
        reason = one_line(error, 200)
        raise ConfigError(
            f"teacher.model={folder} is no image classifier that transformers can load: {reason}"
        ) from error
    wanted = getattr(model.config, "image_size", size)
    if wanted not in (size, [size, size]):
        raise ConfigError(f"task.size={size}: teacher.model={folder} takes images of {wanted}: type task.size={wanted}")
    return Classifier(model, *_normalisation(folder))


def _normalisation(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""
    file = folder / "preprocessor_config.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    return found.get("image_mean", [0.5] * 3), found.get("image_std", [0.5] * 3)
