"""task=fashion: a fixed subset of Fashion-MNIST and its teacher, both shipped inside the package."""

import io
import lzma
from pathlib import Path

import numpy as np
import torch

from autoopt.tasks.resnet import resnet
from autoopt.tasks.task import Split, Task, single

DATA = Path(__file__).parent / "fashion_data"


def fashion() -> Task:
    """28x28 grey images of clothes, 10 classes: 8,000 train, 3,000 validation, 4,000 test
    (experiments/fashion_data/build.py).
    """
    with np.load(io.BytesIO(lzma.decompress((DATA / "images.npz.xz").read_bytes()))) as arrays:
        train, validation, test = (
            _split(arrays[f"{n}_images"], arrays[f"{n}_labels"]) for n in ("train", "validation", "test")
        )
    return Task(
        name="fashion",
        train=train,
        validation=validation,
        test=test,
        classes=10,
        build_teacher=resnet,
        students=("cnn", "mlp"),
        input_meaning="float32 (batch, 1, 28, 28): grey pixels divided by 255",
        data_source="a subset of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), (c) 2017 Zalando SE, MIT licence",
        weights=DATA / "teacher.safetensors",
    )


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return single(
        torch.from_numpy(images[:, None].astype(np.float32) / 255.0), torch.from_numpy(labels.astype(np.int64))
    )
