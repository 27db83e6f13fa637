"""task=digits: scikit-learn's 8x8 digits, the smoke task of the tests and of doctor."""

import numpy as np
import torch
from torch import nn

from autoopt.tasks.resnet import resnet
from autoopt.tasks.task import Task, single


def digits() -> Task:
    """8x8 grey images of handwritten digits, 10 classes: 1,197 train, 300 validation, 300 test, stratified."""
    from sklearn.datasets import load_digits  # here, since it costs a second that other tasks need not pay
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = (bunch.images[:, None] / 16.0).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    rest, test = train_test_split(np.arange(len(labels)), test_size=300, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=300, stratify=labels[rest], random_state=0)
    splits = [single(torch.from_numpy(images[i]), torch.from_numpy(labels[i])) for i in (train, validation, test)]
    return Task(
        name="digits",
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        classes=10,
        build_teacher=_teacher,
        students=("cnn", "mlp"),
        input_meaning="float32 (batch, 1, 8, 8): grey levels 0 to 16 divided by 16",
        data_source="UCI Optical Recognition of Handwritten Digits, the copy in scikit-learn (CC BY 4.0)",
    )


def _teacher() -> nn.Module:
    return resnet(classes=10, widths=(64, 128, 256))
