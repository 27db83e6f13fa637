import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from autoopt.training.distillation import distillation_loss


def logits(seed: int) -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_it_agrees_with_numpy(temperature: float, weight: float) -> None:
    student, teacher = logits(0), logits(1)
    p = softmax(teacher.numpy() / temperature, axis=1)
    log_p, log_q = (log_softmax(x.numpy() / temperature, axis=1) for x in (teacher, student))
    kl = (p * (log_p - log_q)).sum(1).mean() * temperature**2
    ce = -log_softmax(student.numpy(), axis=1)[np.arange(6), LABELS.numpy()].mean()
    loss = distillation_loss(student, teacher, LABELS, temperature=temperature, weight=weight)
    assert loss.item() == pytest.approx(weight * kl + (1 - weight) * ce, rel=1e-5)


def test_weight_zero_is_labels_only() -> None:
    loss = distillation_loss(logits(0), logits(1), LABELS, temperature=2.0, weight=0.0)
    assert loss.item() == pytest.approx(F.cross_entropy(logits(0), LABELS).item())


def test_a_student_that_equals_its_teacher_has_no_loss_left() -> None:
    assert distillation_loss(logits(0), logits(0), LABELS, temperature=3.0, weight=1.0).item() == pytest.approx(
        0, abs=1e-6
    )
