"""Does a sampler lose by looking at the front and the last trials alone? TPE over the recorded trials of fashion.

    python -m experiments.scaling.window [SEEDS] [TRIALS]      # 8, 120

Far fewer are seen, of far fewer, than the default of 1,000: one that sees 50 of some 400 rows stands for one that sees
1,000 of 8,000. Writes window.json.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "samplers"))

import run as samplers  # noqa: E402  experiments/samplers, which is run as a script

WINDOWS = {"all": 1_000_000, "100": 100, "50": 50}


def main(seeds: int, trials: int) -> None:
    table = samplers.load()
    found: dict[str, Any] = {}
    for name, most in WINDOWS.items():
        samplers.SAMPLERS[name] = ("tpe", {"most_trials": most})
        found[name] = []
    samplers.SAMPLERS["random"] = ("random", {})
    found["random"] = []
    for seed in range(seeds):
        for name, volumes in found.items():
            volumes.append(round(samplers.search(name, seed, trials, table)[-1], 6))
    paired = {
        name: [mine - whole for mine, whole in zip(volumes, found["all"], strict=True)]
        for name, volumes in found.items()
        if name != "all"
    }
    told = {
        "trials": trials,
        "hypervolume": found,
        "mean": {name: round(statistics.mean(volumes), 6) for name, volumes in found.items()},
        "against_all": {
            name: {
                "mean": round(statistics.mean(gaps), 6),
                "standard_error": round(statistics.stdev(gaps) / len(gaps) ** 0.5, 6),
            }
            for name, gaps in paired.items()
        },
    }
    (HERE / "window.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps({key: told[key] for key in ("mean", "against_all")}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8, int(sys.argv[2]) if len(sys.argv) > 2 else 120)
