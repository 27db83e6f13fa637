"""What a person sees in MLflow's own UI, of two people's studies on one server."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page

from autoopt.core.kpi import Facts
from autoopt.core.trial import COMPLETE, FAILED
from autoopt.report.note import note
from autoopt.report.outcome import Outcome
from autoopt.report.plot import front_plot
from autoopt.tracking.target import LastWord, Target
from autoopt.tracking.view import View
from tests.browser import needs_browser, open_browser
from tests.chaos.outage import Server
from tests.search.table import KPIS
from tests.tracking.stores import ORIGIN, search_table, stand, target

pytestmark = pytest.mark.slow
FACTS = {"accuracy": Facts("share", True, ""), "latency_p95_ms": Facts("ms", False, "")}
PATIENCE_MS = 30_000
NO_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
ABSENT = "/ajax-api/2.0/mlflow/users/current"  # MLflow's UI asks for it, and a server without logins has it not


class Team:
    """Ann's study and Bob's, of one task."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.uri, self.client = uri, MlflowClient(tracking_uri=uri)
        self.trials = search_table(folder / "table", trials=20)
        self.now = stand(self.trials)
        self.targets = {
            who: replace(target(folder / who, who * 10, uri=uri), study=f"{who}s", origin=replace(ORIGIN, owner=who))
            for who in ("ann", "bob")
        }
        self.words = {who: self.word(folder / who, self.targets[who]) for who in self.targets}
        self.pages = {}
        for who in self.targets:
            view = View.open(self.targets[who])
            view.sync(self.now, self.words[who])
            self.pages[who] = view.how_to_look.removeprefix("open ")

    def word(self, folder: Path, of: Target) -> LastWord:
        """As the end of a search writes it."""
        told = Outcome(of.study, folder / of.study, self.now, KPIS, FACTS, {}, 1, "trials", 60.0, {})
        folder.mkdir(exist_ok=True)
        files = [front_plot(told, folder / "front.png")]
        metrics = {"kpi_score": self.now.front[0].score(KPIS)}
        return LastWord(note(told), files, {"autoopt.champion": self.now.front[0].number}, "FINISHED", metrics, 20)

    def runs(self, who: str) -> dict[str, str]:
        """By id, the owner."""
        found = self.client.search_runs(["1"], f"tags.`autoopt.study_id` = '{who * 10}'", max_results=100)
        return {run.info.run_id: run.data.tags["mlflow.user"] for run in found}

    def parent(self, who: str) -> str:
        (run,) = self.client.search_runs(["1"], f"tags.`autoopt.study` = '{who}s'")
        return str(run.info.run_id)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    server = Server(folder)
    server.start()
    try:
        yield Team(folder, server.uri)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        context.add_init_script(NO_ASSISTANT)
        yield context.new_page()


@pytest.fixture(autouse=True)
def nothing_fails(page: Page) -> Iterator[None]:
    """No request does, and none leaves the machine."""
    failed: list[str] = []
    page.on("response", lambda r: failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: failed.append(r.url) if "//127.0.0.1:" not in r.url else None)
    yield
    assert [told for told in failed if ABSENT not in told and not told.startswith(("data:", "blob:"))] == []


def rows(page: Page) -> list[str]:
    """Of the table of runs, their names from above."""
    page.locator(".ag-row").first.wait_for(timeout=PATIENCE_MS)
    found = page.locator(".ag-row [col-id*='Run Name']:has(a)").all()
    return [row.locator("a").first.inner_text().strip() for row in sorted(found, key=_height)]


def _height(row: Locator) -> float:
    box = row.bounding_box()
    return box["y"] if box else 0.0


def opened(page: Page, team: Team, who: str) -> None:
    """The page of a study's parent run, its note unfolded."""
    page.goto(f"{team.uri}/#/experiments/1/runs/{team.parent(who)}?workflowType=machine_learning")
    page.get_by_text("Show more", exact=True).first.click(timeout=PATIENCE_MS)


def test_two_people_share_an_experiment_and_touch_nothing_of_each_other(team: Team) -> None:
    before = team.runs("bob")
    assert len(before) == len(team.trials) + 1
    assert (set(team.runs("ann").values()), set(before.values())) == ({"ann"}, {"bob"})
    view = View.open(team.targets["ann"])
    view.clear()
    assert (team.runs("ann"), team.runs("bob")) == ({}, before)
    view.sync(team.now, team.words["ann"])
    assert (len(team.runs("ann")), team.runs("bob")) == (len(before), before)
    kept = Path(team.client.download_artifacts(team.parent("ann"), "front.png"))
    assert kept.read_bytes().startswith(b"\x89PNG")


@needs_browser
def test_the_note_says_who_won_and_leads_to_that_trial(team: Team, page: Page) -> None:
    best = team.now.front[0]
    opened(page, team, "bob")
    page.get_by_text(f"Trial {best.number} is in the lead").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_text("autoopt promote study=bobs").first.wait_for(timeout=PATIENCE_MS)
    picture = page.locator("img[src*='front.png']")
    picture.wait_for(timeout=PATIENCE_MS)
    page.wait_for_function("document.querySelector(\"img[src*='front.png']\").naturalWidth > 500")
    assert page.get_by_text("toy (0123456789abcdef)").count()
    address = page.get_by_role("link", name=str(best.number), exact=True).first.get_attribute("href")
    run = team.client.get_run(str(address).rpartition("/")[2])
    assert run.data.tags["autoopt.trial"] == str(best.number)


@needs_browser
def test_the_address_that_a_search_prints_shows_its_trials_the_best_first(team: Team, page: Page) -> None:
    page.goto(team.pages["ann"])
    named = rows(page)
    scores = {trial.number: trial.score(KPIS) for trial in team.trials if trial.state == COMPLETE}
    shown = [scores[int(name[:4])] for name in named]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == max(scores.values())
    page.get_by_text(f"{len(scores)} matching runs").wait_for(timeout=PATIENCE_MS)
    heads = page.locator(".ag-header-cell").all_inner_texts()
    for column in ("kpi_score", "accuracy", "latency_p95_ms_ratio", "autoopt.pareto"):
        assert any(column in head for head in heads), heads


@needs_browser
def test_its_charts_are_those_that_matter(team: Team, page: Page) -> None:
    page.goto(f"{team.pages['ann']}&compareRunsMode=CHART")
    for title in ("latency_p95_ms_ratio vs. accuracy", "Parallel Coordinates", "epoch_quality"):
        page.get_by_text(title).first.wait_for(timeout=PATIENCE_MS)
    page.locator(".scatterlayer .point").first.wait_for(timeout=PATIENCE_MS)
    assert page.locator(".scatterlayer .point").count() >= 10


@needs_browser
@pytest.mark.parametrize("link", ["front", "failed", "studies"])
def test_the_filters_of_the_note_find_what_they_say(team: Team, page: Page, link: str) -> None:
    opened(page, team, "bob")
    address = page.get_by_role("link", name=link, exact=True).first.get_attribute("href", timeout=PATIENCE_MS)
    page.goto(f"{team.uri}/{address}")
    wanted = {
        "front": {f"{trial.number:04d}" for trial in team.now.front},
        "failed": {f"{trial.number:04d}" for trial in team.trials if trial.state == FAILED},
        "studies": {"anns", "bobs"},
    }[link]
    page.get_by_text(f"{len(wanted)} matching run").wait_for(timeout=PATIENCE_MS)
    assert {name[:4] for name in rows(page)} == wanted
