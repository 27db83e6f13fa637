"""What the runs of a study hold. Names, times and steps come from the study alone, never from the moment of writing: so
writing again writes the same, which MLflow keeps once.
"""

from collections.abc import Collection, Iterator, Sequence

from mlflow.entities import Metric

from autoopt.core.kpi import Kpi
from autoopt.core.slower import slower_than_float
from autoopt.core.standing import Standing, standing
from autoopt.core.trial import COMPLETE, FAILED, SCREENED, Trial

STATUS = {COMPLETE: "FINISHED", SCREENED: "KILLED", FAILED: "FAILED"}
PROGRESS = ("hypervolume", "feasible", "trials")


def run_name(trial: Trial) -> str:
    """Reads well in a list: number, student, scheme."""
    recipe = trial.recipe
    return f"{trial.number:04d} {recipe.student} {recipe.pruning} {recipe.quantization}".replace(
        " none none", " fp32"
    ).replace(" none", "")


def span_ms(trial: Trial) -> tuple[int, int]:
    """When it began and ended, in milliseconds since 1970."""
    spent_s = sum(trial.evaluation.seconds.values()) if trial.evaluation else 0.0
    return max(0, int((trial.ended_unix_s - spent_s) * 1000)), int(trial.ended_unix_s * 1000)


def own_tags(trial: Trial) -> dict[str, str]:
    """What is known of a trial once it has ended, and never changes."""
    tags = {"autoopt.trial": str(trial.number), "autoopt.state": trial.state}
    if trial.sibling_of is not None:
        tags["autoopt.sibling_of"] = str(trial.sibling_of)
    unstable = [name for name, measured in trial.measurements.items() if measured.unstable]
    if unstable:
        tags["autoopt.unstable"] = ", ".join(unstable)
    if trial.reason:
        reason = trial.reason[:4000]
        tags |= {"autoopt.reason": reason, "mlflow.note.content": f"**{trial.state}**: {reason}"}
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
    """Measurements, their ratios to the baseline, kpi_score, the learning curve and seconds by stage; of a screened
    or failed trial what was known by then."""
    if trial.evaluation is None:
        return []
    values = {name: measured.value for name, measured in trial.measurements.items()}
    values |= {f"{name}_ratio": m.ratio for name, m in trial.measurements.items() if m.ratio is not None}
    values |= {f"seconds_{stage}": seconds for stage, seconds in trial.evaluation.seconds.items()}
    if trial.state == COMPLETE:
        values["kpi_score"] = trial.score(kpis)
    _, ended = span_ms(trial)
    curve = enumerate(trial.evaluation.curve, start=1)
    return [
        *(Metric(name, value, ended, 0) for name, value in values.items()),
        *(Metric("epoch_quality", quality, ended, epoch) for epoch, quality in curve),
    ]


def progress(trials: Sequence[Trial], kpis: tuple[Kpi, ...], written: Collection[int]) -> Iterator[list[Metric]]:
    """How the study stood at the end of each trial whose number, the step, is not yet `written`."""
    # As they ended, which is not as they were numbered: a recipe may wait while others run. The baseline is first.
    order = sorted(trials, key=lambda trial: (trial.number > 0, trial.ended_unix_s, trial.number))
    for count, trial in enumerate(order, start=1):
        if trial.number not in written:
            then = standing(sorted(order[:count], key=lambda t: t.number), kpis)
            values = (then.hypervolume, len(then.feasible), count)
            ended = span_ms(trial)[1]
            yield [Metric(name, value, ended, trial.number) for name, value in zip(PROGRESS, values, strict=True)]


def _yes(condition: bool) -> str:
    return "true" if condition else "false"
