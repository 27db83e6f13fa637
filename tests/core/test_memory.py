import os
from pathlib import Path

import pytest

from autoopt.core import memory
from autoopt.core.memory import machine_gb, resident_gb


def test_a_process_holds_what_it_holds() -> None:
    before = resident_gb(os.getpid())
    held = b"x" * 200_000_000
    assert 0.15 < resident_gb(os.getpid()) - before < 0.3
    assert len(held) == 200_000_000
    assert resident_gb(2**30) == 0.0


@pytest.mark.parametrize(
    ("own", "file", "root"),
    [
        ("0::/slurm/job\n", "slurm/memory.max", "memory.max"),
        (
            "4:memory:/system.slice/it.service\n0::/\n",
            "memory/system.slice/it.service/memory.limit_in_bytes",
            "memory.max",
        ),
        ("0::/outside/of/the/container\n", "memory.max", "nothing"),
    ],
)
def test_the_least_of_all_groups_above_counts(
    own: str, file: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = machine_gb()
    (tmp_path / "own").write_text(own)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / root).write_text("max\n")
    (tmp_path / file).write_text("500000000\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN", tmp_path / "own")
    assert machine_gb() == 0.5 < whole


def test_no_group_leaves_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "OWN", tmp_path / "none")
    assert machine_gb() == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
