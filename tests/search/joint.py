"""A process that searches the lookup table in a database together with others: python -m tests.search.joint."""

import faulthandler
import json
import logging
import sys
import warnings
from pathlib import Path

import optuna

from autoopt.search import storage
from autoopt.search.budget import Budget
from autoopt.search.crew import Here
from autoopt.search.loop import run_search
from autoopt.search.peers import Peers
from autoopt.search.rules import Rules
from autoopt.search.study import open_study
from tests.search.table import KPIS, SPACE, make_search, start

STALE_S = 5


def main(uri: str, name: str, leads: bool, trials: int, delay_s: float, seed: int) -> None:
    """Prints why it stopped."""
    faulthandler.enable()
    warnings.simplefilter("error")
    logging.basicConfig(level=logging.INFO)
    storage.BEAT_S, storage.STALE_S = 1, STALE_S
    study = open_study(Path(), name, KPIS, {"space": {"a": 1}, "teacher": {"weights": "none"}}, storage=uri)
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    peers = Peers(study, SPACE, leads=leads)
    search = make_search(
        study,
        crew=Here(start(delay_s)),
        budget=Budget(trials=trials),
        rules=Rules(screens=False, bar=False, siblings=True),
        peers=peers,
        should_stop=lambda: peers.over,
    )
    print(run_search(search), flush=True)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
