"""What the runs of a study hold. Names, times and steps come from the study alone, never from the moment of writing: so
writing again writes the same, which MLflow keeps once.
"""

from mlflow.entities import Metric

from autoopt.core.kpi import Kpi
from autoopt.core.markdown import escaped
from autoopt.core.recipe import Recipe
from autoopt.core.slower import slower_than_float
from autoopt.core.standing import Standing
from autoopt.core.trial import COMPLETE, FAILED, HOST, SCREENED, Trial

STATUS = {COMPLETE: "FINISHED", SCREENED: "KILLED", FAILED: "FAILED"}
LATENCY = "latency_p95_ms"
QUALITIES = {
    "accuracy": ("acc", 100, 1),
    "macro_f1": ("f1", 100, 1),
    "r2": ("r2", 1, 4),
    "quality": ("quality", 1, 4),
}
"""Of the task's metric: how a name spells it, times what, to how many digits. The first that is there is told."""


def run_name(trial: Trial) -> str:
    """Reads well in a list: '0042 bow int8_static p95 0.08 ms acc 95.9'; else, how it ended."""
    head = f"{trial.number:04d} {_model(trial.recipe)}"
    if trial.state != COMPLETE:
        return f"{head} {trial.state}"
    latency = trial.measurements.get(LATENCY)
    told = [f"p95 {latency.value:.3g} ms"] if latency else []
    quality = next((name for name in QUALITIES if name in trial.measurements), None)
    if quality:
        short, scale, digits = QUALITIES[quality]
        told.append(f"{short} {scale * trial.measurements[quality].value:.{digits}f}")
    return " ".join([head, *told])


def _model(recipe: Recipe) -> str:
    """Student, what was pruned of it, scheme and, where the study has several, runtime."""
    parts = [recipe.student if recipe.width is None else f"{recipe.student} x{recipe.width:g}"]
    if recipe.layers is not None:
        parts.append(f"{recipe.layers}L")
    if recipe.pruning not in ("none", "depth"):
        share = recipe.pruning_ratio or recipe.sparsity
        short = recipe.pruning.replace("unstructured_", "sparse_").removeprefix("structured_")
        parts += [short, *([f"{share:g}"] if share else [])]
    parts += ["fp32" if recipe.quantization == "none" else recipe.quantization, *filter(None, [recipe.runtime])]
    return " ".join(parts)


def span_ms(trial: Trial) -> tuple[int, int]:
    """When it began and ended, in milliseconds since 1970."""
    spent_s = sum(trial.evaluation.seconds.values()) if trial.evaluation else 0.0
    return max(0, int((trial.ended_unix_s - spent_s) * 1000)), int(trial.ended_unix_s * 1000)


def own_tags(trial: Trial) -> dict[str, str]:
    """What is known of a trial once it has ended, and never changes."""
    tags = {"autoopt.trial": str(trial.number), "autoopt.state": trial.state}
    if trial.sibling_of is not None:
        tags["autoopt.sibling_of"] = str(trial.sibling_of)
    if trial.evaluation and (host := trial.evaluation.facts.get(HOST)):
        tags["autoopt.host"] = str(host)
    unstable = [name for name, measured in trial.measurements.items() if measured.unstable]
    if unstable:
        tags["autoopt.unstable"] = ", ".join(unstable)
    if trial.reason:
        reason = trial.reason[:4000]
        tags |= {"autoopt.reason": reason, "mlflow.note.content": f"**{trial.state}**: {escaped(reason)}"}
    return tags


def place_tags(now: Standing) -> dict[int, dict[str, str | None]]:
    """By trial, what other trials change: feasible, pareto, rank. None: the tag is not there."""
    feasible = {trial.number for trial in now.feasible}
    slower = slower_than_float(now.trials)
    rank = {trial.number: place for place, trial in enumerate(now.front, start=1)}
    return {
        number: {
            "autoopt.feasible": _yes(number in feasible),
            "autoopt.pareto": _yes(number in rank),
            "autoopt.rank": str(rank.get(number, "")),
            "autoopt.slower_than_fp32": f"{slower[number]:.2f}x" if number in slower else None,
        }
        for number in (trial.number for trial in now.trials)
    }


def metrics(trial: Trial, kpis: tuple[Kpi, ...]) -> list[Metric]:
    """Measurements, kpi_score, the learning curve and seconds; of a screened or failed trial what was known by then.
    Ratios to the baseline are those of the KPIs that have a use for one: a table of MLflow has room for sixty columns.
    """
    if trial.evaluation is None:
        return []
    values = {name: measured.value for name, measured in trial.measurements.items()}
    values |= ratios(trial, kpis)
    seconds = trial.evaluation.seconds
    values |= {"seconds_total": sum(seconds.values()), "seconds_train": seconds.get("train", 0.0)}
    if trial.state == COMPLETE:
        values["kpi_score"] = trial.score(kpis)
    _, ended = span_ms(trial)
    curve = enumerate(trial.evaluation.curve, start=1)
    return [
        *(Metric(name, value, ended, 0) for name, value in values.items()),
        *(Metric("epoch_quality", quality, ended, epoch) for epoch, quality in curve),
    ]


def ratios(trial: Trial, kpis: tuple[Kpi, ...]) -> dict[str, float]:
    """Of sizes, times and rates; of a quality it is the difference that tells."""
    found = {kpi.name: trial.measurements.get(kpi.name) for kpi in kpis if kpi.of_structure}
    return {f"{name}_ratio": m.ratio for name, m in found.items() if m is not None and m.ratio is not None}


def _yes(condition: bool) -> str:
    return "true" if condition else "false"
