"""What a trial leaves for a search on another machine."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoopt.artifacts import trouble
from autoopt.artifacts.store import Store
from autoopt.commands import acts
from autoopt.commands.acts import MODEL_SHA256, make_acts, work_folder
from autoopt.core.artifact import sha256
from autoopt.core.errors import Interrupted, Killed, TrialError
from autoopt.core.quiet import QuietMachine
from autoopt.core.trial import COMPLETE, Draft, Trial
from autoopt.pipeline import artifact_path
from autoopt.search.jobs import Acts
from autoopt.search.screening import Gate
from tests.conftest import make_recipe

RECIPE, FP16, INT8 = (make_recipe(quantization=scheme) for scheme in ("none", "fp16", "int8_dynamic"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pipeline that writes a model for each draft; int8 does not work out."""

    def made(draft: Draft, folder: Path) -> Draft:
        artifact_path(folder, draft.recipe).write_text(draft.recipe.quantization)
        if draft.recipe == INT8:
            draft.error = TrialError("no luck")
        return draft

    def run_trial(draft: Draft, bench: Any, folder: Path, *_: Any) -> Any:
        made(draft, folder)
        return (made(Draft(recipe), folder) for recipe in draft.siblings)

    monkeypatch.setattr(acts, "run_trial", run_trial)
    monkeypatch.setattr(
        acts, "make_up_siblings", lambda trial, recipes, bench, folder: (made(Draft(each), folder) for each in recipes)
    )
    monkeypatch.setattr(trouble, "FIRST_WAIT_S", 0.0)
    drift, quiet = SimpleNamespace(share=0.0), QuietMachine(tmp_path / "locks")
    conditions = {"cpu": "a CPU"}
    return SimpleNamespace(
        drift=drift, quiet=quiet, store=Store(str(tmp_path / "shared")), conditions=conditions, measures=frozenset()
    )


def evaluate(bench: Any, work: Path, by: Acts | None = None) -> list[Draft]:
    draft = Draft(RECIPE, (FP16, INT8))
    gate: Gate = SimpleNamespace(number=7, admit=None, check=None)  # type: ignore[assignment]
    return [draft, *(by or make_acts(bench, work, "here")).evaluate(draft, gate)]


def test_models_of_a_trial_and_its_siblings_are_put_where_the_search_finds_them(bench: Any, tmp_path: Path) -> None:
    own, fp16, int8 = evaluate(bench, tmp_path / "work")
    for draft in (own, fp16):
        path = artifact_path(work_folder(tmp_path / "work", 7), draft.recipe)
        assert draft.facts[MODEL_SHA256] == sha256(path)
        bench.store.get(sha256(path), tmp_path / "got")
        assert (tmp_path / "got").read_text() == draft.recipe.quantization
        assert "log" in draft.clock.seconds
    assert MODEL_SHA256 not in int8.facts


def test_so_are_those_of_siblings_that_are_made_up(bench: Any, tmp_path: Path) -> None:
    work_folder(tmp_path / "work", 7).mkdir(parents=True)
    (fp16,) = make_acts(bench, tmp_path / "work", "here").make_up(Trial(7, COMPLETE, RECIPE), [FP16])
    assert bench.store.has(fp16.facts[MODEL_SHA256])


def test_a_store_that_is_away_costs_no_trial_and_gets_the_models_when_it_is_back(
    bench: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shared").write_text("in the place of the store")
    acts = make_acts(bench, tmp_path / "work", "here")
    own, fp16, _ = evaluate(bench, tmp_path / "work", acts)
    assert (own.error, fp16.error) == (None, None)
    assert "2 models wait to be shared: artifacts.uri=" in caplog.text
    (tmp_path / "shared").unlink()
    assert not bench.store.has(own.facts[MODEL_SHA256])
    acts.tidy(7)
    assert not work_folder(tmp_path / "work", 7).exists()
    work_folder(tmp_path / "work", 8).mkdir(parents=True)
    (made_up,) = acts.make_up(Trial(8, COMPLETE, RECIPE), [make_recipe(quantization="int8_static")])
    assert bench.store.has(own.facts[MODEL_SHA256])
    assert bench.store.has(made_up.facts[MODEL_SHA256])
    assert bench.store.has(fp16.facts[MODEL_SHA256]), "though the file that it was is gone"
    assert not list((tmp_path / "unsent").iterdir())


def test_without_a_store_nothing_is_noted(bench: Any, tmp_path: Path) -> None:
    bench.store = None
    assert all(MODEL_SHA256 not in draft.facts for draft in evaluate(bench, tmp_path / "work"))


class Waiting:
    """A gate that counts how often it is asked, and then does something."""

    number = 9

    def __init__(self, then: Callable[[], None]) -> None:
        self.asked, self._then = 0, then

    def check(self) -> None:
        self.asked += 1
        if self.asked == 3:
            self._then()


def fetching(bench: Any, path: Path, digest: str, then: Callable[[], None]) -> int:
    gate: Any = Waiting(then)
    acts._fetch(bench, digest, path, gate)
    return int(gate.asked)


def test_who_measures_waits_for_a_model_that_is_on_its_way(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts, "LOOK_S", 0.01)
    (tmp_path / "model").write_text("on its way")
    digest = sha256(tmp_path / "model")
    assert fetching(bench, tmp_path / "got", digest, lambda: bench.store.put(tmp_path / "model")) >= 3
    assert (tmp_path / "got").read_text() == "on its way"


def test_it_does_not_wait_for_ever_nor_against_a_signal(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(acts, "LOOK_S", 0.01)
    with pytest.raises(Interrupted):
        fetching(bench, tmp_path / "got", "0" * 64, stop)
    monkeypatch.setattr(acts, "AWAY_S", 0.05)
    with pytest.raises(Killed, match="^its artifact cannot be fetched: artifacts.uri=.* has no objects/00/"):
        fetching(bench, tmp_path / "got", "0" * 64, lambda: None)
