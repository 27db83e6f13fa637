"""Does the exported file still say what the PyTorch module says?"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from autoopt.core.errors import TrialError
from autoopt.core.inputs import Inputs

TOLERANCE = 1e-3  # absolute, in logits: float32 in another order of summation; measured exports stay below 1e-5


def check_parity(model: nn.Module, session: Callable[[Inputs], np.ndarray], inputs: Inputs) -> dict[str, float]:
    """Compare logits on n >= 2 real inputs. Returns parity_max_abs and parity_argmax (share, in [0, 1]).

    Raises TrialError where the difference is beyond TOLERANCE (relative to the largest logit, if that is above 1).
    """
    model.eval()
    with torch.no_grad():
        expected = model(*inputs).numpy()
    actual = session(inputs.numpy())
    if actual.shape != expected.shape:
        raise TrialError(f"the exported model returns shape {actual.shape}, the module {expected.shape}")
    difference = float(np.abs(actual - expected).max())
    agreement = float((actual.argmax(1) == expected.argmax(1)).mean())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise TrialError(
            f"the exported model differs from the module: max abs {difference:.2g}, same class on {agreement:.1%}"
        )
    return {"parity_max_abs": difference, "parity_argmax": agreement}
