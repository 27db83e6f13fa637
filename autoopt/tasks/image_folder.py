"""task=image_folder: images in one folder a class, as torchvision's ImageFolder reads them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autoopt.core.errors import ConfigError
from autoopt.tasks.checks import row_digests
from autoopt.tasks.held_out import hold_out
from autoopt.tasks.resnet import resnet
from autoopt.tasks.task import Split, Task, labels_file, single
from autoopt.tasks.vision import build_classifier, vision_folder

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"}


def image_folder(path: str | None = None, size: int = 64, grey: bool = False, pretrained: str | None = None) -> Task:
    """`path` holds train/CLASS/*.png, test/CLASS/*.png and, or else a tenth of train serves, validation/CLASS/*.png.

    Images are cut to squares and resized to `size` x `size` pixels. The teacher is a ResNet of 1.2 million weights, or
    `pretrained`: a classifier of Hugging Face transformers, in a folder or on the hub. Raises ConfigError.
    """
    root = _root(path)
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 1024:
        raise ConfigError(f"task.size={size}: a whole number from 8 to 1024 is allowed")
    classes = _classes(root / "train")
    train, test = (_read(root / name, classes, size, grey) for name in ("train", "test"))
    empty = [name for i, name in enumerate(classes) if not bool((train.targets == i).any())]
    if empty:
        raise ConfigError(f"{root / 'train'} has no images of {', '.join(empty[:5])}: add some, or remove the folder")
    if (root / "validation").is_dir():
        validation = _read(root / "validation", classes, size, grey)
    else:
        parts = hold_out(train.targets.numpy(), row_digests(train.inputs), "put images into validation/CLASS")
        train, validation = (Split(train.inputs[rows], train.targets[rows]) for rows in map(torch.from_numpy, parts))
    channels = 1 if grey else 3
    build: Callable[[], nn.Module] = partial(resnet, len(classes), channels=channels)
    if pretrained is not None:
        build = partial(build_classifier, vision_folder(pretrained), len(classes), size)
    return Task(
        name="image_folder",
        train=train,
        validation=validation,
        test=test,
        classes=len(classes),
        build_teacher=build,
        students=("cnn", "mlp"),
        input_meaning=f"float32 (batch, {channels}, {size}, {size}): {'grey' if grey else 'RGB'} pixels / 255",
        data_source=str(root),
        files=labels_file(classes),
    )


def _root(path: str | None) -> Path:
    root = Path(str(path))
    missing = [name for name in ("train", "test") if not (root / name).is_dir()]
    if path is None or missing:
        raise ConfigError(
            f"task.path={path}: a folder with {' and '.join(missing or ['train', 'test'])}/CLASS/IMAGE is needed"
        )
    return root


def _classes(train: Path) -> list[str]:
    classes = sorted(folder.name for folder in train.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if len(classes) < 2:
        raise ConfigError(f"{train} has {len(classes)} folders of classes: two or more are needed")
    return classes


def _read(folder: Path, classes: list[str], size: int, grey: bool) -> Split:
    there = (found.name for found in folder.iterdir() if found.is_dir() and not found.name.startswith("."))
    strange = sorted(name for name in there if name not in classes)
    if strange:
        raise ConfigError(f"{folder} has classes that train lacks: {', '.join(strange[:5])}")
    images, targets = [], []
    for target, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in ENDINGS:
                images.append(_pixels(path, size, grey))
                targets.append(target)
    if not images:
        raise ConfigError(f"{folder} has no images ({', '.join(sorted(ENDINGS))})")
    return single(torch.from_numpy(np.stack(images)), torch.tensor(targets))


def _eight_bits(image: Any) -> Any:
    """Of 16 bits a pixel, the upper ones: Pillow's own conversion makes all that is above 255 white."""
    from PIL import Image

    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _pixels(path: Path, size: int, grey: bool) -> np.ndarray:
    """(channels, size, size), in [0, 1]: the middle square."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            shown = _eight_bits(image) if image.mode.startswith("I") else image
            square = ImageOps.fit(shown.convert("L" if grey else "RGB"), (size, size), Image.Resampling.BILINEAR)
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError(f"{path} is no image that can be read: remove it, or repair it ({error})") from error
    pixels = np.asarray(square, np.float32) / 255
    return pixels[None] if grey else pixels.transpose(2, 0, 1).copy()
