"""Workers as Slurm jobs, through submitit: a batch file, its submission, and what still waits is taken back.

The jobs join the study by its storage. Passwords are in a file that its owner alone reads, in a folder that nobody else
enters: not in the batch file, and in no command that `ps` shows.
"""

import math
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoopt.core.errors import AutooptError, ConfigError, one_line
from autoopt.search.engines import Slurm

SECRETS = "secrets.sh"
BATCH = "dry_run.sh"
MARGIN_S = 60  # before Slurm ends a job: its worker is asked to end, and has its grace and so much more
ANSWER_S = 60.0  # for scancel and squeue


def check_slurm(engine: Slurm, storage: str | None) -> None:
    """Raises ConfigError where jobs could not be submitted, or could not reach the study."""
    if not (storage or "").startswith("postgresql"):
        raise ConfigError(
            "engine=slurm needs a study that other machines reach: type storage=postgresql+psycopg://USER@HOST/DATABASE"
        )
    missing = next((program for program in ("sbatch", "srun") if shutil.which(program) is None), None)
    if missing and not engine.dry_run:
        raise ConfigError(
            f"engine=slurm: {missing} is not on the PATH: type this on a login node of the cluster, or "
            "engine.dry_run=true"
        )


def submit(
    engine: Slurm, count: int, folder: Path, command: Sequence[str], secrets: Mapping[str, str], grace_s: float
) -> list[str]:
    """So many jobs, each of which runs the command. `folder`: for batch file, logs and secrets, on a disk that all
    machines share. `secrets`: environment variables. Returns the ids of the jobs.

    Raises ConfigError where Slurm refuses them.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = submitit.SlurmExecutor(_prepared(folder, secrets))
    executor.update_parameters(**_parameters(engine, folder, grace_s))
    job = submitit.helpers.CommandFunction(list(command), cwd=os.getcwd())
    try:
        with executor.batch():
            jobs = [executor.submit(job) for _ in range(count)]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise ConfigError(f"Slurm refuses the jobs: {one_line(error, 300)}") from error
    return [each.job_id for each in jobs]


def written(
    engine: Slurm, count: int, folder: Path, command: Sequence[str], secrets: Mapping[str, str], grace_s: float
) -> tuple[Path, str]:
    """A batch file as it would be submitted, and what its jobs run: here itself, where `submit` has submitit run it, so
    that it may be submitted by hand.
    """
    import submitit

    class Anywhere(submitit.SlurmExecutor):  # type: ignore[misc]
        """Also where there is no Slurm."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    executor = Anywhere(_prepared(folder, secrets))
    executor.update_parameters(**_parameters(engine, folder, grace_s))
    executor.parameters["map_count"] = count
    line = shlex.join(command)
    (folder / BATCH).write_text(executor._make_submission_file_text(line, "dry_run"))
    return folder / BATCH, line


def are_gone(jobs: Sequence[str]) -> bool:
    """Whether Slurm says that none of them waits or runs; False where it does not answer."""
    whole = sorted({job.partition("_")[0] for job in jobs})
    try:
        asked = ["squeue", "--noheader", f"--jobs={','.join(whole)}"]
        found = subprocess.run(asked, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    forgotten = found.returncode != 0 and "Invalid job id" in found.stderr  # as it says of jobs that ended long ago
    return forgotten or (found.returncode == 0 and not found.stdout.strip())


def cancel(jobs: Sequence[str]) -> None:
    """Those that have not begun: the others end with the search, in order."""
    if jobs:
        whole = sorted({job.partition("_")[0] for job in jobs})
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--state=PENDING", *whole], capture_output=True, timeout=ANSWER_S, check=False)


def _prepared(folder: Path, secrets: Mapping[str, str]) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in secrets.items()]
        file = os.open(folder / SECRETS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(file, "w") as secret:
            secret.writelines(lines)
    except OSError as error:
        raise AutooptError(f"{folder}: cannot write there ({error.strerror})") from error
    return folder


def _parameters(engine: Slurm, folder: Path, grace_s: float) -> dict[str, Any]:
    threads = [f"export OMP_NUM_THREADS={engine.cpus}", "export OMP_WAIT_POLICY=PASSIVE"]
    last_s = math.ceil(grace_s) + MARGIN_S
    given = {
        "job_name": "autoopt",
        "partition": engine.partition,
        "time": math.ceil(60 * engine.hours),
        "cpus_per_task": engine.cpus,
        "gpus_per_node": engine.gpus or None,
        "mem": None if engine.memory_gb is None else f"{math.ceil(1024 * engine.memory_gb)}MB",
        "setup": [f". {shlex.quote(str(folder / SECRETS))}", *threads, *engine.setup],
        # submitit's own signal would end a worker at once
        "additional_parameters": {"signal": f"TERM@{last_s}"},
    }
    return {key: value for key, value in given.items() if value is not None}
