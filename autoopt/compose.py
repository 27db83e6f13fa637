"""From the shell to one resolved configuration: Hydra's composition, with errors that say what to type.

Apart from config.py so that a mistyped key is answered before torch is imported.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoopt.core.errors import ConfigError, one_line
from autoopt.core.lookup import suggestion


def conf_dir() -> Path:
    """conf/ inside the package (a wheel), else beside it (a checkout or an editable install)."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "conf"


def compose_config(overrides: list[str]) -> dict[str, Any]:
    """The resolved configuration as plain values. Raises ConfigError in the place of Hydra's errors."""
    _check_typed(overrides)
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose(
                "config",
                overrides=[*_lifted(overrides), *(part for override in overrides for part in _opened(override))],
            )
        plain = OmegaConf.to_container(config, resolve=True)
    except MissingConfigException as error:
        raise ConfigError(_unknown_option(str(error))) from error
    except ConfigCompositionException as error:
        raise ConfigError(_unknown_key(str(error), overrides)) from error
    except OverrideParseException as error:
        typed = (error.override or "").lstrip("+")
        raise ConfigError(_unreadable(typed)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"cannot resolve {one_line(error)}: type values that name no other key") from error
    except (HydraException, ValueError) as error:
        raise ConfigError(f"cannot compose {' '.join(overrides)}: {one_line(error)}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def with_local(saved: Mapping[str, Any], local: Sequence[str]) -> dict[str, Any]:
    """A configuration that was saved, with overrides of keys that differ on this machine. Raises ConfigError."""
    try:
        found = OmegaConf.merge(OmegaConf.create(dict(saved)), OmegaConf.from_dotlist(list(local)))
        plain = OmegaConf.to_container(found, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{' '.join(local)}: {one_line(error, 200)}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _check_typed(overrides: list[str]) -> None:
    """What Hydra takes in silence, or answers in words that do not say what to type. Raises ConfigError."""
    for override in overrides:
        key, _, value = override.partition("=")
        if not key.strip("+~ ") or key.startswith("hydra."):
            raise ConfigError(_unreadable(override))
        options = sorted(path.stem for path in (conf_dir() / key.lstrip("~")).glob("*.yaml"))
        is_list = key == "runtime" and value.startswith("[")
        is_name = bool(re.fullmatch(r"[A-Za-z]\w*", value)) and value != "null"
        if options and not is_list and (key.startswith("~") or not is_name):
            raise ConfigError(f"{override}: type {key.lstrip('~')}=NAME with one of {', '.join(options)}")


def _unreadable(typed: str) -> str:
    return f"cannot read {typed!r}: type KEY=VALUE without spaces around '=', 'KEY=[a,b]' or 'KEY={{low: 1, high: 2}}'"


def _lifted(overrides: list[str]) -> list[str]:
    """A budget limit that is typed replaces the default budget's: whoever types budget.until=07:00 wants the night."""
    limits = ("trials", "hours", "until", "plateau")
    typed = [
        limit for limit in limits for o in overrides if o.startswith(f"budget.{limit}=") and not o.endswith("=null")
    ]
    chosen = any(override.startswith("budget=") for override in overrides)
    return [f"budget.{limit}=null" for limit in limits if limit not in typed] if typed and not chosen else []


def _opened(override: str) -> list[str]:
    """KPIs and knobs are open tables: `kpis.X.max=1` may add what the defaults lack; `space.X=...` replaces, never
    merges. `runtime=[A,B]` is the file of A with both names: Hydra would merge the files, and B alone be left.
    """
    key, equals, value = override.partition("=")
    if key == "runtime" and value.startswith("[") and value.endswith("]"):
        names = [name.strip(" '\"") for name in value[1:-1].split(",")]
        return [f"runtime={names[0]}", f"runtime.name=[{','.join(names)}]"] if all(names) else ["runtime.name=[]"]
    if not equals or not key.startswith(("kpis.", "space.")):
        return [override]
    leaf = key.rpartition(".")[2]
    replaces = key.startswith("space.") and leaf not in ("low", "high", "log", "step")
    return [f"++{key}=null", f"++{key}={value}"] if replaces else [f"++{key}={value}"]


def _unknown_option(message: str) -> str:
    found = re.search(r"Could not find '([^/']+)/([^']*)'", message)
    options = re.findall(r"^\t(\S+)$", message, re.MULTILINE)
    if not found:
        return " ".join(message.split())
    options = [option for option in options if "=" not in option and not option.startswith("provider")]
    return f"unknown {found[1]} {found[2]!r}. {suggestion(found[2], options)}"


def _unknown_key(message: str, overrides: list[str]) -> str:
    found = re.search(r"Could not (?:override|append to config[^']*|delete from config\.) '([^']+)'", message)
    several = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^=']+)=([^']*)", message)
    if several and several[1] == "study":
        return f"study={several[2]}: one study at a time; side by side: autoopt compare study={several[2]}"
    if several:
        return f"{several[1]}={several[2]}: a study has one value of each key: type '{several[1]}=[A,B]' for a list"
    merging = re.search(r"Error merging override \+*(.+)$", message, re.MULTILINE)
    if merging:
        return f"{merging[1]} does not fit there: type {merging[1].partition('=')[0]}.KEY=VALUE"
    if not found:
        return " ".join(message.split()) + f" (overrides: {' '.join(overrides)})"
    parent, _, leaf = found[1].rpartition(".")
    known = compose_config(
        [o for o in overrides if re.match(r"(task|teacher|space|kpis|sampler|budget|runtime|tracking|engine)=\w+$", o)]
    )
    section: Any = known
    for part in parent.split(".") if parent else []:
        section = section.get(part) if isinstance(section, Mapping) else None
    if not isinstance(section, Mapping):
        return f"unknown key {found[1]!r}. {suggestion(parent.partition('.')[0], known)}"
    return f"unknown key {found[1]!r}. {suggestion(leaf, map(str, section))}"
