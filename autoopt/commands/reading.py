"""What the verbs take that read a study: its name, and where it is. All else is the study's own."""

from collections.abc import Mapping, Sequence

from autoopt.core.errors import ConfigError
from autoopt.core.lookup import suggestion

READERS: Mapping[str, tuple[str, ...]] = {
    "worker": (
        *("study", "outputs", "storage", "host", "workers", "threads", "device", "tracking", "artifacts"),
        *("limits", "task", "teacher"),
    ),
    "report": ("study", "outputs", "storage", "task", "seed"),
    "compare": ("study", "outputs", "storage"),
    "sync": ("study", "outputs", "storage", "task", "seed", "tracking"),
    "promote": (
        *("study", "trial", "outputs", "storage", "artifacts", "task", "teacher", "seed", "host"),
        *("registry", "tracking"),
    ),
    "rollback": ("task", "outputs", "registry", "tracking"),
    "reproduce": ("study", "trial", "outputs", "storage", "artifacts", "task", "teacher", "seed", "host"),
}
"""Keys by verb; 'tracking' stands for all of its own. Task and seed give a study its name where none is typed."""


def check_keys(verb: str, overrides: Sequence[str]) -> None:
    """Raises ConfigError at a key that the verb would read past: whoever types it expects it to do something."""
    if verb == "worker":
        _check_worker(overrides)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key.partition(".")[0] not in READERS[verb]:
            raise ConfigError(
                f"{verb}, which reads a study as it was searched: unknown key {key!r}. {suggestion(key, READERS[verb])}"
            )
    if verb == "rollback" and not {override.partition("=")[0] for override in overrides} & {"task", "registry.model"}:
        raise ConfigError("rollback of which task? Type task=NAME, or registry.model=NAME as it was promoted")


def _check_worker(overrides: Sequence[str]) -> None:
    typed = {override.partition("=")[0] for override in overrides}
    if "study" not in typed:
        raise ConfigError("worker of which study? Type autoopt worker study=NAME storage=…, as the search has them")
    if "engine" in typed:
        raise ConfigError("worker, which has workers of its own machine: type engine=NAME with autoopt search")
    for group in ("task", "teacher"):
        if group in typed:
            raise ConfigError(
                f"worker, which takes the {group} of the study: of {group}=NAME only keys may differ here, such as "
                f"{'task.path=FOLDER' if group == 'task' else 'teacher.checkpoint=FILE'}"
            )


def split_local(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keys of the study's task and teacher, which differ on this machine, from all others. With a task that is typed,
    its keys are its own.
    """
    groups = ("teacher.",) if any(override.startswith("task=") for override in overrides) else ("task.", "teacher.")
    local = [override for override in overrides if override.startswith(groups)]
    return [override for override in overrides if override not in local], local


def split_studies(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides with the first study alone, and all studies: 'study=a,b', which Hydra would read as a sweep, or
    'study=[a,b]'. Raises ConfigError where there are not two different ones.
    """
    given = [override for override in overrides if override.startswith("study=")]
    rest = [override for override in overrides if override not in given]
    names = [name.strip(" '\"") for name in given[-1].partition("=")[2].strip("[]").split(",")] if given else []
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        typed = given[-1] if given else "no study"
        raise ConfigError(f"{typed}: compare needs two different studies or more: type autoopt compare study=A,B")
    return [*rest, f"study={names[0]}"], names
