"""What the page is made of, part by part."""

import json
import random
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from autoopt.core.kpi import Facts, Kpi, Measurement
from autoopt.core.recipe import Recipe
from autoopt.core.trial import FAILED, SCREENED, Evaluation, Trial
from autoopt.report.axes import axis, window
from autoopt.report.charts import CHARTS
from autoopt.report.importance import LEAST_TRIALS, how_many, importances, knob_name
from autoopt.report.markup import command, script, table
from autoopt.report.misses import nearest_misses, what_blocks, what_it_gains
from autoopt.report.outcome import Outcome
from autoopt.report.progress import progress
from autoopt.report.reasons import endings
from autoopt.report.roles import ranked, roles
from autoopt.report.shell import promote, reproduce
from autoopt.report.trials import MANY, trials_table
from tests.report.test_report import FACTS, FAILED_EXAM, FAILURE, PASSED, outcome, screened_at, trial
from tests.search.table import KPIS


def test_every_trial_has_a_role_and_the_best_come_first() -> None:
    screened = Trial(4, SCREENED, Recipe("mlp", "none", "none"), screened_at(1.9), "slow")
    at = outcome(trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), trial(2, 0.945, 0.8), FAILURE, screened, trial(5, 0.6, 0.4))
    assert roles(at) == {
        **{0: "baseline", 1: "champion", 2: "front", 3: "failed", 4: "screened", 5: "misses a bound"},
    }
    assert [t.number for t in ranked(at)] == [0, 1, 2, 5, 4, 3]
    assert roles(outcome(trial(0, 0.95, 2.0), trial(1, 0.6, 0.5), exams={}))[1] == "nearest miss"


def test_near_misses_beside_a_champion_break_one_bound_by_little() -> None:
    at = outcome(
        trial(0, 0.95, 2.0),
        trial(1, 0.94, 0.5),
        trial(2, 0.945, 1.1),  # 0.55x: a tenth past
        trial(3, 0.89, 0.3),  # a fifth past
        trial(4, 0.89, 1.1),  # both
        trial(5, 0.6, 0.3),  # far past
        trial(6, 0.949, 1.6),  # more than half past
    )
    assert [t.number for t in nearest_misses(at)] == [2, 3]
    assert what_blocks(at, at.standing.trials[2]) == "latency_p95_ms 0.55x, 10% past max_ratio=0.5"
    assert what_blocks(at, at.standing.trials[3]) == "accuracy -6.00 points, 20% past max_drop=0.05"
    assert what_blocks(at, at.standing.trials[4]).count("past") == 2
    assert what_it_gains(at, at.standing.trials[2]) == "accuracy -0.50 points, latency_p95_ms 0.55x"


def test_where_nothing_is_feasible_the_nearest_by_score_are_told() -> None:
    at = outcome(trial(0, 0.95, 2.0), *(trial(n, 0.9 - n / 100, 0.5) for n in range(1, 9)), exams={})
    assert [t.number for t in nearest_misses(at)] == [1, 2, 3, 4, 5]


def test_trials_that_ended_for_one_reason_are_counted_together() -> None:
    def ended(number: int, state: str, reason: str) -> Trial:
        return Trial(number, state, Recipe("mlp", "none", "none"), screened_at(1.0), reason)

    found = endings(
        [
            trial(0, 0.95, 2.0),
            ended(1, FAILED, "worker 12 died"),
            ended(2, SCREENED, "size_mb is 0.258x the baseline"),
            ended(3, SCREENED, "size_mb is 1.2e-05x the baseline"),
            ended(4, SCREENED, "latency is 0.3x the baseline"),
        ]
    )
    assert [(e.how, e.reason, e.trials) for e in found] == [
        ("screened by its structure", "size_mb is 0.258x the baseline", (2, 3)),
        ("failed", "worker 12 died", (1,)),
        ("screened by its structure", "latency is 0.3x the baseline", (4,)),
    ]


