"""autoopt compare through the real command line, on studies of the lookup table."""

import json
from pathlib import Path

import optuna
import pytest

from autoopt.cli import main
from autoopt.compose import compose_config
from autoopt.search.budget import Budget
from autoopt.search.loop import run_search
from autoopt.search.storage import open_storage
from autoopt.search.study import CONFIGURATION
from tests.search.table import begin, look_up, make_search

SPECS = {"accuracy": {"objective": True, "max_drop": 0.05}, "latency_p95_ms": {"objective": True, "max_ratio": 0.5}}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of the lookup table, and one whose configuration says another task."""
    outputs = tmp_path_factory.mktemp("compare") / "outputs"
    raw = {**compose_config(["task=digits"]), "kpis": SPECS}
    for name, trials in {"short": 5, "long": 12, "other": 5}.items():
        run_search(make_search(begin(outputs / name), evaluate=look_up, budget=Budget(trials=trials)))
        storage = open_storage(outputs / name)
        study = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)
        task = {**raw["task"], "name": "toy"} if name == "other" else raw["task"]
        study.set_user_attr(CONFIGURATION, {**raw, "task": task})
    return outputs


@pytest.mark.parametrize("typed", ["study=short,long", "study=[short,long]", "study=short, long"])
def test_two_studies_are_put_side_by_side(outputs: Path, capsys: pytest.CaptureFixture[str], typed: str) -> None:
    assert main(["compare", typed, f"outputs={outputs}"]) == 0
    out = capsys.readouterr().out
    document = json.loads(out.splitlines()[-1])
    assert document["comparable"]
    assert document["cautions"] == []
    assert [one["study"] for one in document["studies"]] == ["short", "long"]
    assert document["studies"][0]["trials"] < document["studies"][1]["trials"]
    assert document["page"] == str(outputs / "compare-short-long.html")
    assert "hypervolume" in out
    assert (outputs / "compare-short-long.html").read_text().startswith("<!doctype html>")


def test_three_of_two_tasks_say_what_cannot_be_compared(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "study=short,long,other", f"outputs={outputs}"]) == 0
    out = capsys.readouterr().out
    document = json.loads(out.splitlines()[-1])
    assert not document["comparable"]
    assert "other is of toy" in document["cautions"][0]
    assert {one["hypervolume"] for one in document["studies"]} == {None}


def test_an_unknown_study_is_named_with_the_nearest(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(outputs.iterdir())
    assert main(["compare", "study=short,lonk", f"outputs={outputs}"]) == 2
    said = capsys.readouterr().err
    assert said == f"autoopt: no study 'lonk' in {outputs}. Did you mean 'long'? Known: long, other, short\n"
    assert sorted(outputs.iterdir()) == before
