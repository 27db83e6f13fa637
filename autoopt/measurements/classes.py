"""Quality of a classifier beyond its accuracy. Arrays: outputs (n, classes), targets (n,) of class ids."""

import numpy as np

BINS = 15


def recalls(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of each class (classes,), the share of its rows that are found; NaN of one without rows."""
    right = outputs.argmax(1) == targets
    rows = np.bincount(targets, minlength=outputs.shape[1])
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = np.bincount(targets, weights=right, minlength=outputs.shape[1]) / rows
    return shares


def agreement(mine: np.ndarray, base: np.ndarray) -> float:
    """The share of rows on which both answer the same class."""
    return float((mine.argmax(1) == base.argmax(1)).mean())


def calibration_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    """How far confidence is from accuracy, on average over BINS bins of it (Guo et al. 2017, arXiv:1706.04599)."""
    sure = probabilities(outputs).max(1)
    right = outputs.argmax(1) == targets
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(places, weights=right - sure, minlength=BINS)
    return float(np.abs(gaps).sum() / len(targets))


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """The softmax of logits; probabilities, which models that PyTorch did not make often give, as they are."""
    if (outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-3):
        return outputs
    shifted = np.exp(outputs - outputs.max(1, keepdims=True))
    softmax: np.ndarray = shifted / shifted.sum(1, keepdims=True)
    return softmax
