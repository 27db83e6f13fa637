"""autoopt reproduce: a trial made again from its recipe alone, and compared with what the study says of it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from optuna import Study
from rich.table import Table

from autoopt.champion.card import UNKNOWN, make_card
from autoopt.champion.statistics import drop_interval
from autoopt.commands.conclude import stdout_console
from autoopt.commands.origin import cpu_of, gpu_of, measured_there
from autoopt.commands.searched import as_searched, bench_of, ended_trial, outcome_of, task_of
from autoopt.config import Settings
from autoopt.core import artifact
from autoopt.core.cpu import cpu_name
from autoopt.core.errors import ConfigError, TrialError, one_line
from autoopt.core.kpi import Interval, Measurement
from autoopt.core.trial import COMPLETE, Draft, Evaluation, Trial
from autoopt.measurements import FACTS, OF_QUALITY
from autoopt.measurements.quality import predict
from autoopt.pipeline import Bench, artifact_path, run_trial
from autoopt.report.words import number, recipe_line
from autoopt.search.lock import lock_study
from autoopt.search.study import load_study
from autoopt.training.loop import Hooks

REPRODUCED = "reproduced"
LATENCIES = ("latency_p50_ms", "latency_p95_ms")


@dataclass(frozen=True)
class Check:
    """One line of the comparison."""

    what: str
    recorded: str
    anew: str
    allowed: str
    holds: bool | None
    """None: it is told, and decides nothing."""


def reproduce(settings: Settings, *, local: Sequence[str] = ()) -> int:
    """0 where what decides holds, else 1: the size is the same, and the recorded drop of the task's metric lies within
    the 95% interval of the new one; on the CPU that the study was measured on, latency intervals that overlap.

    The new artifact is kept in `outputs`/STUDY/reproduced; the study does not change. Where the trial's own artifact
    is not kept any more and the new one is the same to the bit, as far as the record tells, it takes its place.
    `local`: overrides of keys that differ on this machine, such as task.path.
    """
    if settings.trial is None:
        raise ConfigError(f"which trial? type trial=N (autoopt report study={settings.study} names them)")
    study = load_study(settings.folder, settings.study, settings.storage)
    with lock_study(settings.folder, settings.study, settings.storage):
        searched = as_searched(settings, study, local)
        trial = _complete(searched, study)
        bench = bench_of(searched, study, task_of(searched, study))
        work = searched.folder / REPRODUCED / "work"
        shutil.rmtree(work, ignore_errors=True)  # a kill's
        try:
            return _compared(searched, study, trial, bench, work)
        except TrialError as error:
            print(f"trial {trial.number} could not be made again: {one_line(error)}")
            print(json.dumps({"study": searched.study, "trial": trial.number, "holds": False, "error": str(error)}))
            return 1
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _complete(searched: Settings, study: Study) -> Trial:
    trial = ended_trial(outcome_of(searched, study), int(searched.trial or 0))
    if trial.state != COMPLETE:
        reason = one_line(ValueError(trial.reason))
        raise ConfigError(f"trial {trial.number} has nothing to compare: it ended as {trial.state} ({reason})")
    return trial


def _compared(searched: Settings, study: Study, trial: Trial, bench: Bench, work: Path) -> int:
    evaluation, model = _make(trial, bench, work)
    checks = _checks(trial, evaluation, bench.task.goal.metric.name, _drop(bench, trial, model))
    latencies = _latencies(trial, evaluation, searched.measuring.max_spread)
    cpu, gpu = cpu_of(study), gpu_of(study)
    if cpu != cpu_name() or gpu != bench.conditions.get("gpu", ""):
        other = "on an unknown CPU" if cpu == UNKNOWN else f"on another machine, {gpu or cpu}"
        latencies = [replace(check, holds=None, allowed=f"measured {other}") for check in latencies]
    checks += latencies
    holds = all(check.holds is not False for check in checks)
    kept = searched.folder / REPRODUCED / f"{trial.number:04d}"
    comparison = {"holds": holds, "checks": [asdict(check) for check in checks]}
    card = _card(searched, trial, bench, model, evaluation)
    artifact.write(kept, model, trial.recipe, {**card, REPRODUCED: comparison}, bench.task.files)
    restored = _restore(searched, study, trial, evaluation, bench, model)
    _tell(trial, checks, holds, kept, restored)
    told = {"study": searched.study, "trial": trial.number, **comparison, "path": str(kept), "restored": restored}
    print(json.dumps(told), flush=True)
    return 0 if holds else 1


def _make(trial: Trial, bench: Bench, work: Path) -> tuple[Evaluation, Path]:
    """By the pipeline of the search. Structures are exported and measured anew, nothing is screened; but which layers
    a structure keeps in float was decided by its first trained model, and is taken over.
    """
    ours = replace(bench, structures=work / "structures")
    for ranking in bench.structures.glob(f"{_facts(trial).get('structure')}/ranking-*.json"):
        place = ours.structures / ranking.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(ranking, place)
    draft, made = Draft(trial.recipe), work / "made"
    made.mkdir(parents=True)

    def give_way() -> bool:
        bench.quiet.step()
        return False

    with bench.quiet.working():
        for _ in run_trial(draft, ours, made, Hooks(should_stop=give_way), admit=lambda measurements: None):
            pass  # it has no siblings
    if draft.error is not None:
        raise draft.error
    return draft.evaluation(), artifact_path(made, trial.recipe)


def _drop(bench: Bench, trial: Trial, model: Path) -> Interval | None:
    """95%, of the new artifact's drop against the baseline on the validation split."""
    split = bench.task.validation
    mine = predict(bench.open_session(model, trial.recipe), split.inputs.numpy())
    return drop_interval(bench.task.goal.metric, mine, bench.baseline_outputs, split.targets.numpy())


