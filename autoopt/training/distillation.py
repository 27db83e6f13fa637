"""The distillation loss."""

from torch import Tensor
from torch.nn import functional as F


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    weight: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Soft-target KL blended with label cross-entropy (Hinton et al. 2015, arXiv:1503.02531).

    Logits are (batch, classes), unnormalised; labels (batch,) class ids. temperature > 0 divides both logits; weight in
    [0, 1]: 0 is labels only, 1 is teacher only; label_smoothing in [0, 1) is the cross-entropy's. Returns a scalar in
    nats, averaged over the batch.
    """
    if weight == 0:
        return F.cross_entropy(student_logits, labels, label_smoothing=label_smoothing)
    soft = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    # The KL gradient shrinks as 1/T^2; scaling by T^2 keeps the blend comparable across trials.
    soft = soft * temperature**2
    if weight == 1:
        return soft
    hard = F.cross_entropy(student_logits, labels, label_smoothing=label_smoothing)
    return weight * soft + (1 - weight) * hard
