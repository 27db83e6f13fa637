"""The view of a study that MLflow's UI opens on: which columns, in which order, and which charts.

MLflow keeps what its button "Share view" shares as a tag of the experiment, as JSON; an address names it by its key.
Its default instead is a chart for each metric and a table of none. What is left out here is as MLflow has it.
"""

import json
from collections.abc import Mapping
from typing import Any

from autoopt.core.kpi import Kpi
from autoopt.core.metric import QUALITIES
from autoopt.tracking.runs import IDENTITY

TAG = "mlflow.sharedViewState."
PARAMS = ("student", "pruning", "quantization")
TAGS = ("autoopt.rank", "autoopt.pareto", "autoopt.feasible")
SECTION = "autoopt"
MOST_RUNS = 1000


def board_key(identity: str) -> str:
    return f"autoopt-{identity[:12]}"


def board(identity: str, kpis: tuple[Kpi, ...]) -> str:
    """The value of the tag: the study's complete trials, the best kpi_score first."""
    metrics = ["kpi_score", *(name for kpi in kpis for name in _columns(kpi))]
    columns = [*map(_metric, metrics), *(f"tags.`{tag}`" for tag in TAGS), *(f"params.`{name}`" for name in PARAMS)]
    state = {
        "searchFilter": f"tags.`{IDENTITY}` = '{identity}' and tags.`autoopt.state` = 'complete'",
        "orderByKey": _metric("kpi_score"),
        "orderByAsc": False,
        "selectedColumns": columns,
        "runsHiddenMode": "SHOWALL",
        "compareRunSections": [_section()],
        "compareRunCharts": [{"uuid": f"{SECTION}-{i}", **chart} for i, chart in enumerate(_charts(kpis))],
    }
    return json.dumps(state)


def _columns(kpi: Kpi) -> list[str]:
    return [kpi.name, f"{kpi.name}_ratio"] if kpi.of_structure else [kpi.name]


def _charts(kpis: tuple[Kpi, ...]) -> list[Mapping[str, Any]]:
    """The objectives against each other, the choices against what they gave, the score, the learning curves."""
    axes = [_axis(kpi) for kpi in kpis if kpi.objective]
    across = "seconds_total" if len(axes) == 1 else next((a for a in axes if a.endswith("_ratio")), axes[1])
    upward = next(a for a in axes if a != across)
    return [
        _chart("SCATTER", xaxis=_on(across), yaxis=_on(upward), runsCountToCompare=MOST_RUNS),
        _chart("PARALLEL", selectedParams=list(PARAMS), selectedMetrics=[*axes, "kpi_score"], showAllRuns=True),
        _chart("BAR", metricKey="kpi_score", displayName="kpi_score", runsCountToCompare=20),
        _chart("LINE", metricKey="epoch_quality", displayName="epoch_quality", runsCountToCompare=20),
    ]


def _axis(kpi: Kpi) -> str:
    return f"{kpi.name}_ratio" if kpi.of_structure and kpi.name not in QUALITIES else kpi.name


def _chart(kind: str, **options: Any) -> Mapping[str, Any]:
    return {"type": kind, "metricSectionId": SECTION, "deleted": False, "isGenerated": False, **options}


def _section() -> dict[str, Any]:
    flags = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": SECTION, "name": "What matters", **flags}


def _on(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def _metric(name: str) -> str:
    return f"metrics.`{name}`"
