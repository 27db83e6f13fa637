import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.commands.shipping import STUDY, WIDE, promote
from tests.test_end_to_end import QUICK, run


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a study of the teacher under some schemes; the tracker was off. One for all processes of a run of
    the tests, which copy it.
    """
    own = tmp_path_factory.mktemp("searched")
    cwd = tmp_path_factory.getbasetemp().parent / "searched" if "PYTEST_XDIST_WORKER" in os.environ else own
    with FileLock(f"{cwd}.lock"):
        if not (cwd / "outputs").is_dir():
            words = [*STUDY, *QUICK, *WIDE, "teacher.epochs=1", "exam.rule=point", "tracking=none", "seed=1"]
            run(own, "search", *words, f"outputs={own / 'made'}")
            cwd.mkdir(exist_ok=True)
            (own / "made").rename(cwd / "outputs")
    return cwd / "outputs"


@pytest.fixture(scope="module")
def promoted(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its champion is registered."""
    outputs = tmp_path_factory.mktemp("promoted") / "outputs"
    shutil.copytree(searched, outputs)
    assert promote(outputs) == 0
    return outputs
