"""promote, rollback and reproduce through the real command line, on a small real study."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from autoopt.champion.exam import EXAM
from autoopt.champion.serving import CONTENT, LOADER, pyfunc
from autoopt.cli import main
from autoopt.commands.origin import ORIGIN
from autoopt.core.artifact import sha256, verify
from autoopt.core.cpu import cpu_name
from autoopt.core.inputs import Inputs
from autoopt.runtimes import RUNTIMES
from autoopt.search.study import load_study
from autoopt.tasks import TASKS
from autoopt.tracking.registry import Registry
from autoopt.tracking.store import default_uri
from tests.commands.shipping import files, others, pass_exam, promote, registry_of, rollback, told
from tests.tracking.stores import client_of


def test_the_champion_is_served_by_its_alias_and_says_what_its_file_says(
    promoted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", default_uri(promoted))
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    model = pyfunc().load_model("models:/digits@champion")
    images = next(iter(TASKS["digits"]().validation.inputs.numpy()))
    folder = promoted / "tiny" / "champion"
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    expected = [int(session.run(None, {"input": images[i : i + 1]})[0].argmax()) for i in range(len(images))]
    assert model.predict(images)["class"].tolist() == expected
    content = files(promoted, "champion", tmp_path)
    assert content[f"data/{CONTENT}/model.onnx"] == sha256(folder / "model.onnx")
    assert {f"code/{LOADER}.py", f"data/{CONTENT}/MODEL_CARD.md", "input_example.json"} <= content.keys()
    assert files(promoted, "backup", tmp_path / "backup")[f"data/{CONTENT}/model.onnx"] == sha256(
        promoted / "tiny" / "baseline" / "model.onnx"
    )


def test_again_changes_nothing(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = registry_of(promoted).aliases()
    assert promote(promoted) == 0
    out = capsys.readouterr().out
    assert "already: nothing has changed" in out
    assert json.loads(out.splitlines()[-1])["changed"] is False
    assert registry_of(promoted).aliases() == before
    assert len(client_of(promoted).search_model_versions("name = 'digits'")) == 2


def test_versions_say_where_they_come_from(promoted: Path) -> None:
    found = registry_of(promoted)
    version = found.version(found.aliases()["champion"])
    assert version.tags["autoopt.study"] == "tiny"
    assert version.tags["autoopt.exam"] == "passed"
    assert version.tags["autoopt.sha256"] == sha256(promoted / "tiny" / "champion" / "model.onnx")
    assert version.description.startswith(f"Trial {version.tags['autoopt.trial']} of study tiny (teacher · int8")
    card = (promoted / "tiny" / "champion" / "MODEL_CARD.md").read_text()
    assert version.description in card


def test_rollback_hands_out_the_same_bytes_as_before_and_twice_is_where_one_was(
    promoted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = tmp_path / "outputs"
    first, other = files(promoted, "champion", tmp_path / "a"), others(promoted)[0]
    study = {path: sha256(path) for path in (promoted / "tiny" / "champion").iterdir()}
    pass_exam(promoted, other)
    assert promote(promoted, f"trial={other}") == 0
    assert capsys.readouterr().out.startswith("models:/digits@champion is version 3 now: Trial ")
    second = files(promoted, "champion", tmp_path / "b")
    assert second != first
    assert files(promoted, "previous", tmp_path / "c") == first
    for expected, n in ((first, 1), (second, 2), (first, 3)):
        assert rollback(promoted) == 0
        assert files(promoted, "champion", tmp_path / f"{outputs.name}{n}") == expected
    assert {path: sha256(path) for path in (promoted / "tiny" / "champion").iterdir()} == study
    assert promote(promoted) == 0
    assert told(capsys)["changed"] is False


@pytest.mark.slow
def test_without_a_previous_one_the_backup_serves(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], promoted: Path
) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    uri = f"tracking.uri={default_uri(promoted)}"
    model = "registry.model=another"
    assert promote(outputs, uri, model) == 0
    words = ["rollback", "task=digits", f"outputs={outputs}", uri, model]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "the backup: there was no previous one: The baseline of study tiny" in out
    assert json.loads(out.splitlines()[-1])["from"] == "backup"
    assert main(words) == 0
    assert told(capsys)["from"] == "previous"


def test_what_fails_its_exam_or_breaks_a_bound_is_refused_unless_it_is_forced(
    promoted: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before, other = registry_of(promoted).aliases(), others(promoted)[-1]
    pass_exam(promoted, other, passed=False, broken=["accuracy.max_drop"])
    assert promote(promoted, f"trial={other}") == 2
    err = capsys.readouterr().err
    assert err == (
        f"autoopt: trial {other} is not promoted: its final exam failed by accuracy.max_drop. To ship it all the same, "
        "which is recorded, type --force='why'\n"
    )
    assert registry_of(promoted).aliases() == before
    assert promote(promoted, f"trial={other}", "--force=the demo is at nine") == 0
    told_before = told(capsys)
    forced = told_before["forced"]
    assert forced["why"] == "the demo is at nine"
    assert forced["over"] == "its final exam failed by accuracy.max_drop"
    found = registry_of(promoted)
    version = found.version(found.aliases()["champion"])
    assert version.tags["autoopt.forced_why"] == "the demo is at nine"
    assert version.tags["autoopt.forced_by"] == forced["by"]
    content = found.download(version.version, tmp_path / "forced") / "data" / CONTENT
    assert "Reason given: the demo is at nine" in (content / "MODEL_CARD.md").read_text()
    assert verify(content)["forced"] == forced
    for why in ("another reason: http://me:secret@host", "another reason: http://me:secret@host"):
        assert promote(promoted, f"trial={other}", f"--force={why}") == 0
    again = told(capsys)
    assert again["forced"]["why"] == "another reason: http://me:***@host"
    assert again == {**told_before, "changed": False, "forced": again["forced"]}
    assert rollback(promoted) == 0
    assert promote(promoted, f"trial={other}", "--force=another reason: http://me:secret@host") == 0
    version = found.version(version.version)
    reasons = ["the demo is at nine", *2 * ["another reason: http://me:***@host"]]
    assert [each["why"] for each in json.loads(version.tags["autoopt.forced_history"])] == reasons
    assert json.loads(version.tags["autoopt.forced_history"])[0] == forced
    assert version.tags["autoopt.forced_why"] == reasons[-1]
    assert version.description.endswith(f"Promoted by force: {reasons[-1]}")
    before = found.aliases()
    pass_exam(promoted, other, passed=True, broken=[])
    assert promote(promoted, f"trial={other}") == 0
    after = found.aliases()
    assert after["champion"] != before["champion"]
    assert after["previous"] == before["previous"], "the same model under another version is nothing to go back to"


def test_an_answer_that_is_lost_says_nothing_of_a_version(
    promoted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(self: Registry, number: str, into: Path) -> Path:
        raise ConnectionError("reset")

    before, count = registry_of(promoted).aliases(), len(client_of(promoted).search_model_versions("name = 'digits'"))
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "download", reset)
        assert promote(promoted) == 1
    assert "MLflow did not take the model (reset…), and what it serves is as it was" in capsys.readouterr().err
    assert registry_of(promoted).aliases() == before
    assert len(client_of(promoted).search_model_versions("name = 'digits'")) == count


def test_once_the_champion_has_moved_it_is_told_so(
    promoted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = MlflowClient.delete_registered_model_tag, registry_of(promoted).aliases()

    def lost(self: MlflowClient, *args: str) -> None:
        real(self, *args)
        raise MlflowException("the answer was lost")

    assert before["champion"] != "2"
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "delete_registered_model_tag", lost)
        assert promote(promoted) == 0
    assert "the aliases have moved: they were read again" in capsys.readouterr().out
    assert registry_of(promoted).aliases() == {**before, "champion": "2", "previous": before["champion"]}


def test_a_name_that_serves_another_use_is_taken_by_nobody_by_accident(
    promoted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = registry_of(promoted)
    before, client = found.aliases(), client_of(promoted)
    kept = found.version(before["champion"]).tags
    words = {"autoopt.data": "other data", "autoopt.interface": "other inputs or classes"}
    for tag in words:
        client.set_model_version_tag("digits", before["champion"], tag, "another")
        assert promote(promoted, f"trial={others(promoted)[0]}") == 2
        err = capsys.readouterr().err
        assert f"(version {before['champion']}, of study tiny) was made for {words[tag]}: type registry.model=" in err
        assert found.aliases() == before
        assert promote(promoted, "registry.model=digits") == 0
        client.set_model_version_tag("digits", before["champion"], tag, kept[tag])


@pytest.mark.slow
def test_a_trial_that_took_no_exam_takes_it_once(searched: Path, promoted: Path, tmp_path: Path, capsys: Any) -> None:
    outputs = tmp_path / "outputs"
    shutil.copytree(searched, outputs)
    other, words = others(outputs)[0], [f"tracking.uri={default_uri(promoted)}", "registry.model=third"]
    champion = outputs / "tiny" / "champion" / "card.json"
    assert promote(outputs, f"trial={other}", *words) == 0
    assert told(capsys)["trial"] == other
    exam = load_study(outputs / "tiny", "tiny").user_attrs[f"{EXAM}{other}"]
    assert exam["passed"]
    assert promote(outputs, f"trial={other}", *words) == 0
    assert told(capsys)["changed"] is False
    assert load_study(outputs / "tiny", "tiny").user_attrs[f"{EXAM}{other}"] == exam
    assert main(["report", "study=tiny", f"outputs={outputs}"]) == 0
    champion_now = told(capsys)["champion"]["trial"]  # by the study's own rule, and the folder is the same one
    assert json.loads(champion.read_text())["trial"] == champion_now


@pytest.mark.slow
def test_mlflow_serves_it_over_http(promoted: Path, tmp_path: Path) -> None:
    images = next(iter(TASKS["digits"]().validation.inputs.numpy()))[:8]
    model = RUNTIMES["onnxruntime"](promoted / "tiny" / "champion" / "model.onnx", 1)
    expected = [int(model(Inputs({"input": images[i : i + 1]})).argmax()) for i in range(len(images))]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, env={**os.environ, "MLFLOW_TRACKING_URI": default_uri(promoted)}, stdout=log, stderr=log
        ) as server,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", server)
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                json.dumps({"inputs": images.tolist()}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request) as response:
                answers = json.load(response)["predictions"]
        finally:
            server.terminate()
    assert [answer["class"] for answer in answers] == expected
    assert [answer["label"] for answer in answers] == list(map(str, expected))


def wait_for(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            assert server.poll() is None, "the server has ended"
            time.sleep(0.1)
    raise TimeoutError(address)


def test_a_registered_model_that_answers_otherwise_is_not_promoted(
    promoted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoopt.commands.versions.says_the_same", lambda saved, content, task: False)
    before = registry_of(promoted).aliases()
    assert promote(promoted, "registry.model=digits") == 1
    assert "does not answer as" in capsys.readouterr().err
    assert registry_of(promoted).aliases() == before


def test_an_mlflow_that_is_down_moves_nothing_and_is_told_in_one_line(
    promoted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promote(promoted, "tracking.uri=http://me:secret@127.0.0.1:9") == 1
    err = capsys.readouterr().err
    assert err.startswith("autoopt: MLflow did not take the model (")
    assert err.count("\n") == 1
    assert "secret" not in err


def test_rolled_back_to_is_only_what_is_whole(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = registry_of(promoted)
    before = found.aliases()
    place = Path(found.version(before["previous"]).source.removeprefix("file://"))
    model = place / "data" / CONTENT / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    assert rollback(promoted) == 1
    assert "is damaged" in capsys.readouterr().err
    assert registry_of(promoted).aliases() == before
    model.write_bytes(whole)


@pytest.mark.slow
def test_a_trial_is_made_again_from_its_recipe_and_takes_the_place_of_what_was_removed(
    promoted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = others(promoted)[0]
    folder = promoted / "tiny" / "trials" / f"{number:04d}"
    before = sha256(folder / "model.onnx")
    shutil.rmtree(folder)
    study = load_study(promoted / "tiny", "tiny")
    study.set_user_attr(ORIGIN, {**study.user_attrs[ORIGIN], "cpu": "Another CPU, 4 cores, 1 to serve"})
    assert promote(promoted, f"trial={number}") == 2
    assert f"type autoopt reproduce study=tiny trial={number}, which makes it again" in capsys.readouterr().err
    main(["reproduce", "study=tiny", f"trial={number}", f"outputs={promoted}"])  # latency may differ beside other tests
    document = told(capsys)
    checks = {check["what"]: check for check in document["checks"]}
    assert checks["size_mb"]["holds"]
    assert checks["drop of accuracy"]["holds"]
    assert checks["drop of accuracy"]["recorded"] == checks["drop of accuracy"]["anew"]
    assert document["restored"] is True
    assert checks["latency_p95_ms, ratio"]["holds"] is None
    assert checks["latency_p95_ms, ratio"]["allowed"] == "measured on another machine, Another CPU"
    assert verify(folder)["measured_on"]["cpu"] == "Another CPU"
    assert verify(Path(document["path"]))["measured_on"]["cpu"] == cpu_name()
    assert sha256(folder / "model.onnx") == before == sha256(Path(document["path"]) / "model.onnx")
    assert np.isfinite(verify(folder)["measurements"]["accuracy"]["value"])
