"""The card for people: Markdown made from card.json alone, so that the two never say different things."""

from collections.abc import Mapping
from typing import Any

from autoopt.champion.statistics import share_interval
from autoopt.core.kpi import Facts, Measurement
from autoopt.core.recipe import Recipe
from autoopt.report.words import UNSTABLE, UNSTABLE_MEANS, difference, losses, measured, number, recipe_line, shown

MODEL_CARD = "MODEL_CARD.md"
FEW_ROWS = 1000
"""Of a test split, below which a point of accuracy is hard to tell from none."""


def card_file(card: Mapping[str, Any]) -> dict[str, bytes]:
    return {MODEL_CARD: model_card(card).encode()}


def headline(card: Mapping[str, Any]) -> str:
    """One sentence: what it is, what it gains on the KPIs, and its exam."""
    rows = card["measurements"]
    gains = ", ".join(f"{name} {_told(rows[name])}" for name in card["kpis"] if name in rows)
    exam = f"; {exam_line(card['test'])}" if "test" in card else ""
    what = "The baseline" if is_baseline(card) else f"Trial {card['trial']}"
    return f"{what} of study {card['study']} ({recipe_line(Recipe.from_dict(card['recipe']))}): {gains}{exam}."


def exam_line(test: Mapping[str, Any]) -> str:
    ended = "passed" if test["passed"] else f"FAILED by {', '.join(test['broken'])}"
    own, base = (shown(test, test[key]) for key in ("value", "baseline"))
    return (
        f"final exam (exam.rule={test['rule']}, {test['size']} rows) {ended}: {test['quality']} {own} against the "
        f"baseline's {base}, {difference(test)}"
    )


def is_baseline(card: Mapping[str, Any]) -> bool:
    return bool(card["trial"] == 0)


def model_card(card: Mapping[str, Any]) -> str:
    parts = {
        "Use": _use(card),
        "Limits": _limits(card),
        "Data": _data(card),
        "Metrics on validation": _metrics(card),
        "Final exam": _exam(card),
        "Recipe": _table(("field", "value"), [(key, f"`{value}`") for key, value in card["recipe"].items()]),
        "Lineage": _lineage(card),
        "History": [_history(card["forced"])] if "forced" in card else [],
    }
    what = "the baseline" if is_baseline(card) else f"trial {card['trial']} of study {card['study']}"
    lines = [f"# {card['task']}: {what}", "", headline(card)]
    for title, body in parts.items():
        lines += ["", f"## {title}", "", *body] if body else []
    return "\n".join(lines) + "\n"


def _use(card: Mapping[str, Any]) -> list[str]:
    output, on = card["output"], card["measured_on"]
    return [
        f"- Task: {card['task']}. Made to take the place of the teacher that it was compared with, on the same inputs.",
        *(f"- Input `{i['name']}`: {i['dtype']} {_shape(i['shape'])}." for i in card["inputs"]),
        f"- Meaning of the inputs: {card['input_meaning']}.",
        f"- Output `{output['name']}`: {output['dtype']} {_shape(output['shape'])}; {output['meaning']}.",
        f"- Runtime: {on['runtime']} {card['versions'].get(on['runtime'], '')}, {_provider(on)}{on['threads']} "
        "thread(s) a call.",
        "- Without MLflow: `autoopt.load_champion(FOLDER)` checks every file and gives model, card and recipe; "
        "`model.onnx` needs the runtime alone.",
        "- From MLflow's registry: `mlflow.pyfunc.load_model('models:/NAME@champion')`, or `mlflow models serve -m "
        "models:/NAME@champion --env-manager local`. `autoopt rollback registry.model=NAME` puts the one before in its "
        "place.",
    ]


def _provider(on: Mapping[str, Any]) -> str:
    return f"on a GPU by {on['provider']}, " if "provider" in on else ""


def _processor(on: Mapping[str, Any]) -> str:
    return f"{on['gpu']} beside {on['cpu']}" if "gpu" in on else str(on["cpu"])


