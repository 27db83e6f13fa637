import logging
import warnings
from pathlib import Path

from autoopt.commands.logs import log_to


def test_no_password_reaches_the_log(tmp_path: Path) -> None:
    before, level = logging.root.handlers[:], logging.root.level
    try:
        with warnings.catch_warnings():
            log_to(tmp_path / "search.log")
            log = logging.getLogger("autoopt.x")
            log.warning("MLflow is not reachable (%s)", OSError("http://me:hunter2@host:5000"))
            warnings.warn("postgresql://me:hunter2@host/db", UserWarning, stacklevel=1)
            try:
                raise OSError("http://host/?token=hunter2")
            except OSError:
                log.exception("in a trace")
    finally:
        logging.captureWarnings(False)
        for handler in logging.root.handlers:
            handler.close()
        logging.root.handlers[:] = before
        logging.root.setLevel(level)
    text = (tmp_path / "search.log").read_text()
    assert "hunter2" not in text
    for shown in ("(http://me:***@host:5000)", "UserWarning: postgresql://me:***@host/db", "http://host/?token=***"):
        assert shown in text
    assert "Traceback" in text
