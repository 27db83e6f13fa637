"""The README promises nothing that is not there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoopt.cli import VERBS
from autoopt.config import load_settings
from autoopt.measurements import FACTS
from autoopt.pruning import METHODS
from autoopt.quantization import CALIBRATIONS, SCHEMES
from autoopt.search.samplers import SAMPLERS
from autoopt.students import STUDENTS
from autoopt.training.optimizers import OPTIMIZERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(rf"^autoopt (?!{'|'.join(VERBS)})(\S.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def words(command: str) -> list[str]:
    return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", command)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_valid_configuration(command: str, tmp_path: Path) -> None:
    load_settings([*words(command), f"outputs={tmp_path}"])


def test_there_are_examples() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("name", [*VERBS, *FACTS, *METHODS, *SCHEMES, *CALIBRATIONS, *SAMPLERS, *STUDENTS, *OPTIMIZERS])
def test_every_name_in_a_table_is_told(name: str) -> None:
    assert re.search(rf"\b{name}\b", README)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_figures_are_those_of_the_committed_run() -> None:
    results = json.loads((ROOT / "experiments" / "default_run" / "results.json").read_text())
    champion = results["champion"]
    assert f"{champion['ratios']['latency_p95_ms']:.3g}x" in README
    assert f"{round(1 / champion['ratios']['latency_p95_ms'])} times faster" in README
    assert f"{round(1 / champion['ratios']['size_mb'])} times smaller" in " ".join(README.split())
    assert f"({-100 * champion['test']['drop']:+.2f} on the test split" in README
    assert champion["test"]["passed"]
    transcript = (ROOT / "experiments" / "default_run" / "transcript.txt").read_text()
    shown = [line for line in README.splitlines() if re.match(r"   \d  ", line)]
    assert len(shown) == 6
    assert all(line in transcript.splitlines() for line in shown)


@pytest.mark.slow
def test_the_example_of_ones_own_model_runs_as_written(tmp_path: Path) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "def build" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "my_module.py").write_text(code)
    for command in re.findall(r"^autoopt .*my_module.*$", README, re.MULTILINE):
        ran = subprocess.run(
            [sys.executable, "-m", "autoopt", *words(command.partition("#")[0].strip())[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout.splitlines()[-1])
    assert document["champion"]["test"]["passed"]
    assert document["champion"]["ratios"]["size_mb"] <= 0.5
