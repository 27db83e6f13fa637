import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from autoopt.commands import doctor
from autoopt.commands.bench import load_task
from autoopt.config import load_settings
from autoopt.core import cpu


@pytest.mark.slow
def test_it_checks_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "autoopt", "doctor"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for check in (
        "python",
        "packages",
        "cpu",
        "schemes",
        "threads",
        "quiet",
        "memory",
        "disk",
        "configuration",
        "tracking",
        "a tiny trial",
    ):
        assert f"│ {check}" in done.stdout
    assert "digits, cnn, int8_static, onnxruntime: accuracy 0." in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_schemes_cautions_are_those_of_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, said in ((frozenset({"avx2"}), True), (frozenset({"avx512_vnni", "avx512_fp16"}), False)):
        monkeypatch.setattr(cpu, "cpu_flags", lambda flags=flags: flags)
        monkeypatch.setattr(cpu.platform, "machine", lambda: "x86_64")
        detail = doctor._schemes().detail
        assert ("int8_dynamic, int8_static" in detail and ": x86 without VNNI adds" in detail) == said
        assert ("fp16: CPUs without float16" in detail) == said
        assert "weight_only_int8, weight_only_int4: on a CPU it buys size alone" in detail


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK_GB", 1e9)
    finding = doctor._disk(tmp_path / "not" / "there")
    assert (finding.status, "outputs=ANOTHER_FOLDER" in finding.advice) == ("error", True)


def test_more_threads_than_cores_is_a_warning(tmp_path: Path) -> None:
    finding = doctor._threads(load_settings([f"outputs={tmp_path}", "threads=999"]))
    assert finding.status == "warning"
    assert "999 to train" in finding.detail


@pytest.mark.parametrize(("limit", "load", "status"), [(1e9, 0.1, "ok"), (0.5, 0.1, "warning"), (1e9, 99, "warning")])
def test_a_machine_with_other_work_is_a_warning(
    limit: float, load: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "UNSTEADY", limit)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(doctor, "QUIET_S", 0.2)
    finding = doctor._quiet()
    assert finding.status == status
    assert "a small matrix product takes" in finding.detail


def test_a_server_that_is_down_is_a_warning(tmp_path: Path) -> None:
    finding = doctor._tracking(load_settings([f"outputs={tmp_path}", "tracking.uri=http://127.0.0.1:9"]))
    assert finding.status == "warning"


def test_whatever_a_check_raises_is_its_finding() -> None:
    def broken() -> doctor.Finding:
        raise ImportError("no module named torch [/usr]")

    finding = doctor._survive(broken)
    assert (finding.status, finding.detail) == ("error", "ImportError: no module named torch [/usr]")


def test_a_task_that_is_not_there_is_the_finding_of_whoever_needs_it(tmp_path: Path) -> None:
    settings = load_settings([f"outputs={tmp_path}", "task=onnx", "task.model=nowhere.onnx"])
    for check in (doctor._configuration, doctor._teacher):
        finding = doctor._survive(partial(check, settings, partial(doctor._load_task, settings)))
        assert (finding.status, finding.advice) == ("error", "a search would stop here")
        assert "task.model=nowhere.onnx" in finding.detail


def test_a_space_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    settings = load_settings([f"outputs={tmp_path}", "space.student=cnn", "space.quantization=weight_only_int8"])
    finding = doctor._survive(partial(doctor._configuration, settings, partial(load_task, settings)))
    assert finding.status == "error"
    assert "changes nothing in student 'cnn'" in finding.detail
