"""autoopt sync through the real command line, on a study of the lookup table."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from autoopt.cli import main
from autoopt.compose import compose_config
from autoopt.search.storage import open_storage
from autoopt.search.study import CONFIGURATION, IDENTITY, load_study
from autoopt.tracking.target import writer_lock
from tests.search.table import KPIS
from tests.tracking.stores import children, client_of, content, copy_store, parent, prepare, search_table

SPECS = {
    "accuracy": {"objective": True, "max_drop": 0.05},
    "latency_p95_ms": {"objective": True, "max_ratio": 0.5},
}
TRIALS = 5


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def outputs(prepared: Path, tmp_path: Path) -> Path:
    """With a study that MLflow has not seen, of the experiment `toy`."""
    outputs = copy_store(prepared, tmp_path / "outputs")
    assert len(search_table(outputs / "table", trials=TRIALS)) == TRIALS
    save(outputs)
    return outputs


def save(outputs: Path, uri: str | None = None, study: str = "table") -> None:
    raw = {**compose_config(["task=digits"]), "kpis": SPECS, "tracking": {"name": "mlflow", "uri": uri}}
    raw["task"] = {**raw["task"], "name": "toy"}
    (outputs / study / "config.yaml").write_text(yaml.safe_dump(raw))
    storage = open_storage(outputs / study)
    name = optuna.get_all_study_names(storage)[0]
    optuna.load_study(study_name=name, storage=storage).set_user_attr(CONFIGURATION, raw)


def identity(outputs: Path, study: str = "table") -> str:
    return str(load_study(outputs / study, study).user_attrs[IDENTITY])


def sync(outputs: Path, *words: str) -> int:
    study = [] if any(word.startswith("study=") for word in words) else ["study=table"]
    return main(["sync", f"outputs={outputs}", *study, *words])


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    out = capsys.readouterr().out
    return json.loads(out.splitlines()[-1]), out


def test_it_writes_what_is_missing_then_nothing(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [kpi.name for kpi in KPIS] == list(SPECS)
    assert sync(outputs) == 0
    document, out = last_line(capsys)
    assert document == {"study": "table", "trials": 5, "written": 5, "removed": 0, "complete": True}
    assert out.startswith("MLflow has all 5 trials of study table (5 written now)\nreview: mlflow ui")
    first = content(outputs, identity(outputs))
    assert first["parent"]["files"] == ["config.yaml", "front.png", "leaderboard.md", "report.html"]
    assert first["parent"]["status"] == "FINISHED"
    assert first["parent"]["tags"]["autoopt.stopped_by"] == "trials"
    client_of(outputs).delete_run(children(outputs, identity(outputs))[2].info.run_id)
    assert sync(outputs) == 0
    assert last_line(capsys)[0]["written"] == 1
    assert content(outputs, identity(outputs)) == first


def test_rebuild_equals_a_first_writing(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync(outputs) == 0
    before, runs = content(outputs, identity(outputs)), children(outputs, identity(outputs))
    assert sync(outputs, "--rebuild") == 0
    document, out = last_line(capsys)
    assert (document["written"], document["removed"]) == (5, 6)
    assert "(5 written now, 6 runs removed)" in out
    assert content(outputs, identity(outputs)) == before
    assert not {run.info.run_id for run in runs.values()} & {
        run.info.run_id for run in children(outputs, identity(outputs)).values()
    }


def test_studies_of_one_name_do_not_mix(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two folders, one of which was renamed: their databases know them by the same name."""
    search_table(outputs / "other", trials=3)
    save(outputs, study="other")
    for study in ("table", "other"):
        assert sync(outputs, f"study={study}") == 0
    assert sync(outputs, "study=other", "--rebuild") == 0
    assert len(children(outputs, identity(outputs))) == 5
    assert len(children(outputs, identity(outputs, "other"))) == 3
    assert parent(outputs, identity(outputs, "other")).info.run_name == "other"


def test_an_mlflow_out_of_reach_is_one_line_and_exit_code_1(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync(outputs, "tracking.uri=http://me:secret@127.0.0.1:9") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("autoopt: MLflow did not take all of study 'table', which keeps everything (")
    assert captured.err.count("\n") == 1
    assert "secret" not in captured.err
    assert json.loads(captured.out)["complete"] is False


def test_it_goes_where_the_search_wrote(outputs: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = copy_store(prepared, outputs / "elsewhere")
    save(outputs, uri=f"sqlite:///{elsewhere / 'mlflow.db'}")
    assert sync(outputs) == 0
    assert len(children(elsewhere, identity(outputs))) == 5


def test_a_password_that_was_not_saved_is_asked_for(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(outputs, uri="http://me:***@host:5000")
    assert sync(outputs) == 2
    assert "was saved without its password: type tracking.uri=" in capsys.readouterr().err
    assert sync(outputs, f"tracking.uri=sqlite:///{outputs / 'mlflow.db'}") == 0


def test_while_the_search_writes_it_says_so(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writer_lock(outputs / "table"):
        assert sync(outputs) == 2
    err = capsys.readouterr().err
    assert err.startswith("autoopt: study 'table' is being searched, or synced: that process itself writes")
    assert err.count("\n") == 1


def test_rebuild_is_no_option_of_other_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--rebuild"]) == 2
    assert "--rebuild belongs to sync" in capsys.readouterr().err
