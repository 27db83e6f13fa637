"""What a search loses to kills, outages, full disks and damaged files: python -m experiments.chaos.run [PART ...]

Each part takes 5 to 30 minutes on two cores; their figures are added to results.json. Parts: see PARTS.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from autoopt.tracking.store import default_uri
from tests.chaos.damage import damage_files
from tests.chaos.killing import kill_table
from tests.chaos.outage import fill_disk, interrupt_mlflow
from tests.chaos.real import kill_real

HERE = Path(__file__).parent
PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "table_killed": lambda folder: kill_table(folder / "table", 200, uri=default_uri(folder)),
    "digits_killed": lambda folder: kill_real("digits", folder / "outputs", 10, 16),
    "fashion_killed": lambda folder: kill_real("fashion", folder / "outputs", 3, 8),
    "mlflow_interrupted": lambda folder: interrupt_mlflow(folder / "table", 10),
    "disk_filled": lambda folder: fill_disk(folder / "disk", 5),
    "files_damaged": lambda folder: damage_files(folder, most=30),
}


def main(names: list[str]) -> None:
    for name in names or PARTS:
        began = time.monotonic()
        found = PARTS[name](Path(mkdtemp()))
        if "seconds_to_resume" in found:
            found["seconds_to_resume"] = spread(found["seconds_to_resume"])
        found["minutes"] = round((time.monotonic() - began) / 60, 1)
        file = HERE / "results.json"
        results = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps({**results, name: found}, indent=2) + "\n")
        print(name, json.dumps(found), flush=True)


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"median": round(ordered[len(ordered) // 2], 2), "longest": round(ordered[-1], 2)}


if __name__ == "__main__":
    main(sys.argv[1:])
