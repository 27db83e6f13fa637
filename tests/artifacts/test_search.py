"""Searches that share a store: the second one's teacher and logits, and models from another machine's folders."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoopt.cli import main
from autoopt.commands import acts, searching
from autoopt.commands.acts import MODEL_SHA256
from autoopt.core import artifact
from autoopt.core.trial import COMPLETE
from autoopt.search.jobs import Acts
from autoopt.search.record import read_trials
from autoopt.search.study import load_study
from autoopt.training import teacher
from autoopt.training.lessons import Library
from tests.artifacts.s3 import ENVIRONMENT, client, serving
from tests.commands.shipping import SPACE, WIDE
from tests.test_end_to_end import QUICK

pytestmark = pytest.mark.slow
STUDY = ["task=digits", "study=s", *SPACE, *QUICK, *WIDE, "teacher.epochs=1", "exam.rule=point", "threads=1"]


def search(outputs: Path, uri: str, *words: str) -> None:
    assert main([*STUDY, f"outputs={outputs}", f"artifacts.uri={uri}", "tracking=none", *words]) == 0


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "autoopt.txt")
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_second_search_trains_no_teacher_and_labels_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    monkeypatch.chdir(tmp_path)
    search(tmp_path / "one", "shared", "workers=0", "budget.trials=2")
    there = snapshot(shared)
    assert len([name for name in there if name.startswith("folders/")]) == 2

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(teacher, "train", fail)
    monkeypatch.setattr(Library, "_label", fail)
    search(tmp_path / "two", str(shared), "workers=0", "budget.trials=2")
    assert {name: there[name] for name in there} == {
        name: content for name, content in snapshot(shared).items() if name in there
    }
    for name in ("teachers/*/weights.safetensors", "logits/*/logits.npy"):
        (one,), (two,) = ((tmp_path / run / "cache").glob(name) for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def start_elsewhere(raw: Mapping[str, Any], threads: int, begun: Mapping[str, Any]) -> Acts:
    """A worker of another machine: nothing of the search's folders is there."""
    return acts.start_worker({**raw, "outputs": f"{raw['outputs']}-elsewhere"}, threads, begun)


def test_a_worker_of_another_machine_gives_its_models_over_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs, elsewhere = tmp_path / "o", tmp_path / "o-elsewhere"
    monkeypatch.setattr(searching, "start_worker", start_elsewhere)
    with serving() as port:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            monkeypatch.setenv(name, value)
        client(port).create_bucket(Bucket="shared")
        search(outputs, "s3://shared/team", "workers=1", "budget.trials=4")
        study = load_study(outputs / "s", "s")
        complete = [trial for trial in read_trials(study) if trial.state == COMPLETE]
        assert len(complete) >= 4
        for trial in complete:
            folder = artifact.trial_folder(outputs / "s", trial.number)
            artifact.verify(folder)
            assert trial.evaluation is not None
            assert artifact.sha256(folder / artifact.MODEL) == trial.evaluation.facts[MODEL_SHA256]
        assert (elsewhere / "s" / "work").is_dir(), "it was made there"
        assert not (elsewhere / "s" / "trials").exists()
        (mine,), (theirs,) = (folder.glob("cache/teachers/*/weights.safetensors") for folder in (outputs, elsewhere))
        assert mine.read_bytes() == theirs.read_bytes()

        for name in ("trials", "champion"):
            shutil.rmtree(outputs / "s" / name)
        search(outputs, "s3://shared/team", "workers=1", "budget.trials=1")
    log = (outputs / "s" / "search.log").read_text()
    assert "its recipe is queued again" not in log
    assert "topsecret" not in log + capsys.readouterr().out
    artifact.verify(outputs / "s" / "champion")
    assert "topsecret" not in "".join(path.read_text() for path in (outputs / "s").glob("*.yaml"))
