"""From Python: `autoopt.optimize(task, kpis={...}, hours=...)`, the same search as the command line's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from autoopt.commands.bench import judged
from autoopt.commands.search import run
from autoopt.compose import compose_config
from autoopt.config import parse_settings
from autoopt.core.artifact import CHAMPION, MODEL, RECIPE, verify
from autoopt.core.errors import ArtifactError, ConfigError
from autoopt.core.recipe import Recipe
from autoopt.search.record import read_trials
from autoopt.search.study import load_study
from autoopt.tasks.custom import from_user
from autoopt.tasks.goal import CLASSIFICATION
from autoopt.tasks.user import UserTask

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Champion:
    model: Path
    """The ONNX file."""
    card: Mapping[str, Any]
    """What it is, what it measured beside the baseline, its final exam."""
    recipe: Recipe


def load_champion(folder: str | Path) -> Champion:
    """The champion in `folder`, such as outputs/STUDY/champion or a copy of it, of which each file is as it was
    written. Raises ArtifactError where one is changed, missing or added: such a folder is not to be served.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtifactError(f"there is no folder {folder}: give outputs/STUDY/champion, or a copy of it")
    if (folder / CHAMPION).is_dir():
        raise ArtifactError(f"{folder} is a study's folder: give {folder / CHAMPION}")
    try:
        card = verify(folder)
        recipe = Recipe.from_dict(yaml.safe_load((folder / RECIPE).read_text()))
    except (ArtifactError, ConfigError, yaml.YAMLError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, ArtifactError) else f"{folder / RECIPE} holds no recipe"
        raise ArtifactError(
            f"{reason}: do not serve it; copy the whole folder again, or type the command of its search again, which "
            "writes the champion anew"
        ) from error
    return Champion(folder / MODEL, card, recipe)


@dataclass(frozen=True)
class Study:
    """A study on disk: `folder` holds what the README says."""

    name: str
    folder: Path
    storage: str | None = None
    """The database of its record; None: a file in the folder."""

    @property
    def champion(self) -> Champion | None:
        """None where no trial meets every bound and beats the baseline. Raises ArtifactError: see `load_champion`."""
        folder = self.folder / CHAMPION
        return load_champion(folder) if folder.exists() else None

    def trials(self) -> "pd.DataFrame":
        """One row a trial: number, state, reason, sibling_of, the recipe's fields, measurements and their ratios."""
        import pandas as pd  # a second to import

        rows = []
        for trial in read_trials(load_study(self.folder, self.name, self.storage)):
            row: dict[str, Any] = {"trial": trial.number, "state": trial.state, "reason": trial.reason}
            row |= {"sibling_of": trial.sibling_of, **trial.recipe.to_dict()}
            row |= {name: m.value for name, m in trial.measurements.items()}
            row |= {f"{name}_ratio": m.ratio for name, m in trial.measurements.items()}
            rows.append(row)
        return pd.DataFrame(rows).set_index("trial")


def optimize(
    task: UserTask,
    kpis: Mapping[str, Mapping[str, Any]] | None = None,
    hours: float | None = None,
    overrides: Sequence[str] = (),
) -> Study:
    """Search for the best deployable version of the task's model, or go on with the search of the same study.

    `kpis`: {name: {"objective": True, "max_drop": 0.01}}, in the place of the defaults; `overrides` as on the command
    line, such as "study=mine", "budget.trials=40". All in this process, whose task other processes could not make:
    a recipe that crashes it ends the search. Raises ConfigError.
    """
    words = ["task=custom"] if task.kind == CLASSIFICATION else ["task=custom", "kpis=regression"]
    words += [] if hours is None else [f"budget.hours={hours}"]
    raw = compose_config([*words, *overrides])
    if any(word.startswith("workers=") and word != "workers=0" for word in overrides):
        raise ConfigError(
            f"workers={raw['workers']}: other processes cannot make a task that is given from Python: leave it out, or "
            "type autoopt workers=N task=custom task.factory=my_module:build"
        )
    raw["workers"] = 0
    if kpis is not None:
        raw["kpis"] = {name: dict(spec) for name, spec in kpis.items()}
    settings = parse_settings(raw)
    run(settings, judged(settings, from_user(task)))
    return Study(settings.study, settings.folder, settings.storage)
