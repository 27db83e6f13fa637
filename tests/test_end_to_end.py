"""The main job on real data through the real command line, with a real MLflow store."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import optuna
import pytest
from mlflow import MlflowClient

from autoopt.champion.exam import EXAM
from autoopt.core import artifact
from autoopt.tasks import TASKS
from autoopt.tracking.store import default_uri

BOUNDS = ["kpis.accuracy.max_drop=0.05", "kpis.latency_p95_ms.max_ratio=0.8"]  # met on any CPU
EXAM_RULES = ["exam.rule=point"]  # 300 rows do not tell a point from none
QUICK = ["runtime.blocks=5", "runtime.calls=20", "runtime.attempts=1", "exam.batch_sizes=[8]", "exam.clients=[2]"]
COMMON = ["task=digits", "study=e2e", "teacher.epochs=4", *QUICK, *EXAM_RULES, *BOUNDS]
BUDGET = 7


def run(cwd: Path, *words: str, code: int = 0) -> tuple[dict[str, Any], str, str]:
    """Run autoopt; returns the JSON document of the last line, the whole stdout, and stderr."""
    command = [sys.executable, "-m", "autoopt", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr[-3000:]
    return (json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}), done.stdout, done.stderr


def trial_lines(cwd: Path) -> list[str]:
    """Of search.log, one a trial."""
    log = cwd / "outputs" / "e2e" / "search.log"
    return re.findall(r"searching: trial +\d+  .*", log.read_text()) if log.is_file() else []


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str, str]:
    cwd = tmp_path_factory.mktemp("work")
    return cwd, *run(cwd, "search", *COMMON, f"budget.trials={BUDGET}")


def test_the_document_tells_how_it_went(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd, document, _, _ = searched
    assert document["study"] == "e2e"
    assert document["stopped_by"] == "trials"
    assert document["trials"] - document["siblings"] - document["failed"] == BUDGET
    assert document["siblings"] > 0
    assert sum(document["seconds_by_stage"].values()) >= 0.97 * document["seconds"]
    assert document["trials"] == document["complete"] + document["screened"] + document["failed"]
    assert document["feasible"] >= 1
    assert 0 < document["seconds_to_first_feasible"] < document["seconds"]
    assert document["hypervolume"] >= 0
    assert document["nearest_miss"] is None
    assert document["outputs"] == str(cwd / "outputs")


def test_the_champion_meets_every_bound(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    champion = searched[1]["champion"]
    assert champion["ratios"]["latency_p95_ms"] <= 0.8
    assert champion["ratios"]["size_mb"] <= 0.25
    assert champion["kpi_score"] >= 0


def test_plain_onnxruntime_reproduces_the_card_exactly(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    folder = Path(searched[1]["champion"]["path"])
    card = json.loads((folder / "card.json").read_text())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    task = TASKS["digits"]()
    for split, expected in (
        (task.validation, card["measurements"]["accuracy"]["value"]),
        (task.test, card["test"]["value"]),
    ):
        inputs, targets = next(iter(split.inputs.numpy())), split.targets.numpy()
        predicted = [session.run(None, {"input": inputs[i : i + 1]})[0].argmax() for i in range(len(inputs))]
        assert np.mean(predicted == targets) == expected
    assert artifact.verify(folder) == card
    assert card["measurements"]["size_mb"]["value"] == (folder / "model.onnx").stat().st_size / 1e6
    assert card["data"]["test"] == 300
    assert card["facts"]["parity_argmax"] == 1.0


def test_the_table_is_for_people_and_progress_is_on_stderr(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd, document, out, err = searched
    assert "baseline" in out
    assert "champion" in out
    assert f"Trial {document['champion']['trial']} is the champion" in " ".join(out.split())
    assert len(err.splitlines()) == 2, "a line a minute, and less than a minute it took"
    assert len(trial_lines(cwd)) == document["trials"]
    assert "Traceback" not in err
    assert "Warning" not in err


def test_mlflow_shows_the_study(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd, document, _, _ = searched
    client = MlflowClient(default_uri(cwd / "outputs"))
    experiment = client.get_experiment_by_name("digits")
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if run.data.tags.get("autoopt.study") == "e2e")
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == document["trials"] == len(runs) - 1
    assert "is the champion" in parent.data.tags["mlflow.note.content"]
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert files == {"report.html", "front.png", "config.yaml", "leaderboard.md"}
    siblings = [run for run in children if "autoopt.sibling_of" in run.data.tags]
    assert len(siblings) == document["siblings"]
    champion = next(run for run in children if run.data.tags["autoopt.rank"] == "1")
    assert champion.data.tags["autoopt.trial"] == str(document["champion"]["trial"])
    assert champion.data.metrics["accuracy"] == document["champion"]["measurements"]["accuracy"]


def test_artifacts_are_kept_while_the_disk_has_room(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd, document, _, _ = searched
    folder = cwd / "outputs" / "e2e"
    kept = {path.name for path in (folder / "trials").iterdir()}
    assert f"{document['champion']['trial']:04d}" in kept
    assert len(kept) == document["complete"]
    for name in kept:
        artifact.verify(folder / "trials" / name)
    artifact.verify(folder / "baseline")
    assert not (folder / "work").exists()


def test_report_says_the_same(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd, document, _, _ = searched
    (cwd / "outputs" / "e2e" / "report.html").unlink()
    again, out, _ = run(cwd, "report", "study=e2e")
    assert again == document
    assert "champion" in out
    assert (cwd / "outputs" / "e2e" / "report.html").stat().st_size > 10_000


def test_another_kpi_set_is_refused_and_named(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd = searched[0]
    _, _, err = run(cwd, "search", *COMMON, "kpis.size_mb.max_ratio=0.2", code=2)
    assert err == (
        "autoopt: study 'e2e' was begun with kpis.size_mb.max_ratio=0.25, not 0.2: "
        "type study=NAME for a new one, or go back\n"
    )


@pytest.mark.slow
def test_the_same_command_again_goes_on(searched: tuple[Path, dict[str, Any], str, str]) -> None:
    cwd, before, _, _ = searched
    after, _, _ = run(cwd, "search", *COMMON, "budget.trials=2", "tracking=none", "limits.disk_gb=0")
    assert after["trials"] - after["siblings"] - after["failed"] == BUDGET + 2
    assert after["seconds"] > before["seconds"]
    assert set(kept_exams(cwd)) >= {str(before["champion"]["trial"]), str(after["champion"]["trial"])}
    kept = {int(path.name) for path in (cwd / "outputs" / "e2e" / "trials").iterdir()}
    assert after["champion"]["trial"] in kept
    assert len(kept) < after["feasible"], "there is no room for those off the front"


@pytest.mark.slow
def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autoopt", "search", *COMMON, "budget.trials=500", "tracking=none"]
    log = tmp_path / "err"
    with log.open("w") as err:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=err, text=True)
        wait_for(lambda: len(trial_lines(tmp_path)) >= 6)
        during, _, _ = run(tmp_path, "report", "study=e2e")
        os.kill(process.pid, signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    document = json.loads(out.splitlines()[-1])
    assert document["stopped_by"] == "interrupt"
    assert document["champion"] is None or artifact.verify(Path(document["champion"]["path"]))
    assert document["trials"] >= during["trials"] >= 6
    assert during["stopped_by"] is None
    assert "stopping in order" in log.read_text()
    assert (tmp_path / "outputs" / "e2e" / "report.html").is_file()
    assert not (tmp_path / "outputs" / "mlflow.db").exists(), "tracking=none writes no store"


@pytest.mark.slow
def test_a_study_without_a_feasible_trial_ends_with_the_nearest_miss(tmp_path: Path) -> None:
    words = ["search", "task=digits", "space=quantize_only", "study=none", "teacher.epochs=4", "tracking=none"]
    document, out, _ = run(tmp_path, *words, "kpis.size_mb.max_ratio=0.001", "budget.trials=4")
    assert document["champion"] is None
    assert document["feasible"] == 0
    assert "size_mb" in document["nearest_miss"]["blocking"]
    assert "Nearest miss" in " ".join(out.split())
    assert not (tmp_path / "outputs" / "none" / "champion").exists()


@pytest.mark.slow
def test_an_mlflow_that_is_down_stops_nothing_and_its_password_stays_secret(tmp_path: Path) -> None:
    words = ["search", *COMMON, "space=quantize_only", "budget.trials=3", "tracking.uri=http://me:hunter2@127.0.0.1:9"]
    document, out, err = run(tmp_path, *words)
    assert document["complete"] == 3
    assert "MLflow is not reachable, the study keeps everything" in err
    assert f"warning: MLflow lacks {document['trials']} trials: type autoopt sync study=e2e when it is back" in out
    assert "hunter2" not in out + err
    files = [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []
    assert "uri: http://me:***@127.0.0.1:9" in (tmp_path / "outputs" / "e2e" / "config.yaml").read_text()
    document, _, _ = run(tmp_path, "sync", "study=e2e", f"tracking.uri={default_uri(tmp_path / 'outputs')}")
    assert document["written"] == document["trials"] >= 3


def kept_exams(cwd: Path) -> dict[str, Any]:
    """Every final exam that was taken, by trial number."""
    study = optuna.load_study(study_name="e2e", storage=f"sqlite:///{cwd / 'outputs' / 'e2e' / 'study.db'}")
    return {key.rpartition("_")[2]: value for key, value in study.user_attrs.items() if key.startswith(EXAM)}


@pytest.mark.slow
def test_a_signal_while_the_teacher_trains_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autoopt", "search", "task=digits", "teacher.epochs=5000", "tracking=none"]
    log = tmp_path / "err"
    with log.open("w") as err:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=err, text=True)
        wait_for(lambda: "study digits-s0" in log.read_text())
        time.sleep(3)
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "stopped before the search began" in log.read_text()


@pytest.mark.slow
def test_a_teacher_that_does_not_fit_spoils_nothing(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"not weights")
    words = ["search", *COMMON, "space=quantize_only", "tracking=none", "budget.trials=2"]
    _, _, err = run(tmp_path, *words, f"teacher.checkpoint={wrong}", code=2)
    assert "does not hold the weights of task digits's teacher" in err
    document, _, _ = run(tmp_path, *words)
    assert document["complete"] == 2


@pytest.mark.slow
def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    words = ["search", *COMMON, "tracking=none", "budget.trials=7", "search.siblings=false"]
    log = tmp_path / "err"
    with log.open("w") as err:
        process = subprocess.Popen([sys.executable, "-m", "autoopt", *words], cwd=tmp_path, stderr=err)
        wait_for(lambda: len(trial_lines(tmp_path)) >= 4)
        process.kill()
        process.wait()
    before, _, _ = run(tmp_path, "report", "study=e2e")
    after, _, _ = run(tmp_path, *words)
    assert before["stopped_by"] is None
    assert before["trials"] >= 4
    assert after["complete"] + after["screened"] == 7, "the budget goes on where it was cut short"
    assert after["stopped_by"] == "trials"


def wait_for(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


@pytest.mark.slow
def test_the_runtime_may_be_searched(tmp_path: Path) -> None:
    words = ["search", *COMMON, "space=quantize_only", "runtime=[onnxruntime,openvino]", "tracking=none"]
    document, out, _ = run(
        tmp_path,
        *words,
        "space.quantization=[int8_static,nncf_int8,none]",
        "kpis.size_mb.objective=true",  # else none may beat the baseline where int8 is slower
        "kpis.size_mb.max_ratio=1.01",
        "kpis.latency_p95_ms.max_ratio=9",
        "budget.plateau=50",
    )
    folder = tmp_path / "outputs" / "e2e"
    study = optuna.load_study(study_name="e2e", storage=f"sqlite:///{folder / 'study.db'}")
    recipes = [trial.user_attrs["autoopt"]["recipe"] for trial in study.trials if "autoopt" in trial.user_attrs]
    schemes = {(recipe["runtime"], recipe["quantization"]) for recipe in recipes}
    assert schemes == {(r, q) for r in ("onnxruntime", "openvino") for q in ("int8_static", "nncf_int8", "none")}
    assert document["failed"] == 0
    assert "· openvino" in out or "· onnxruntime" in out
    for kept in (folder / "trials").iterdir():
        card = json.loads((kept / "card.json").read_text())
        assert card["measured_on"]["runtime"] == card["recipe"]["runtime"]
        assert card["measured_on"]["baseline_runtime"] == "onnxruntime"
