"""What grows with a study, before the fixes and after: python -m experiments.scaling.ten_thousand_plot"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PANELS = (
    ("a proposal of TPE, ms", "ask", "tpe", 1.0),
    ("a proposal of GP, s", "ask", "gp", 1e-3),
    ("the loop, ms a row", "loop", "row", 1.0),
    ("what a worker asks after each epoch, ms", "loop", "epoch_of_a_worker", 1.0),
    ("report.html drawn, s", "report", "drawn_s", 1.0),
)
STYLES = {"before": {"color": "#9aa3ad", "marker": "o"}, "now": {"color": "#0062a8", "marker": "o"}}


def points(results: dict[str, Any], turn: str, part: str, key: str) -> list[tuple[int, float]]:
    found = results.get(turn, {}).get(part, {})
    return sorted((int(size), row[key]) for size, row in found.items() if row.get(key) is not None)


def main() -> None:
    results = json.loads((HERE / "ten_thousand.json").read_text())
    figure, axes = plt.subplots(1, len(PANELS), figsize=(16, 3.4), layout="constrained")
    for panel, (title, part, key, scale) in zip(axes, PANELS, strict=True):
        for turn, style in STYLES.items():
            if at := points(results, turn, part, key):
                panel.plot([size for size, _ in at], [scale * value for _, value in at], label=turn, **style)
        panel.set(title=title, xlabel="trials", xscale="log", yscale="log")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.savefig(HERE / "ten_thousand.png", dpi=110)


if __name__ == "__main__":
    main()
