"""The wheel has everything: configuration, data, the teacher. That it runs away from the checkout, .ci/run tells."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def test_it_holds_configuration_data_and_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"autoopt/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")} <= names
    assert {
        f"autoopt/tasks/fashion_data/{name}" for name in ("images.npz.xz", "teacher.safetensors", "LICENSE")
    } <= names
    assert {"autoopt/py.typed", "autoopt/report/page.js", "autoopt/report/style.css"} <= names
    assert not [name for name in names if name.startswith(("tests/", "experiments/"))]
