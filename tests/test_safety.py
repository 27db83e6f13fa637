"""Files from elsewhere are data: nothing that the package reads can run code."""

import ast
from collections.abc import Iterator

from tests.test_layers import FILES, imports

CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Of the function of that dotted name."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name)


def says(call: ast.Call, key: str, value: object) -> bool:
    return any(k.arg == key and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


def unsafe(source: str) -> list[str]:
    """What in a module could unpickle."""
    tree = ast.parse(source)
    found = [ast.unparse(call) for call in calls(tree, "torch.load") if not says(call, "weights_only", True)]
    for reader in ("np.load", "numpy.load"):
        keywords = [(call, k) for call in calls(tree, reader) for k in call.keywords if k.arg == "allow_pickle"]
        found += [ast.unparse(call) for call, k in keywords if not says(call, "allow_pickle", False)]
    found += [ast.unparse(call) for call in calls(tree, "yaml.load")]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("torch", "numpy", "yaml"):
            found += [ast.unparse(node)] * any(name.name == "load" for name in node.names)
    return found


def test_no_module_unpickles() -> None:
    assert {str(path): found for path in FILES if (found := unsafe(path.read_text()))} == {}
    assert {str(path): found for path in FILES if (found := {n.split(".")[0] for n in imports(path)} & CODE)} == {}


def test_what_unpickles_would_be_found() -> None:
    for source in (
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=yes)",
        "yaml.load(text)",
        "from torch import load",
    ):
        assert unsafe(source), source
    for source in ("torch.load(path, weights_only=True)", "np.load(path)", "np.load(path, allow_pickle=False)"):
        assert not unsafe(source), source
