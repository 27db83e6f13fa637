"""autoopt: overnight search for the best deployable version of a PyTorch model.

import autoopt

study = autoopt.optimize(autoopt.Task(model=..., train=..., validation=..., test=...), hours=1)
study.champion, study.trials()
autoopt.load_champion("outputs/STUDY/champion")
"""

from typing import TYPE_CHECKING, Any

from autoopt.core.errors import ArtifactError, AutooptError, ConfigError, TrialError

if TYPE_CHECKING:
    from autoopt.api import Champion, Study, load_champion, optimize
    from autoopt.tasks.user import UserTask as Task

__all__ = [
    "ArtifactError",
    "AutooptError",
    "Champion",
    "ConfigError",
    "Study",
    "Task",
    "TrialError",
    "__version__",
    "load_champion",
    "optimize",
]

__version__ = "0.1.0"


def __dir__() -> list[str]:
    """Also what is not imported yet: shells complete it."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for: `autoopt --help` does not wait for it."""
    if name == "Task":
        from autoopt.tasks.user import UserTask

        return UserTask
    if name in ("Champion", "Study", "load_champion", "optimize"):
        from autoopt import api

        return getattr(api, name)
    raise AttributeError(f"module 'autoopt' has no attribute {name!r}")
