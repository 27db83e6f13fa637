"""The parts of the page that are no charts: champion, exam, misses, times, reasons, what mattered."""

from collections.abc import Mapping
from typing import Any

from autoopt.core.exam import POINT, UPPER_LIMIT
from autoopt.core.kpi import Kpi
from autoopt.report.importance import LEAST_TRIALS, SHUFFLES, how_many, importances, knob_name
from autoopt.report.machines import machines_line
from autoopt.report.markup import Markup, bar, command, joined, table, tag, text
from autoopt.report.misses import nearest_misses, what_blocks, what_it_gains
from autoopt.report.outcome import Outcome
from autoopt.report.reasons import endings
from autoopt.report.roles import best_role
from autoopt.report.shell import promote, reproduce
from autoopt.report.words import (
    UNSTABLE,
    bound,
    difference,
    early_ends,
    gain,
    losses,
    measured,
    number,
    recipe_line,
    shown,
    slower_line,
)

NUMBERS = 12
"""So many trials of a reason are named."""


def champion(outcome: Outcome) -> Markup:
    """What won against the baseline, KPI by KPI, and the commands that take it further."""
    best = outcome.champion
    if best is None:
        return Markup("")
    tiles = [_tile(outcome, kpi) for kpi in outcome.kpis]
    commands = [command(promote(outcome)), command(reproduce(outcome, best.number))]
    head = tag("h2", f"{best_role(outcome).capitalize()}: trial {best.number}")
    return tag(
        "section",
        head,
        tag("p", recipe_line(best.recipe), class_="recipe"),
        tag("div", *tiles, class_="tiles"),
        *commands,
        id="champion",
        class_="card",
    )


def _tile(outcome: Outcome, kpi: Kpi) -> Markup:
    assert outcome.champion is not None
    found, facts = outcome.champion.measurements[kpi.name], outcome.facts[kpi.name]
    own = measured(found, facts).partition(" (")[0] + (UNSTABLE if found.unstable else "")
    unit = "" if facts.unit == "share" else f" {facts.unit}"
    role = " and ".join(filter(None, ["objective" if kpi.objective else "", "bound" if kpi.bounds() else ""]))
    base = "" if found.baseline is None else f", the baseline {measured(type(found)(found.baseline), facts)}{unit}"
    return tag(
        "div",
        tag("small", f"{kpi.name}, {role}"),
        tag("b", gain(found, facts)),
        tag("small", f"{own}{unit}{base}"),
        tag("small", bound(kpi).removeprefix(f"{kpi.name} ") if kpi.bounds() else ""),
    )


def exam(outcome: Outcome) -> Markup:
    """The champion's quality on the test split, what lies beneath it (classes and slices, those that lost most first),
    and its speed in a fresh process.
    """
    test = outcome.test
    if test is None:
        return Markup("")
    parts = [table([], _quality(test), "quality")]
    for title, (head, *rows) in losses(test).items():
        parts += [tag("h3", title), table(head, rows)]
    if test.get("classes"):
        head = ["class", "rows", "recall", "the baseline's", "difference, points"]
        parts.append(tag("details", tag("summary", f"all {len(test['classes'])} classes"), table(head, _classes(test))))
    fresh = Markup("")
    if test.get("fresh"):
        head = ["in a fresh process", "value", "ratio", "95%"]
        fresh = tag("div", table(head, _fresh(test)))
    return tag("div", tag("div", *parts), fresh, class_="columns")


def _quality(test: Mapping[str, Any]) -> list[list[str]]:
    """How good champion and baseline are on the test split, and how sure that is."""
    rows = [
        [f"on {test['size']} rows", "champion", "baseline"],
        [test["quality"], *(shown(test, test[key]) for key in ("value", "baseline"))],
    ]
    if test["quality"] == "accuracy":
        shares = [test[key] for key in ("accuracy_95", "baseline_accuracy_95")]
        rows.append(["95%", *(" to ".join(shown(test, end) for end in ends) for ends in shares)])
    rows.append(["difference", difference(test), ""])
    if "mcnemar_p" in test:
        rows.append(["McNemar's p", f"{test['mcnemar_p']:.3g}", "that both are right equally often"])
    held = {UPPER_LIMIT: "bounds hold at the far end of the interval", POINT: "bounds hold where it was measured"}
    return [*rows, ["exam.rule", test["rule"], held[test["rule"]]]]


