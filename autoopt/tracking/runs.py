"""The runs of a study, as MLflow has them at this moment."""

from mlflow import MlflowClient
from mlflow.entities import Run

STUDY, IDENTITY, TRIAL, PARENT = "autoopt.study", "autoopt.study_id", "autoopt.trial", "mlflow.parentRunId"


def find_runs(client: MlflowClient, experiment_id: str, identity: str) -> tuple[list[Run], dict[int, list[Run]]]:
    """The parents of a study and, by trial, its children. The first of several is the one to keep: a call whose answer
    was lost may have made a run, and so there are two.

    Children carry the study's id themselves, for a parent may be deleted without them.
    """
    runs = _search(client, experiment_id, f"tags.`{IDENTITY}` = '{identity}'")
    runs = list({run.info.run_id: run for run in runs}.values())  # what is written meanwhile may shift the pages
    parents = sorted((run for run in runs if TRIAL not in run.data.tags), key=_age)
    children: dict[int, list[Run]] = {}
    for run in sorted(runs, key=_whole_and_old):
        if TRIAL in run.data.tags:
            children.setdefault(int(run.data.tags[TRIAL]), []).append(run)
    return parents, children


def is_whole(run: Run) -> bool:
    """Whether a trial's run was written to its end: its status is written last."""
    return bool(run.info.status != "RUNNING")


def _whole_and_old(run: Run) -> tuple[bool, int, str]:
    return (not is_whole(run), *_age(run))


def _age(run: Run) -> tuple[int, str]:
    return run.info.start_time, run.info.run_id


def _search(client: MlflowClient, experiment_id: str, query: str) -> list[Run]:
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], query, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
