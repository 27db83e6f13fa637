"""PostgreSQL, an MLflow server and Ray for the tests, brought up by the commands of the README, on free ports."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADING = "## More than one machine"


def commands() -> list[str]:
    """The four of the README."""
    section = (ROOT / "README.md").read_text().split(f"{HEADING}\n")[1]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block[1].strip().splitlines()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def has_postgres() -> bool:
    return shutil.which("initdb", path=_path()) is not None


@dataclass
class Postgres:
    folder: Path
    port: int

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg://autoopt@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._run(commands()[1].replace("5433", str(self.port)).replace("-k /tmp", f"-k {self.folder}"))

    def stop(self, mode: str = "fast") -> None:
        """fast: connections are ended; immediate: as a crash."""
        self._run(f"pg_ctl -D pg -m {mode} -w stop")

    def make(self) -> None:
        self._run(commands()[0])
        with (self.folder / "pg" / "postgresql.conf").open("a") as conf:
            conf.write("fsync = off\nmax_connections = 200\n")  # what is tested survives programs, not power cuts
        self.start()

    def _run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={"PATH": _path(), "LC_ALL": "C"},
            user="postgres" if os.getuid() == 0 else None,  # it does not start as root
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server of its own below `folder`, which has to be short: its socket lies there."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    server = Postgres(folder, free_port())
    server.make()
    try:
        yield server
    finally:
        with suppress(AssertionError):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Its address."""
    port = free_port()
    command = commands()[2].replace("5000", str(port)).rstrip(" &")
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _until_open(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, 9)
            server.wait()


@contextmanager
def ray_head(folder: Path) -> Iterator[str]:
    """Its address; `folder` has to be short: sockets lie there."""
    port = free_port()
    environment = {**os.environ, "RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    command = f"{commands()[3].replace('6379', str(port))} --object-store-memory 80000000 --include-dashboard=false"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for process in Path("/proc").glob("[0-9]*"):  # `ray stop` would end every Ray of this machine
            with suppress(OSError):
                if str(folder) in (process / "cmdline").read_text():
                    os.kill(int(process.name), 9)
        shutil.rmtree(folder, ignore_errors=True)


def _until_open(port: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nobody listens on port {port}")


def _path() -> str:
    """Debian keeps PostgreSQL's programs out of PATH."""
    places = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    return os.pathsep.join([os.environ["PATH"], *places])
