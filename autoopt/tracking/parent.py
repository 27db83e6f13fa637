"""What the parent run of a study holds besides its progress: who, where, on which data, against which bounds."""

import hashlib
import json
import re
from collections.abc import Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag, Param
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NOTE, MLFLOW_USER

from autoopt.core.kpi import Kpi
from autoopt.tracking.runs import IDENTITY, STUDY
from autoopt.tracking.target import Data, Target

NOTE, NOTE_HASH, LEADERBOARD = MLFLOW_RUN_NOTE, "autoopt.note_sha256", "leaderboard.md"
NOTE_CHARS = 8000  # MLflow cuts a longer tag without a word
PICTURES = ("front.png",)


def owner_tags(target: Target) -> dict[str, str]:
    """For the parent and each child: MLflow's own column 'Created by' shows the first."""
    owner = target.origin.owner
    return {MLFLOW_USER: owner, "autoopt.owner": owner} if owner else {}


def parent_tags(target: Target) -> dict[str, str]:
    return {
        STUDY: target.study,
        IDENTITY: target.identity,
        "autoopt.task": target.task,
        **owner_tags(target),
        **target.origin.tags,
    }


def parent_params(kpis: tuple[Kpi, ...]) -> list[Param]:
    """The roles of the KPIs, which a study keeps: 'objective, max_drop=0.01'."""
    return [Param(f"kpis.{kpi.name}", ", ".join(_roles(kpi))) for kpi in kpis]


def _roles(kpi: Kpi) -> list[str]:
    objective = [] if not kpi.objective else ["objective" if kpi.weight == 1 else f"objective weight={kpi.weight:g}"]
    return [*objective, *(f"{kind}={bound:g}" for kind, bound in kpi.bounds().items())]


def data_inputs(data: Data | None) -> list[DatasetInput]:
    """MLflow keeps one of a name and a digest, so that logging it again changes nothing."""
    if data is None:
        return []
    rows = {"num_rows": sum(data.rows.values()), **{f"rows_{split}": count for split, count in data.rows.items()}}
    dataset = Dataset(
        name=data.name,
        digest=data.digest,
        source_type="autoopt",
        source=json.dumps({"source": data.source}),
        profile=json.dumps(rows),
    )
    return [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, " + ".join(data.rows))])]


def note_tags(text: str, known: dict[str, str]) -> dict[str, str]:
    """The note and the hash by which the next writer knows it for ours. {}: a person has edited it, and it stays."""
    before = known.get(NOTE, "")
    if before and known.get(NOTE_HASH) != _digest(before):
        return {}
    return {NOTE: text, NOTE_HASH: _digest(text)}


def links(experiment_id: str, parent_id: str, runs: Mapping[int, str]) -> dict[str, str]:
    """By what a note calls it: the run of a trial, '7', and a picture among the parent's artifacts."""
    at = {str(number): f"#/experiments/{experiment_id}/runs/{run_id}" for number, run_id in runs.items()}
    return at | {name: f"get-artifact?path={name}&run_uuid={parent_id}" for name in PICTURES}


def with_links(text: str, at: Mapping[str, str]) -> str:
    """Where the text says '[7]' it becomes a link: Markdown looks the name up at the end. Where the note is full,
    the last of them stay text.
    """
    wanted = dict.fromkeys(re.findall(r"\[([\w.]+)\]", text))
    lines = [f"[{name}]: {at[name]}" for name in wanted if name in at]
    room = NOTE_CHARS - len(text) - 1
    while sum(len(line) + 1 for line in lines) > room and lines:
        lines.pop()
    return "\n".join([text, *lines])[:NOTE_CHARS]


def without_links(text: str) -> str:
    """For a reader outside of MLflow: '[7]' is 7, and there is no picture."""
    return re.sub(r"(?<!\\)\[([\w.]+)\]", r"\1", re.sub(r"!\[[\w.]+\]", "", text)).rstrip() + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