def asked(count: int) -> tuple[list[Trial], list[FrozenTrial]]:
    """Trials whose latency is their width, and whose accuracy is noise."""
    draw = random.Random(1)
    trials, frozen = [trial(0, 0.95, 2.0)], [create_trial(values=[-1.0, 1.0])]
    for number in range(1, count + 1):
        width, idle, decay = draw.random(), draw.choice("ab"), draw.random()
        params = {"width": width, "idle": idle, "decay[cnn]": decay}
        space = {
            "width": FloatDistribution(0, 1),
            "idle": CategoricalDistribution("ab"),
            "decay[cnn]": FloatDistribution(0, 1),
        }
        trials.append(trial(number, draw.uniform(0.8, 0.95), 0.1 + width))
        frozen.append(create_trial(values=[-1.0, 1.0], params=params, distributions=space))
    for number, each in enumerate(frozen):
        each.number = number
    return trials, frozen


def test_what_mattered_is_told_from_chance() -> None:
    trials, frozen = asked(60)
    at = replace(outcome(*trials, exams={}), asked=frozen)
    found = importances(at)
    assert found == importances(at)
    first, *others = found["latency_p95_ms"]
    assert (first.name, first.above_chance) == ("width", True)
    assert first.share > 0.8
    assert not any(knob.above_chance for knob in others)
    assert not any(knob.above_chance for knob in found["accuracy"])
    assert how_many(at) == 60


def test_too_few_trials_say_nothing_and_siblings_do_not_count() -> None:
    trials, frozen = asked(LEAST_TRIALS)
    enough = replace(outcome(*trials, exams={}), asked=frozen)
    assert set(importances(enough)) == {"accuracy", "latency_p95_ms"}
    siblings = [replace(t, sibling_of=1) if t.number > 15 else t for t in trials]
    assert importances(replace(outcome(*siblings, exams={}), asked=frozen)) == {}
    assert knob_name("epochs[cnn]") == "epochs of cnn"


def test_asking_what_mattered_leaves_the_study_alone(tmp_path: Path) -> None:
    study = optuna.create_study(directions=["minimize"] * 2)
    trials, frozen = asked(LEAST_TRIALS)
    study.add_trials(frozen)
    importances(replace(outcome(*trials, exams={}), asked=study.get_trials(deepcopy=False)))
    assert len(study.trials) == LEAST_TRIALS + 1


def test_commands_are_quoted_and_name_another_folder_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    here = outcome(trial(0, 0.95, 2.0), folder=tmp_path / "outputs" / "s")
    here = replace(here, study="night")
    assert reproduce(here, 7) == "autoopt reproduce study=night trial=7"
    assert promote(here) == "autoopt promote study=night"
    there = replace(here, folder=tmp_path / "it's mine" / "night")
    assert shlex.split(reproduce(there, 7))[-1] == f"outputs={tmp_path}/it's mine"


def test_text_from_outside_stays_text_in_html_and_in_scripts() -> None:
    hostile = "</script><b onclick='x'>\"&"
    assert "<b" not in table([hostile], [[hostile]])
    assert "&lt;/script&gt;" in command(hostile)
    written = script({hostile: [hostile]})
    assert written.count("<") == 2  # its own
    inside = re.fullmatch(r"<script[^>]*>(.*)</script>", written, re.DOTALL)
    assert inside
    assert json.loads(inside[1]) == {hostile: [hostile]}


