"""What promote and rollback have in common: aliases move, and what is told of them is true whatever is lost."""

import shlex
from typing import TYPE_CHECKING

from autoopt.core.errors import AutooptError, one_line
from autoopt.core.passwords import masked

if TYPE_CHECKING:
    from autoopt.tracking.registry import Aliases, Registry


def move(registry: "Registry", to: "Aliases", seen: "Aliases", what: str) -> "Aliases":
    """The aliases afterwards. Raises AutooptError where they have not moved, or nobody can tell, and says which."""
    from autoopt.tracking.registry import CHAMPION
    from autoopt.tracking.view import TROUBLE

    try:
        registry.move(to, seen, what)
        return registry.aliases()
    except TROUBLE as error:
        now, why = registry.after_trouble(), one_line(error, 160)
        if now is None:
            raise AutooptError(
                f"MLflow answers no more ({why}…), and whether models:/{registry.name}@champion is version "
                f"{to[CHAMPION]} by now or {seen.get(CHAMPION, 'none')} as before is not known: look first, by "
                f"{how_to_see(registry)}"
            ) from error
        if {**seen, **to}.items() <= now.items():
            print(f"MLflow ended with an error ({why}…), but the aliases have moved: they were read again")
            return now
        raise AutooptError(
            f"MLflow did not move the aliases ({why}…): models:/{registry.name}@champion is version "
            f"{now.get(CHAMPION, 'none')}. Is it up at {masked(registry.uri)}? Then type the same again"
        ) from error


def how_to_see(registry: "Registry") -> str:
    """A command that prints the aliases."""
    code = f"from mlflow import MlflowClient as C; print(C().get_registered_model({registry.name!r}).aliases)"
    return f"{of_registry(registry.uri)} python -c {shlex.quote(code)}"


def of_registry(uri: str) -> str:
    """What comes before a command of MLflow's."""
    return f"MLFLOW_TRACKING_URI={shlex.quote(masked(uri))}"
