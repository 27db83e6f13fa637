"""Logging: one file a study, nothing on the terminal, where the display is."""

import logging
import warnings
from logging.handlers import RotatingFileHandler
from pathlib import Path

import optuna

from autoopt.core.passwords import masked

NOISY = (
    "optuna",
    "onnxruntime.quantization",
    "matplotlib",
    "mlflow",
    "alembic",
    "sqlalchemy",
    "torch",
    "PIL",
    "filelock",
    "aiobotocore",
    "botocore",
)


class _Masked(logging.Formatter):
    """Of the whole text: messages, their arguments and traces are other people's, and so may hold a URL."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def quiet() -> None:
    """Libraries log to nobody until a study's log is open; some of them call basicConfig at import, which is undone
    here.
    """
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # warns of torchvision's absence, which nothing here needs


def log_to(path: Path) -> None:
    """One line an event, times in local time; a file of at most 5 MB, three older ones kept."""
    quiet()
    handler = RotatingFileHandler(path, maxBytes=5_000_000, backupCount=3)
    handler.setFormatter(_Masked("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.name != "root")  # onnxruntime chats there, once a tensor
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk is no reason to print traces
    warnings.simplefilter("default")
    warnings.simplefilter("ignore", DeprecationWarning)  # the libraries' own affairs