def _classes(test: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            row["class"],
            str(row["rows"]),
            f"{100 * row['recall']:.1f}%",
            f"{100 * row['baseline']:.1f}%",
            f"{100 * (row['recall'] - row['baseline']):+.1f}",
        ]
        for row in test["classes"]
    ]


def _fresh(test: Mapping[str, Any]) -> list[list[str]]:
    """Name, value, ratio and the ratio's interval of what was measured in a fresh process."""
    found = []
    for name, again in test.get("fresh", {}).items():
        interval = "{:.3g} to {:.3g}".format(*again["ratio_95"]) if again.get("ratio_95") else ""
        ratio = "" if again["ratio"] is None else f"{again['ratio']:.3g}x"
        unstable = UNSTABLE if again.get("unstable") else ""
        found.append([name, number(again["value"]) + unstable, ratio, interval])
    return found


def misses(outcome: Outcome) -> Markup:
    found = nearest_misses(outcome)
    if not found:
        return tag("p", "No trial gains on the objectives and breaks one bound alone by little.")
    rows = [[str(t.number), recipe_line(t.recipe), what_it_gains(outcome, t), what_blocks(outcome, t)] for t in found]
    return table(["trial", "recipe", "against the baseline", "blocked by"], rows, "words")


def mattered(outcome: Outcome) -> Markup:
    """A small table of bars for each KPI."""
    found = importances(outcome)
    if not found:
        few = f"Too few trials: {how_many(outcome)} with weights of their own are complete, {LEAST_TRIALS} are needed."
        return tag("p", few)
    parts = []
    for name, knobs in found.items():
        rows = [
            [
                knob_name(k.name),
                bar(k.share / (knobs[0].share or 1.0), None if k.above_chance else "chance"),
                f"{100 * k.share:.0f}%",
            ]
            for k in knobs
            if k.share >= 0.005
        ]
        parts.append(tag("div", tag("h3", name), table([], rows, "bars")))
    said = (
        "How much each knob tells the best quarter of the trials from all (Optuna's PED-ANOVA), beyond what chance "
        f"gives, over {how_many(outcome)} complete trials with weights of their own. Pale: no more than the largest of "
        f"{SHUFFLES} shuffles. Knobs that fewer than {LEAST_TRIALS} trials have are left out. The sampler tried "
        "promising values more often, and knobs that go together share what they say: hints, not causes."
    )
    return joined([tag("div", *parts, class_="columns"), tag("p", said, class_="caption")])


def times(outcome: Outcome) -> Markup:
    whole = outcome.seconds or 1.0
    stages = outcome.seconds_by_stage()
    stages["not counted"] = max(0.0, whole - sum(stages.values()))
    largest = max(stages.values()) or 1.0
    rows = [[stage, bar(spent / largest), f"{spent:.1f} s", f"{spent / whole:.1%}"] for stage, spent in stages.items()]
    lines = filter(None, (machines_line(outcome.standing), slower_line(outcome.standing)))
    return joined([table(["stage", "", "seconds", "share"], rows, "bars"), *(tag("p", line) for line in lines)])


def ended_early(outcome: Outcome) -> Markup:
    found = endings(outcome.standing.trials)
    if not found:
        return tag("p", "None: every trial came to its end.")
    counts = ", ".join(f"{count} {reason}" for reason, count in early_ends(outcome.standing).items())
    most = max(len(ending.trials) for ending in found)
    rows = []
    for ending in found:
        named = ", ".join(map(str, ending.trials[:NUMBERS])) + (", …" if len(ending.trials) > NUMBERS else "")
        rows.append([text(len(ending.trials)), bar(len(ending.trials) / most), ending.how, ending.reason, named])
    head = ["trials", "", "how", "reason, of the first", "which"]
    return joined([tag("p", f"{counts}."), table(head, rows, "reasons")])