def _limits(card: Mapping[str, Any]) -> list[str]:
    on, test = card["measured_on"], card.get("test")
    lines = [
        f"- Speed was measured on {_processor(on)} ({on['machine']}), {on['threads']} thread(s), one input a call: "
        "elsewhere the ratios to the baseline may differ.",
        "- Quality is known on data such as those below, and nowhere else.",
    ]
    if test is None and not is_baseline(card):
        lines.append("- It has taken no final exam: how good it is on unseen data is not known.")
    if test is not None and not test["passed"]:
        lines.append(f"- **It failed its final exam** by {', '.join(test['broken'])}.")
    if test is not None and test["size"] < FEW_ROWS:
        lines.append(f"- The test split has {test['size']} rows: the interval of the difference is wide.")
    if any(m.get("unstable") for m in card["measurements"].values()):
        lines.append(f"- {UNSTABLE_MEANS}.")
    for title, rows in losses(test or {}).items():
        lines += [f"- {title} (on the test split): {'; '.join(_loss(rows[0], row) for row in rows[1:])}."]
    return lines


def _loss(head: list[str], row: list[str]) -> str:
    return f"{row[0]}, {head[1]} {' '.join(row[1:])}"


def _data(card: Mapping[str, Any]) -> list[str]:
    data = card["data"]
    return [
        f"- Source and licence: {data['source']}",
        f"- Rows: {data['train']} train, {data['validation']} validation, {data['test']} test",
        f"- Fingerprint of all splits: `{data['fingerprint']}`",
    ]


def _metrics(card: Mapping[str, Any]) -> list[str]:
    head = ("measurement", "value", "95%", "baseline", "ratio", "95%", "KPI", "what it is")
    rows = [
        (
            name,
            _with_unit(m),
            _interval(m.get("value_95") or _share_95(name, m, card["data"]["validation"])),
            "" if m["baseline"] is None else number(m["baseline"]),
            "" if m["ratio"] is None else f"{m['ratio']:.3g}x",
            _interval(m.get("ratio_95")),
            _bounds(card["kpis"].get(name)),
            m["meaning"],
        )
        for name, m in card["measurements"].items()
    ]
    return _table(head, rows)


def _with_unit(m: Mapping[str, Any]) -> str:
    unit = "" if m["unit"] == "share" else f" {m['unit']}"
    return number(m["value"]) + unit + (UNSTABLE if m.get("unstable") else "")


def _share_95(name: str, m: Mapping[str, Any], rows: int) -> list[float] | None:
    """Of accuracy: of all rows, so many are right."""
    return list(share_interval(round(m["value"] * rows), rows)) if name == "accuracy" else None


def _exam(card: Mapping[str, Any]) -> list[str]:
    test = card.get("test")
    if test is None:
        return []
    lines = [f"The test split, which the search never saw, read once; speed in a fresh process: {exam_line(test)}."]
    if "accuracy_95" in test:
        own, base = (_interval([100 * end for end in test[key]]) for key in ("accuracy_95", "baseline_accuracy_95"))
        lines.append(f"Accuracy {own}%, the baseline's {base}% (95%, Wilson); McNemar's p = {test['mcnemar_p']:.3g}.")
    rows = [
        (name, number(m["value"]), "" if m["ratio"] is None else f"{m['ratio']:.3g}x", _interval(m.get("ratio_95")))
        for name, m in (test["scores"] | test["fresh"]).items()
    ]
    return [*lines, "", *_table(("measurement", "value", "ratio", "95%"), rows)]


def _lineage(card: Mapping[str, Any]) -> list[str]:
    found = {
        "study": card["study"],
        "trial": card["trial"],
        **card.get("lineage", {}),
        "recipe": card["recipe_fingerprint"],
        "data": card["data"]["fingerprint"],
        "seed": card["seed"],
        **{f"version of {name}": version for name, version in card["versions"].items()},
    }
    anew = f"`autoopt reproduce study={card['study']} trial={card['trial']}` makes it again."
    again = [] if is_baseline(card) else ["", anew]
    return [*_table(("what", "which"), [(key, f"`{value}`") for key, value in found.items()]), *again]


def _history(forced: Mapping[str, Any]) -> str:
    why = f"over: {forced['over']}. Reason given: {forced['why']}"
    return f"- Promoted by force by {forced['by']} on {forced['at']}, {why}"


def _told(row: Mapping[str, Any]) -> str:
    m = Measurement(row["value"], row["baseline"], unstable=row.get("unstable", False))
    return measured(m, Facts(row["unit"], True, row["meaning"]))


def _shape(shape: list[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _interval(ends: list[float] | None) -> str:
    return f"{number(ends[0])} to {number(ends[1])}" if ends else ""


def _bounds(kpi: Mapping[str, Any] | None) -> str:
    if kpi is None:
        return ""
    limits = [f"{key} {value:g}" for key, value in kpi.items() if key != "objective"]
    return ", ".join((["objective"] if kpi["objective"] else []) + limits)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """Markdown; a '|' in a cell would end it."""
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells]
