"""Does a sampler lose by looking at the front and the last trials alone? TPE over the recorded trials of fashion.

    python -m experiments.scaling.window 120 0 8 all,100,50,random
    python -m experiments.scaling.window 300 0 6 all,250          # trials, from which seed to which, arms

An arm is how many trials TPE sees. Of 250 on it takes as many for good ones as of all: 25. Adds to window.json.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "samplers"))

import run as samplers  # noqa: E402  experiments/samplers, which is run as a script


def main(trials: int, first: int, last: int, arms: list[str]) -> None:
    table, path = samplers.load(), HERE / "window.json"
    for arm in arms:
        most = 1_000_000 if arm == "all" else 0 if arm == "random" else int(arm)
        samplers.SAMPLERS[arm] = ("tpe", {"most_trials": most}) if most else ("random", {})
    for seed in range(first, last):
        for arm in arms:
            volume = round(samplers.search(arm, seed, trials, table)[-1], 6)
            results = json.loads(path.read_text()) if path.is_file() else {}
            found = results.setdefault(str(trials), {}).setdefault("hypervolume", {})
            found.setdefault(arm, {})[str(seed)] = volume
            results[str(trials)] |= summary(found)
            path.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({key: value for key, value in results[str(trials)].items() if key != "hypervolume"}))


def summary(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means, and the differences to all seed by seed with their standard error."""
    whole, against = found.get("all", {}), {}
    for arm, volumes in found.items():
        gaps = [volume - whole[seed] for seed, volume in volumes.items() if seed in whole]
        if arm != "all" and len(gaps) > 1:
            error = statistics.stdev(gaps) / len(gaps) ** 0.5
            against[arm] = {"mean": round(statistics.mean(gaps), 6), "standard_error": round(error, 6)}
    return {"mean": {arm: round(statistics.mean(v.values()), 6) for arm, v in found.items()}, "against_all": against}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4].split(","))  # type: ignore[misc]
