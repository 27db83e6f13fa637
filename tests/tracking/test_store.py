"""The store of MLflow in a file."""

import subprocess
import sys
import time
from pathlib import Path

from autoopt.tracking.store import default_uri, open_client


def test_a_kill_while_the_store_is_made_leaves_none_behind(tmp_path: Path) -> None:
    """Half of its migrations would leave a file that no MLflow opens any more."""
    code = "import sys; from autoopt.tracking.store import open_client; open_client(sys.argv[1])"
    uri = default_uri(tmp_path)
    with subprocess.Popen([sys.executable, "-c", code, uri]) as making:
        while not list(tmp_path.glob("mlflow.db.*.new")):
            assert making.poll() is None
            time.sleep(0.01)
        time.sleep(0.5)
        making.kill()
    assert not (tmp_path / "mlflow.db").exists()
    assert open_client(uri).search_experiments()
    assert [path.name for path in tmp_path.glob("mlflow.db.*") if ".new" in path.name or ".whole" in path.name] == []
