"""The champion's folder."""

from pathlib import Path

from optuna import Study

from autoopt.champion.exam import final_exam
from autoopt.core import artifact
from autoopt.core.errors import ArtifactError
from autoopt.core.kpi import Kpi
from autoopt.core.trial import Trial
from autoopt.pipeline import Bench


def crown(folder: Path, study: Study, trial: Trial, bench: Bench, kpis: tuple[Kpi, ...]) -> Path:
    """Take the trial's final exam if it was not taken, and write `folder`/champion: its artifact, the exam on the card.

    A champion folder that is there and whole is left alone.
    """
    source, target = artifact.trial_folder(folder, trial.number), folder / "champion"
    model = source / artifact.MODEL
    test = final_exam(study, trial.number, model, bench.baseline_path, bench.task, kpis, bench.open_session)
    card = {**artifact.verify(source), "test": test}
    try:
        if artifact.verify(target) == card:
            return target
    except ArtifactError:
        pass  # none yet, or another trial's, half written
    return artifact.write(target, model, trial.recipe, card, bench.task.files)