def _checks(trial: Trial, anew: Evaluation, metric: str, drop: Interval | None) -> list[Check]:
    before, after = trial.measurements, anew.measurements
    was, now = (_drop_of(found[metric]) for found in (before, after))
    weights, weights_now = (str(facts.get("weights_sha256"))[:12] for facts in (_facts(trial), anew.facts))
    size, size_now = (found["size_mb"].value for found in (before, after))
    within = was == now or (drop is not None and bool(drop[0] <= was <= drop[1]))
    told = "the same" if drop is None else f"{number(drop[0])} to {number(drop[1])} (95%)"
    return [
        Check("sha256 of the trained weights", weights, weights_now, "", None),
        Check("size_mb", number(size), number(size_now), "the same", size == size_now),
        Check(metric, number(before[metric].value), number(after[metric].value), "", None),
        Check(f"drop of {metric}", number(was), number(now), told, within),
    ]


def _latencies(trial: Trial, anew: Evaluation, spread: float) -> list[Check]:
    """Of the ratios to the baseline: they hold where their intervals overlap, or they differ by no more than
    `spread`, a share. On another CPU than the study's they decide nothing.
    """
    found = []
    for name in LATENCIES:
        before, after = trial.measurements.get(name), anew.measurements.get(name)
        if before is None or after is None or before.ratio is None or after.ratio is None:
            continue
        was, now = before.ratio, after.ratio
        (a, b), (c, d) = before.ratio_interval or (was, was), after.ratio_interval or (now, now)
        holds = (a <= d and c <= b) or abs(now / was - 1) <= spread
        allowed = f"{number(a)} to {number(b)} and {number(c)} to {number(d)} overlap, or {spread:.0%}"
        found.append(Check(f"{name}, ratio", number(was), number(now), allowed, holds))
    return found


def _drop_of(m: Measurement) -> float:
    return (m.baseline or 0.0) - m.value


def _facts(trial: Trial) -> dict[str, Any]:
    return dict(trial.evaluation.facts) if trial.evaluation else {}


def _card(searched: Settings, trial: Trial, bench: Bench, model: Path, evaluation: Evaluation) -> dict[str, Any]:
    return make_card(
        task=bench.task,
        recipe=trial.recipe,
        model=model,
        evaluation=evaluation,
        kpis=searched.kpis,
        facts=FACTS,
        runtime=bench.runtime_of(trial.recipe),
        baseline_runtime=searched.runtimes[0],
        threads=searched.runtime_threads,
        seed=searched.seed,
        study=searched.study,
        trial=trial.number,
        provider=bench.provider,
    )


def _restore(searched: Settings, study: Study, trial: Trial, anew: Evaluation, bench: Bench, model: Path) -> bool:
    """Where the trial's artifact is not kept, and this is it: the same weights, size and quality, to the bit. Its card
    tells what was measured then, and on which machine.
    """
    folder, recorded = artifact.trial_folder(searched.folder, trial.number), trial.evaluation
    assert recorded is not None
    names = {"size_mb", bench.task.goal.metric.name, *(OF_QUALITY & recorded.measurements.keys())}
    same = recorded.facts.get("weights_sha256") == anew.facts.get("weights_sha256") and all(
        recorded.measurements[name].value == anew.measurements[name].value for name in names
    )
    if not same or artifact.is_whole(folder):
        return False
    card = measured_there(study, _card(searched, trial, bench, model, recorded))
    artifact.write(folder, model, trial.recipe, card, bench.task.files)
    return True


def _tell(trial: Trial, checks: list[Check], holds: bool, kept: Path, restored: bool) -> None:
    told = Table(title=f"trial {trial.number}: {recipe_line(trial.recipe)}")
    for column in ("", "recorded", "anew", "allowed", "holds"):
        told.add_column(column)
    for check in checks:
        verdict = "" if check.holds is None else "yes" if check.holds else "NO"
        told.add_row(check.what, check.recorded, check.anew, check.allowed, verdict)
    stdout_console().print(told)
    print(f"trial {trial.number} {'is reproduced' if holds else 'is NOT reproduced'}: {kept}")
    if restored:
        print(f"its artifact was not kept, and this is the same: it is back in trials/{trial.number:04d}")
