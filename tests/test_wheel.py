"""The wheel has everything: configuration, data, the teacher. It runs away from the checkout."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

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
    assert "autoopt/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "experiments/"))]


def test_it_runs_installed_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Only autoopt itself is installed anew; its dependencies are borrowed from this environment."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    code = "import autoopt, autoopt.compose; print(autoopt.__file__, autoopt.compose.conf_dir())"
    where = subprocess.run([python, "-c", code], cwd=empty, check=True, capture_output=True, text=True).stdout
    assert where.split() == [str(packages / "autoopt" / "__init__.py"), str(packages / "autoopt" / "conf")]
    script = tmp_path / "venv" / "bin" / "autoopt"
    done = subprocess.run([script, "--cfg", "task=digits"], cwd=empty, check=True, capture_output=True, text=True)
    assert yaml.safe_load(done.stdout)["task"]["name"] == "digits"
    assert list(empty.iterdir()) == []
