"""The command line as a user meets it: real processes."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from sqlalchemy.exc import OperationalError

from autoopt.cli import HELP, VERBS, main


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autoopt", *words], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = "{'torch', 'mlflow', 'optuna', 'hydra'} & set(sys.modules)"
    code = f"import sys; from autoopt.cli import main; main(['--help']); print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == HELP + "[]\n"


def test_help_lists_every_verb_and_only_these() -> None:
    verbs = HELP.partition("verbs:\n")[2].partition("\n\n")[0]
    assert tuple(line.split()[0] for line in verbs.splitlines()) == VERBS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["serach"],
            "autoopt: unknown verb 'serach'. Did you mean 'search'? Known: compare, doctor, promote, report,",
        ),
        (
            ["search", "--verbos"],
            "autoopt: unknown option '--verbos'. Did you mean '--version'? Known: --cfg,",
        ),
        (
            ["search", "budget.trails=3"],
            "autoopt: unknown key 'budget.trails'. Did you mean 'trials'? Known: hours, plateau,",
        ),
        pytest.param(["report", "study=nothing"], "autoopt: no study 'nothing' in", marks=pytest.mark.slow),
        (
            ["search", "task=digits", "space.student=mlp", "space.pruning=none", "space.quantization=bogus"],
            "autoopt: unknown quantization",
        ),
        pytest.param(
            ["search", "space.student=cnn", "space.quantization=weight_only_int4"],
            "autoopt: space.quantization=['weight_only_int4'] changes nothing",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words: list[str], message: str, tmp_path: Path) -> None:
    began = time.perf_counter()
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert (
        time.perf_counter() - began < 30
    )  # 5 seconds on an idle machine; experiments measure, tests only catch a hang


def test_debug_shows_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serach", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(["serach"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_cfg_prints_what_would_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.chdir(tmp_path)
    assert main(["--cfg", "budget.trials=7", "study=mine"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["budget"]["trials"], printed["study"]) == (7, "mine")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"autoopt {version('autoopt')}\n"


def test_no_password_reaches_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [f"outputs={tmp_path}", "study=s", "tracking.uri=http://me:hunter2@host:5000"]
    assert main(["--cfg", *words]) == 0
    assert main(["--cfg", *words[:2], "tracking.uri=ftp://me:hunter2@host", "--debug"]) == 2
    assert main(["--cfg", *words[:2], "tracking.uri=[http://me:hunter2@host", "--debug"]) == 2
    said = "".join(capsys.readouterr())
    assert "hunter2" not in said
    assert "uri: http://me:***@host:5000\n" in said
    assert "autoopt: tracking.uri=ftp://me:***@host: null, sqlite:///FILE or" in said
    assert said.count("Traceback") >= 2


def test_a_bug_ends_with_its_trace_without_passwords() -> None:
    code = "from autoopt import cli\ndef main(_): raise OSError('http://me:' + 'hunter2@host')\n"
    done = subprocess.run([sys.executable, "-c", f"{code}cli.main = main; cli.entry()"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("OSError: http://me:***@host\n")


def test_a_database_that_is_away_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*words: object, **options: object) -> int:
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection of http://me:hunter2@host"))

    monkeypatch.setattr("autoopt.cli._run", away)
    assert main(["search", "study=s"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("autoopt: the study's database does not answer (")
    assert line.endswith(": the same command goes on")
    assert "hunter2" not in line


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **options: object) -> int:
        raise RuntimeError("no report") from OSError(errno.ENOSPC, "No space left on device", "outputs/report.html")

    monkeypatch.setattr("autoopt.cli._run", full)
    assert main(["report", "study=s"]) == 1
    assert capsys.readouterr().err == "autoopt: the disk is full (no report): make room, the same command goes on\n"
