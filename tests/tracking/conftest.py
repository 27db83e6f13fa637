from pathlib import Path

import pytest

from tests.tracking.stores import copy_store, prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def outputs(prepared: Path, tmp_path: Path) -> Path:
    """An outputs folder with an empty store."""
    return copy_store(prepared, tmp_path / "outputs")
