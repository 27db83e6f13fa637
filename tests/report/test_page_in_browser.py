"""The page as a browser has it: drawn, quiet, filtered, copied from, on a phone. One page for all of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.kpi import Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.trial import FAILED, SCREENED, Evaluation, Trial
from autoopt.report.outcome import Outcome
from autoopt.report.page import page
from tests.browser import needs_browser, open_browser
from tests.report.test_report import PASSED, outcome, trial

pytestmark = needs_browser
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


def made(folder: Path) -> Outcome:
    """23 trials, one of a hostile reason; the champion's classes and the study have hostile names."""
    curve = (0.7, 0.9, 0.94)
    trials = [trial(0, 0.95, 2.0)]
    for number in range(1, 20):
        fast = trial(number, 0.94 - 0.001 * number, 0.5 + 0.1 * number, epochs=3, optimizer="sgd", learning_rate=0.1)
        evaluation = Evaluation(fast.measurements, {"train": 3.0}, curve)
        trials.append(replace(fast, evaluation=evaluation, recipe=replace(fast.recipe, width=number / 4)))
    screened = Evaluation({"latency_p95_ms": Measurement(1.9, 2.0)}, facts={"screened_by": "structure"})
    trials.append(Trial(20, SCREENED, Recipe("mlp", "none", "none"), screened, "latency_p95_ms is 0.95x the baseline"))
    trials += [Trial(n, FAILED, Recipe("mlp", "none", "fp16"), None, f"it said {HOSTILE}") for n in (21, 22)]
    classes = [{"class": HOSTILE, "rows": 40, "recall": 0.8, "baseline": 0.9}]
    exams = {1: {**PASSED, "classes": classes}}
    return replace(outcome(*trials, folder=folder / "a study", exams=exams), study=HOSTILE)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Errors of the console, and requests that left the page."""
    return []


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(made(path.parent)))
    with open_browser() as browser:
        view = browser.new_page(viewport={"width": 1200, "height": 900})
        view.on("pageerror", lambda error: told.append(str(error)))
        view.on("console", lambda said: told.append(said.text) if said.type == "error" else None)
        view.on(
            "request",
            lambda asked: None if asked.url.startswith(("file:", "data:", "blob:")) else told.append(asked.url),
        )
        view.goto(path.as_uri())
        view.wait_for_selector(".js-plotly-plot .scatterlayer")
        yield view


def rows(shown: Any) -> list[str]:
    return [row.split()[0] for row in shown.locator("#trials tbody tr:visible").all_inner_texts()]


def copied(shown: Any) -> str:
    """What was copied last, as the page says it: a headless browser may have no clipboard to read."""
    return str(shown.locator("#told").inner_text()).removeprefix("copied: ")


def test_it_is_drawn_without_errors_or_requests(shown: Any, told: list[str]) -> None:
    assert shown.locator(".js-plotly-plot").count() == 4
    assert shown.locator("#front .scatterlayer .point").count() == 20
    assert told == []


def test_no_button_sends_a_chart_away(shown: Any) -> None:
    titles = {button.get_attribute("data-title") for button in shown.locator(".modebar-btn").all()}
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes"}


def test_a_name_from_outside_stays_text(shown: Any) -> None:
    assert shown.title() == f"autoopt: {HOSTILE}"
    assert shown.locator("img").count() == 0
    assert shown.locator("h1").inner_text() == HOSTILE
    assert HOSTILE in shown.locator("#exam td").all_inner_texts()
    assert f"it said {HOSTILE}" in shown.locator("#trials td").all_inner_texts()


def test_the_table_is_filtered_by_state_and_words(shown: Any) -> None:
    assert len(rows(shown)) == 23
    shown.click("button[data-state=failed]")
    assert rows(shown) == ["21", "22"]
    assert shown.locator(".controls output").inner_text() == "2 of 23"
    shown.click("button[data-state=front]")
    assert rows(shown) == ["1"]
    shown.click("button[data-state=all]")
    shown.fill(".controls input", "MLP fp32")
    assert rows(shown) == ["20"]
    shown.fill(".controls input", "")
    assert len(rows(shown)) == 23


def test_a_column_is_sorted_both_ways(shown: Any) -> None:
    for expected in (["1", "2"], ["19", "18"]):
        shown.click("#trials th:nth-child(5) button")
        assert rows(shown)[:2] == expected  # by latency; those that were not measured come last
        assert rows(shown)[-1] in ("21", "22")
    shown.click("#trials th:nth-child(1) button")
    assert rows(shown) == [str(number) for number in range(23)]


def test_commands_are_copied(shown: Any) -> None:
    shown.click("#champion .command >> nth=1 >> button")
    shown.wait_for_selector("#champion button.copied")
    command = copied(shown)
    assert command.startswith("autoopt reproduce 'study=</script>")
    assert " trial=1 " in command
    shown.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    shown.evaluate("document.execCommand = () => { window.taken = document.activeElement.value; return true }")
    shown.locator("#trials tr", has_text="champion").locator("button").click()
    shown.wait_for_function("window.taken !== undefined")
    assert shown.evaluate("window.taken") == command
    shown.evaluate("window.taken = undefined")
    star = shown.locator("#front .scatterlayer .trace").last.locator(".point")
    star.scroll_into_view_if_needed()
    star = star.bounding_box()
    shown.mouse.move(star["x"] + star["width"] / 2, star["y"] + star["height"] / 2)
    shown.wait_for_selector("#front .hovertext")
    assert "trial 1, champion" in shown.locator("#front .hovertext").first.text_content()
    shown.mouse.down()
    shown.mouse.up()
    shown.wait_for_function("window.taken !== undefined")
    assert shown.evaluate("window.taken") == command


def test_the_charts_follow_light_and_dark(shown: Any) -> None:
    seen = []
    for scheme in ("light", "dark"):
        shown.emulate_media(color_scheme=scheme)
        shown.wait_for_timeout(100)
        seen.append(shown.evaluate("document.querySelector('#front .chart').layout.font.color"))
    assert len(set(seen)) == 2
    assert all(color.startswith("#") for color in seen)


def test_a_phone_has_no_sideways_scroll(shown: Any, told: list[str]) -> None:
    shown.set_viewport_size({"width": 390, "height": 844})
    shown.wait_for_function("document.querySelector('#front .main-svg').getBoundingClientRect().width < 390")
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    assert told == []
