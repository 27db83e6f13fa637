import shutil
from pathlib import Path

import pytest

from tests.commands.shipping import STUDY, WIDE, promote
from tests.test_end_to_end import QUICK, run


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a study of the teacher under some schemes; the tracker was off."""
    cwd = tmp_path_factory.mktemp("searched")
    run(cwd, "search", *STUDY, *QUICK, *WIDE, "teacher.epochs=1", "exam.rule=point", "tracking=none", "seed=1")
    return cwd / "outputs"


@pytest.fixture(scope="module")
def promoted(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its champion is registered."""
    outputs = tmp_path_factory.mktemp("promoted") / "outputs"
    shutil.copytree(searched, outputs)
    assert promote(outputs) == 0
    return outputs
