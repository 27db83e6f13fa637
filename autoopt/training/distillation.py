"""The distillation loss."""

from torch import Tensor
from torch.nn import functional as F

from autoopt.tasks.goal import CLASSES, REGRESSION, Goal


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    weight: float,
    label_smoothing: float = 0.0,
    goal: Goal = CLASSES,
) -> Tensor:
    """The teacher's outputs blended with the labels.

    Outputs are (batch, classes), unnormalised; labels (batch,) class ids or (batch, k) numbers. weight in [0, 1]: 0 is
    labels only, 1 is teacher only. Classes: soft-target KL under temperature > 0, which divides both logits, and
    cross-entropy with label_smoothing in [0, 1) (Hinton et al. 2015, arXiv:1503.02531). Numbers: the mean squared error
    to each. Returns a scalar, averaged over the batch.
    """
    if weight == 0:
        return _hard(student_logits, labels, label_smoothing, goal)
    soft = _soft(student_logits, teacher_logits, temperature, goal)
    return soft if weight == 1 else weight * soft + (1 - weight) * _hard(student_logits, labels, label_smoothing, goal)


def _hard(outputs: Tensor, labels: Tensor, label_smoothing: float, goal: Goal) -> Tensor:
    if goal.loss is not None:
        return goal.loss(outputs, labels)
    if goal.kind == REGRESSION:
        return F.mse_loss(outputs, labels.reshape(outputs.shape))
    return F.cross_entropy(outputs, labels, label_smoothing=label_smoothing)


def _soft(outputs: Tensor, teacher: Tensor, temperature: float, goal: Goal) -> Tensor:
    if goal.kind == REGRESSION:
        return F.mse_loss(outputs, teacher)
    divergence = F.kl_div(
        F.log_softmax(outputs / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    # The KL gradient shrinks as 1/T^2; scaling by T^2 keeps the blend comparable across trials.
    return divergence * temperature**2
