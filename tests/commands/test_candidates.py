"""What promote registers: as the study says, whatever lies in its folder and wherever that was moved."""

import getpass
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.champion.model_card import model_card
from autoopt.commands.candidates import candidate
from autoopt.commands.keeper import Keeper
from autoopt.commands.origin import ORIGIN, cpu_of, measured_there
from autoopt.commands.promote import exams_told
from autoopt.commands.reading import split_local
from autoopt.commands.searched import as_searched, task_of
from autoopt.commands.unlike import check_examiner
from autoopt.core.artifact import sha256
from autoopt.core.cpu import cpu_name
from autoopt.core.errors import ArtifactError, ConfigError
from autoopt.search.record import read_trials
from autoopt.search.study import CONFIGURATION, load_study
from tests.commands.shipping import (
    document,
    others,
    pass_exam,
    promote,
    searched_at,
)


def test_the_champion_is_what_the_study_says_and_not_what_lies_in_its_folder(searched: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    settings, study = searched_at(outputs)
    task, folder, number = task_of(settings, study), outputs / "tiny" / "champion", document(outputs)["trial"]
    own, other = (outputs / "tiny" / "trials" / f"{n:04d}" for n in (number, others(outputs)[0]))
    for lies_there in (other, None):  # as before the kill of a session whose exam made another one the best
        shutil.rmtree(folder)
        if lies_there:
            shutil.copytree(lies_there, folder)
        chosen = candidate(settings, study, task, None)
        assert chosen.trial.number == number == chosen.card["trial"] == document(outputs)["trial"]
        assert sha256(chosen.folder / "model.onnx") == sha256(own / "model.onnx") != sha256(other / "model.onnx")
    (own / "model.onnx").write_bytes(b"damaged")
    assert candidate(settings, study, task, None).trial.number == number, "the folder holds it all the same"
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    with pytest.raises(ArtifactError, match=f"type autoopt reproduce study=tiny trial={number}"):
        candidate(settings, study, task, None)
    assert document(outputs)["trial"] != number, "nothing was touched"


def test_a_study_that_was_moved_or_named_its_model_is_read_so(searched: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    study = load_study(outputs / "tiny", "tiny")
    saved = study.user_attrs[CONFIGURATION]
    gone = {**saved, "outputs": "/proc/gone/outputs", "registry": {"model": "mine"}}
    study.set_user_attr(CONFIGURATION, gone)
    settings, _ = searched_at(outputs, "trial=2")
    assert (settings.outputs, settings.folder, settings.trial) == (outputs, outputs / "tiny", 2)
    assert settings.model == "mine"
    assert searched_at(outputs, "registry.model=yours")[0].model == "yours"
    study.set_user_attr(CONFIGURATION, {key: value for key, value in saved.items() if key != "registry"})
    assert searched_at(outputs)[0].model == "digits"
    assert searched_at(outputs)[0].raw["registry"] == {"model": None}, "of a study that is older than this key"


def test_who_forces_it_may_have_no_name(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    other = others(outputs)[0]
    pass_exam(outputs, other, passed=False, broken=["accuracy.max_drop"])
    settings, study = searched_at(outputs, f"trial={other}")

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", nobody)
    chosen = candidate(settings, study, task_of(settings, study), "see http://me:secret@host")
    assert chosen.card["forced"]["by"] == "unknown"
    assert "see http://me:***@host" in model_card(chosen.card)


def test_an_exam_that_promote_took_is_in_the_report(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = tmp_path / "my outputs"
    shutil.copytree(searched, outputs)
    settings, study = searched_at(outputs)
    report, other = outputs / "tiny" / "report.html", others(outputs)[0]
    before = report.read_text()
    with exams_told(settings, study):
        pass
    assert report.read_text() == before

    def refused() -> None:
        with exams_told(replace(settings, tracker="mlflow"), study):
            pass_exam(outputs, other, passed=False, broken=["accuracy.max_drop"])
            raise ConfigError("it failed")

    with pytest.raises(ConfigError, match="it failed"):
        refused()
    assert report.read_text() != before
    assert capsys.readouterr().out == (
        f"the final exam of trial {other} is in {report}\n"
        f"MLflow has it after: autoopt sync study=tiny 'outputs={outputs}'\n"
    )


def test_a_champion_that_was_tampered_with_is_refused(searched: Path, tmp_path: Path, capsys: Any) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    (outputs / "tiny" / "champion" / "model.onnx").write_bytes(b"other weights")
    assert promote(outputs) == 1
    assert (
        "champion/model.onnx is missing or changed since it was written: it is not promoted" in capsys.readouterr().err
    )
    assert not (outputs / "mlflow.db").exists()


def test_a_card_tells_of_the_machine_that_measured(searched: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    card, study = document(outputs), load_study(outputs / "tiny", "tiny")
    assert cpu_of(study) == cpu_name()
    assert measured_there(study, card) == card
    kept = study.user_attrs[ORIGIN]
    versions = {**kept["versions"], "onnxruntime": "1.0"}
    there = {"cpu": "Some CPU, of theirs, 4 cores, 1 to serve", "architecture": "riscv64", "versions": versions}
    study.set_user_attr(ORIGIN, {**kept, **there})
    found = measured_there(study, card)
    assert found["measured_on"] == {**card["measured_on"], "cpu": "Some CPU, of theirs", "machine": "riscv64"}
    assert found["versions"] == {**card["versions"], "onnxruntime": "1.0"}
    study.set_user_attr(ORIGIN, {})
    found = measured_there(study, card)
    assert set(found["versions"].values()) == {cpu_of(study)} == {"unknown"} == {found["measured_on"]["cpu"]}
    assert found["measurements"] == card["measurements"]


def test_a_card_written_elsewhere_tells_of_the_machine_that_measured_and_not_of_its_own(searched: Path) -> None:
    settings, study = searched_at(searched)
    task, card = task_of(settings, study), document(searched)
    trial = next(trial for trial in read_trials(study) if trial.number == card["trial"])
    assert trial.evaluation is not None
    elsewhere = replace(trial.evaluation, facts={**trial.evaluation.facts, "cpu": "Some CPU"})
    bench: Any = SimpleNamespace(task=task, runtime_of=lambda recipe: "onnxruntime", provider="cpu")
    model = searched / "tiny" / "champion" / "model.onnx"
    own = Keeper(bench, settings)._card(trial, trial.number, model)
    found = Keeper(bench, settings)._card(replace(trial, evaluation=elsewhere), trial.number, model)
    assert own["measured_on"]["cpu"] == cpu_name()
    assert (found["measured_on"]["cpu"], found["measured_on"]["machine"]) == ("Some CPU", "unknown")
    assert found["facts"]["cpu_saturates_int8"] == "unknown"
    assert found["versions"].keys() == own["versions"].keys()
    assert set(found["versions"].values()) == {"unknown"}
    assert found["measurements"] == own["measurements"]


def test_an_exam_is_taken_where_the_study_is_measured(searched: Path) -> None:
    settings, study = searched_at(searched)
    conditions = {"cpu": "Some CPU", "provider": "cpu"}
    bench: Any = SimpleNamespace(conditions=conditions)
    check_examiner(settings, study, bench)
    kpis = tuple(replace(kpi, max=9.0) if "latency" in kpi.name else kpi for kpi in settings.kpis)
    bounded = replace(settings, kpis=kpis)
    with pytest.raises(ConfigError, match=r"^kpis.latency_p95_ms.max=9 is of one kind of machine: study 'tiny' is"):
        check_examiner(bounded, study, bench)
    with pytest.raises(ConfigError, match="^study 'tiny' is measured on big, and so are exams: type this there"):
        check_examiner(replace(settings, measure_host="big"), study, bench)


def test_keys_that_differ_on_this_machine_may_be_typed(searched: Path) -> None:
    settings, study = searched_at(searched)
    found = as_searched(settings, study, ["teacher.epochs=3"])
    assert found.teacher.epochs == 3 != settings.teacher.epochs
    assert split_local(["study=s", "task.path=/x", "teacher.checkpoint=y"]) == (
        ["study=s"],
        ["task.path=/x", "teacher.checkpoint=y"],
    )
    assert split_local(["task=mine", "task.factory=a:b", "teacher.checkpoint=y"]) == (
        ["task=mine", "task.factory=a:b"],
        ["teacher.checkpoint=y"],
    )
