"""No quantization: float32 as exported."""

import shutil
from pathlib import Path
from typing import Any

from autoopt.quantization.calibration import Calibration


def none(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
    """A copy."""
    shutil.copyfile(source, target)
    return {"bits": 32}
