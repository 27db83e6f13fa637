"""What a team sees in MLflow in the morning, of two studies of digits that two people searched on one server.

    nice python -m experiments.review.mlflow_screenshots FOLDER PORT

Searches by the real command line, takes the pictures beside this file and prints what was asked of whom. Needs Debian's
chromium; takes some minutes.
"""

import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient
from playwright.sync_api import Page

from autoopt.tracking.store import default_uri
from experiments.review.mlflow_server import serving
from tests.browser import open_browser

HERE = Path(__file__).parent
STUDIES = {"ann": ["study=night", "budget.trials=12"], "bob": ["study=seed1", "budget.trials=6", "seed=1"]}
NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
PATIENCE_MS, SETTLED_MS = 60_000, 3_000


def search(who: str, folder: Path, uri: str) -> str:
    """From within the folder. The address that it prints."""
    folder.mkdir()
    words = ["task=digits", f"tracking.uri={uri}", "workers=0", "threads=1", *STUDIES[who]]
    environment = {**os.environ, "LOGNAME": who, "USER": who}
    command = [sys.executable, "-m", "autoopt", *words]
    done = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("review: ")).split()[-1]


def link(page: Page, name: str) -> str:
    return str(page.get_by_role("link", name=name, exact=True).first.get_attribute("href", timeout=PATIENCE_MS))


def take(page: Page, address: str, sign: str, name: str) -> None:
    page.goto(address)
    page.locator(sign).first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=str(HERE / f"mlflow-{name}.png"))


def parent_page(uri: str, study: str) -> str:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`autoopt.study` = '{study}'")
    return f"{uri}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"


def look(uri: str, trials: str) -> set[str]:
    """Take all pictures; the hosts that the pages asked."""
    hosts: set[str] = set()
    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_init_script(NO_ASSISTANT)
        page = context.new_page()
        page.on("request", lambda asked: hosts.add(asked.url.split("/")[2] if "//" in asked.url else ""))
        take(page, trials, ".ag-row", "runs")
        take(page, f"{trials}&compareRunsMode=CHART", ".js-plotly-plot .main-svg", "charts")
        page.goto(parent_page(uri, "night"))
        page.get_by_text("Show more", exact=True).first.click(timeout=PATIENCE_MS)
        page.locator("img[src*='front.png']").wait_for(timeout=PATIENCE_MS)
        page.wait_for_timeout(SETTLED_MS)
        page.screenshot(path=str(HERE / "mlflow-note.png"))
        take(page, f"{uri}/{link(page, 'studies')}", ".ag-row", "studies")
    return hosts


def main(folder: Path, port: int) -> None:
    folder.mkdir(parents=True)
    with serving(default_uri(folder), folder / "files", port) as uri:
        addresses = {who: search(who, folder / who, uri) for who in STUDIES}
        print(addresses, look(uri, addresses["ann"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]))
