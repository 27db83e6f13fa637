"""Slurm jobs: what sbatch is given, and that what it is given runs."""

import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.errors import ConfigError
from autoopt.search.engines import Slurm
from autoopt.search.slurm import cancel, check_slurm, submit, written
from tests.search.fake_slurm import install

pytest.importorskip("submitit")

ENGINE = Slurm("gpu", 4, 1, 16.0, 12.0, ("module load cuda", "echo set up"), False)
SECRETS = {"AUTOOPT_STORAGE": "postgresql+psycopg://me:hunter2@db/studies", "OTHER": "it's $HOME"}
PROGRAM = "import os; print('ran with', *map(os.environ.get, ('AUTOOPT_STORAGE', 'OTHER', 'OMP_NUM_THREADS')))"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    notes = install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return notes


def test_what_sbatch_is_given_runs_as_many_workers(notes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study" / "slurm"
    jobs = submit(ENGINE, 2, folder, [sys.executable, "-c", PROGRAM], SECRETS, grace_s=30)
    assert jobs == ["77_0", "77_1"]
    end = time.monotonic() + 60
    while not (notes.parent / "over").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    printed = (notes.parent / "printed.txt").read_text()
    assert printed.count("ran with postgresql+psycopg://me:hunter2@db/studies it's $HOME 4") >= 2
    assert printed.count("set up") == 2
    batch = (notes.parent / "batch.sh").read_text()
    assert "hunter2" not in batch + notes.read_text()
    for line in (
        "--partition=gpu",
        "--cpus-per-task=4",
        "--gpus-per-node=1",
        "--mem=16384MB",
        "--time=720",
        "--array=0-1%2",
        "--signal=TERM@90",
    ):
        assert f"#SBATCH {line}\n" in batch
    assert "\nmodule load cuda\necho set up\n" in batch
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secrets.sh").stat().st_mode) == 0o600
    cancel(jobs)
    assert notes.read_text().splitlines()[-1] == "scancel --state=PENDING 77"


def test_what_slurm_refuses_is_told_in_its_words(notes: Path, tmp_path: Path) -> None:
    sbatch = notes.parent / "sbatch"
    sbatch.write_text("#!/bin/bash\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    with pytest.raises(ConfigError, match="^Slurm refuses the jobs: .*invalid partition specified: gpu"):
        submit(ENGINE, 1, tmp_path / "slurm", ["true"], SECRETS, grace_s=30)


def test_a_dry_run_needs_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    engine = replace(ENGINE, partition=None, gpus=0, memory_gb=None, dry_run=True)
    check_slurm(engine, "postgresql+psycopg://db/studies")
    batch, line = written(engine, 3, tmp_path / "slurm", ["autoopt", "worker", "study=a b"], SECRETS, 30)
    text = batch.read_text()
    assert line == "autoopt worker 'study=a b'"
    assert f"{line}\n" in text
    assert "#SBATCH --array=0-2%3" in text
    assert "#SBATCH --cpus-per-task=4" in text
    assert all(word not in text for word in ("hunter2", "partition", "gpus", "--mem"))


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (None, "engine=slurm needs a study that other machines reach: type storage=postgresql"),
        ("sqlite:///x.db", "engine=slurm needs a study that other machines reach: type storage=postgresql"),
        ("postgresql+psycopg://db/x", "engine=slurm: sbatch is not on the PATH"),
    ],
)
def test_it_is_refused_where_it_cannot_work(
    storage: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=message):
        check_slurm(ENGINE, storage)
