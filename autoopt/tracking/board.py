"""Pages that MLflow's UI opens on: which runs and columns, in which order, and which charts.

MLflow keeps what its button "Share view" shares as a tag of the experiment, as JSON; an address names it by its key.
Its default instead is a table of no metrics and a chart for each of them. What is left out here is as MLflow has it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from autoopt.core.kpi import Kpi
from autoopt.core.metric import QUALITIES
from autoopt.core.trial import COMPLETE, FAILED
from autoopt.tracking.runs import IDENTITY, STUDY

TAG = "mlflow.sharedViewState."
NAME, TRIAL, STUDY_NAME, COLUMN = "attributes.`Run Name`", 430, 160, 105
PARAMS = ("student", "pruning", "quantization")
PLACE, END = ("autoopt.rank", "autoopt.pareto"), ("autoopt.owner", "autoopt.champion", "autoopt.stopped_by")
SECTION = "autoopt"
MOST_RUNS, MOST_SCATTERS = 1000, 4
FACETS = {
    "orderByKey": "metrics.`kpi_score`",
    "orderByAsc": "false",
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": "W10=",
}
"""Where an address has a filter it must have the others, too: without them the page stays empty. The last is '[]'."""


def pages(identity: str, kpis: tuple[Kpi, ...]) -> dict[str, tuple[str, str]]:
    """Key and state of the two views: `trials` of the study, and `studies` of its experiment beside each other."""
    trials, studies = _trials(identity, kpis), _studies(kpis)
    shape = hashlib.sha256(studies.encode()).hexdigest()[:12]  # the same for all studies of the same KPIs
    return {"trials": (f"autoopt-{identity[:12]}", trials), "studies": (f"autoopt-studies-{shape}", studies)}


def page(experiment_id: str, key: str) -> str:
    """MLflow 3's UI opens on traces of language models unless the address says otherwise."""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={key}"


def filtered(experiment_id: str, identity: str) -> dict[str, str]:
    """Addresses of a study's runs in the columns that the reader has chosen: the `front`, and what `failed`."""
    wanted = {"front": ("autoopt.pareto", "true"), "failed": ("autoopt.state", FAILED)}
    return {
        name: f"#/experiments/{experiment_id}/runs?"
        + urlencode({"workflowType": "machine_learning", "searchFilter": _of_study(identity, tag, value), **FACETS})
        for name, (tag, value) in wanted.items()
    }


def _of_study(identity: str, tag: str, value: str) -> str:
    return f"tags.`{IDENTITY}` = '{identity}' and tags.`{tag}` = '{value}'"


def _trials(identity: str, kpis: tuple[Kpi, ...]) -> str:
    """The complete ones, the best kpi_score first."""
    columns = [*map(_metric, _scores(kpis)), *map(_tag, PLACE), "params.`quantization`"]
    return _state(_of_study(identity, "autoopt.state", COMPLETE), columns, TRIAL, _charts(kpis))


def _studies(kpis: tuple[Kpi, ...]) -> str:
    metrics = [*_scores(kpis), "hypervolume", "trials", "feasible"]
    charts = [_on_metric("LINE", "hypervolume"), _on_metric("LINE", "feasible"), _on_metric("BAR", "kpi_score")]
    return _state(f"tags.`{STUDY}` != ''", [*map(_metric, metrics), *map(_tag, END)], STUDY_NAME, charts)


def _scores(kpis: tuple[Kpi, ...]) -> list[str]:
    return ["kpi_score", *map(_axis, kpis)]


def _charts(kpis: tuple[Kpi, ...]) -> list[dict[str, Any]]:
    """Quality over each other KPI, the choices against what they gave, and the learning curves."""
    upward = next((kpi.name for kpi in kpis if kpi.name in QUALITIES), "kpi_score")
    across = [_axis(kpi) for kpi in kpis if kpi.of_structure][:MOST_SCATTERS] or ["seconds_total"]
    objectives = [_axis(kpi) for kpi in kpis if kpi.objective]
    return [
        *(_chart("SCATTER", xaxis=_by(x), yaxis=_by(upward), runsCountToCompare=MOST_RUNS) for x in across),
        _chart("PARALLEL", selectedParams=list(PARAMS), selectedMetrics=[*objectives, "kpi_score"], showAllRuns=True),
        _on_metric("LINE", "epoch_quality"),
    ]


def _axis(kpi: Kpi) -> str:
    """Ratios to the baseline compare across machines."""
    return f"{kpi.name}_ratio" if kpi.of_structure else kpi.name


def _state(query: str, columns: list[str], width: int, charts: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(
        {
            "searchFilter": query,
            "orderByKey": _metric("kpi_score"),
            "orderByAsc": False,
            "selectedColumns": columns,
            "columnOrder": [NAME, *columns],
            "columnWidths": {NAME: width, **dict.fromkeys(columns, COLUMN)},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunSections": [_section()],
            "compareRunCharts": [{"uuid": f"{SECTION}-{i}", **chart} for i, chart in enumerate(charts)],
        }
    )


def _section() -> dict[str, Any]:
    flags = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": SECTION, "name": SECTION, "columns": 2, "cardHeight": 420, **flags}


def _chart(kind: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, "metricSectionId": SECTION, "deleted": False, "isGenerated": False, **options}


def _on_metric(kind: str, metric: str) -> dict[str, Any]:
    return _chart(kind, metricKey=metric, displayName=metric, runsCountToCompare=MOST_RUNS)


def _by(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _tag(name: str) -> str:
    return f"tags.`{name}`"
