"""No quantization: float32 as exported."""

import shutil
from pathlib import Path
from typing import Any

from autoopt.quantization.calibration import Plan


def none(source: Path, target: Path, plan: Plan) -> dict[str, Any]:
    """A copy."""
    shutil.copyfile(source, target)
    return {"bits": 32}