def test_an_axis_shows_what_holds() -> None:
    trials = [trial(0, 0.95, 2.0), trial(1, 0.94, 0.05), trial(2, 0.2, 1.0)]
    latency = axis(KPIS[1], FACTS["latency_p95_ms"], trials)
    accuracy = axis(KPIS[0], FACTS["accuracy"], trials)
    assert latency
    assert accuracy
    assert (latency.relative, latency.is_log, latency.bound, latency.shown(0.025)) == (True, True, 0.5, "0.025x")
    assert (accuracy.relative, accuracy.is_log, accuracy.shown(0.905)) == (False, False, "90.5%")
    assert accuracy.bound == pytest.approx(0.9)
    low, high = window(accuracy, [0.95, 0.94]) or (0, 0)
    assert 0.2 < low < 0.9
    assert high > 0.95
    assert window(latency, [1.0]) is None
    speed = Kpi("throughput_qps", True, objective=True)
    facts = Facts("1/s", True, "")
    fast = replace(trials[0], evaluation=Evaluation({"throughput_qps": Measurement(300.0, 100.0)}))
    found = axis(speed, facts, [fast])
    assert found
    assert found.value(fast.measurements["throughput_qps"]) == 3.0
    assert axis(speed, facts, trials) is None


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_copes_with_any_study(name: str) -> None:
    curve = [
        replace(t, evaluation=replace(t.evaluation, curve=(0.5, 0.9))) for t in (trial(1, 0.94, 0.5),) if t.evaluation
    ]
    full = outcome(
        trial(0, 0.95, 2.0), *curve, trial(2, 0.945, 0.8, epochs=3, optimizer="sgd", learning_rate=0.1), FAILURE
    )
    drawn = CHARTS[name](full)
    assert len(drawn) == 1
    assert drawn[0].figure.data
    one = outcome(trial(0, 0.95, 2.0), trial(1, 0.94, 0.5), kpis=KPIS[:1], exams={})
    for at in (
        outcome(),
        outcome(trial(0, 0.95, 2.0), exams={}),
        one,
        replace(full, exams={1: FAILED_EXAM, 2: PASSED}),
    ):
        for chart in CHARTS[name](at):
            json.dumps(chart.figure.to_plotly_json(), allow_nan=False)


def test_three_objectives_are_drawn_as_two_fronts() -> None:
    kpis = (*KPIS, Kpi("size_mb", False, objective=True))
    facts = {**FACTS, "size_mb": Facts("MB", False, "")}
    trials = []
    for number, accuracy, latency in ((0, 0.95, 2.0), (1, 0.94, 0.5)):
        plain = trial(number, accuracy, latency)
        found = {**plain.measurements, "size_mb": Measurement(latency, 2.0)}
        trials.append(replace(plain, evaluation=Evaluation(found)))
    assert len(CHARTS["front"](replace(outcome(*trials, kpis=kpis), facts=facts))) == 2


def growing() -> Outcome:
    return outcome(
        trial(0, 0.95, 2.0), trial(1, 0.92, 0.8), trial(2, 0.91, 0.9), trial(3, 0.94, 0.5), trial(4, 0.6, 0.1)
    )


def test_progress_ends_where_the_study_stands() -> None:
    steps = progress(growing())
    assert [step.trials for step in steps] == [0, 2, 4, 5]  # the third trial is dominated, the last infeasible
    assert [step.seconds for step in steps] == [0.0, 1.0, 3.0, 12.5]
    volumes = [step.volume for step in steps]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(growing().standing.hypervolume)
    assert progress(outcome()) == []


def test_of_thousands_of_trials_the_front_and_some_of_the_others_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = 8, 40
    monkeypatch.setattr(sys.modules["autoopt.report.charts.parallel"], "MOST_LINES", few)  # its name is the function
    ended = [trial(0, 0.95, 2.0), trial(1, 0.945, 0.5)] + [trial(n, 0.94, 0.6 + n / 1000) for n in range(2, many + 1)]
    at = outcome(*(replace(t, recipe=replace(t.recipe, epochs=t.number)) for t in ended))
    (chart,) = CHARTS["parallel"](at)
    drawn = chart.figure.data[0]
    assert len(drawn.line.color) == len(drawn.dimensions[0]["values"]) == few
    assert drawn.line.color[-1] == 3  # the champion
    assert f"{few} of the {many} complete trials" in chart.caption
    monkeypatch.undo()
    (whole,) = CHARTS["parallel"](at)
    assert len(whole.figure.data[0].line.color) == many
    assert f"one of {many} complete trials. Drag" in whole.caption


def test_a_long_table_waits_until_it_is_looked_at() -> None:
    ended = [trial(0, 0.95, 2.0)] + [trial(n, 0.94, 0.6) for n in range(1, MANY + 1)]
    assert 'class="scroll later"' in trials_table(outcome(*ended))
    assert 'class="scroll"' in trials_table(outcome(*ended[:MANY]))
