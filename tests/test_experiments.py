"""Experiments take long and are not run here; that what they import is still there can be told."""

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "experiments").glob("*/*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_they_import_of_autoopt_is_there(script: Path) -> None:
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autoopt")
        for alias in node.names
    ]
    missing = [f"{module}.{name}" for module, name in wanted if not hasattr(importlib.import_module(module), name)]
    assert missing == []
