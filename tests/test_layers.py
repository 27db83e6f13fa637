"""Imports go down only (the layers of the design, lowest first)."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "autoopt"
FREE = {"core"}
MEMBERS = {"tasks", "students", "pruning", "quantization", "runtimes", "measurements"}
VIEWS = {"search", "tracking", "report"}
ALLOWED = {
    "core": set(),
    "artifacts": FREE,
    **dict.fromkeys(MEMBERS, FREE),
    **dict.fromkeys(VIEWS, FREE),
    "training": FREE | MEMBERS | {"artifacts"},
    "structures": FREE | MEMBERS,
    "low_bits": FREE | MEMBERS | {"structures"},
    "pipeline": FREE | MEMBERS | {"artifacts", "training", "structures", "low_bits"},
    "elsewhere": FREE | MEMBERS | {"structures", "pipeline"},
    "compose": FREE,
    "config_space": FREE | MEMBERS | {"training"},
    "config_sections": FREE | MEMBERS | {"training", "search"},
    "config": {"artifacts", "compose", "config_space", "config_sections"}
    | FREE
    | MEMBERS
    | VIEWS
    | {"training", "pipeline"},
    "champion": FREE | MEMBERS | VIEWS | {"training", "pipeline"},
    "commands": FREE
    | MEMBERS
    | VIEWS
    | {"artifacts", "training", "pipeline", "elsewhere", "compose", "config", "config_sections", "champion"},
    "cli": {"__version__"}
    | FREE
    | MEMBERS
    | VIEWS
    | {"training", "pipeline", "compose", "config", "champion", "commands"},
    "api": FREE | MEMBERS | VIEWS | {"compose", "config", "commands"},
    "__main__": {"cli"},
    "__init__": FREE | {"api", "tasks"},
}
FORBIDDEN = {
    "artifacts": {"torch", "optuna", "mlflow", "onnx", "onnxruntime"},
    "compose": {"torch", "optuna", "mlflow", "onnx", "onnxruntime"},
    "core": {"torch", "numpy", "optuna", "mlflow", "hydra", "onnx", "onnxruntime", "rich"},
    "search": {"torch", "mlflow", "onnx", "onnxruntime"},
    "tracking": {"torch", "optuna", "onnx", "onnxruntime"},
    "report": {"torch", "mlflow", "onnx", "onnxruntime"},
}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_file_has_a_layer() -> None:
    assert {layer(path) for path in FILES} == set(ALLOWED)


def test_imports_go_down_only() -> None:
    wrong = []
    for path in FILES:
        own = layer(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "autoopt" and len(parts) > 1 and parts[1] not in ALLOWED[own] | {own}:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_layers_stay_free_of_the_libraries_that_they_must_not_know() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in FILES
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN.get(layer(path), set())
    ]
    assert wrong == []


def test_files_stay_small() -> None:
    long = {str(path.relative_to(PACKAGE)): n for path in FILES if (n := len(path.read_text().splitlines())) > 300}
    assert long == {}
