"""The command line: a verb, then Hydra overrides. Heavy imports stay inside the verbs: --help answers at once."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

from autoopt import __version__
from autoopt.core.disk import is_full
from autoopt.core.errors import AutooptError, ConfigError, one_line
from autoopt.core.lookup import lookup
from autoopt.core.passwords import masked

if TYPE_CHECKING:
    from autoopt.config import Settings

FORCE = "--force"
HELP = """\
autoopt: overnight search for the best deployable version of a PyTorch model

usage: autoopt [VERB] [KEY=VALUE ...] [--debug]

verbs:
  search     search, score, log and export (the default verb); the same command again resumes
  worker     join a search that goes on, from this machine: study=NAME storage=URI as the search has them
  report     the study as it stands: table, report.html and one JSON document; also while it is searched
  compare    studies side by side: table, page and one JSON document; study=A,B
  sync       write what MLflow lacks of a study after an outage, nothing twice; --rebuild removes its runs first
  promote    register the study's champion, or trial=N, in MLflow: models:/TASK@champion serves it
  rollback   the champion before serves again, of task=NAME; twice is where you were
  reproduce  make trial=N of a study again, from its recipe alone, and compare
  doctor     check this machine, the packages, the configuration and one tiny trial

keys, each with what it is now (all of them: autoopt --cfg):
  task=fashion             what to learn                     digits (quick), intents, text_classification,
                                                             image_folder, onnx, custom (a model of your own)
  task.KEY=VALUE           its data                          task=custom task.factory=my_module:build
  space=fashion            what the search may change        space=quantize_only needs no training
  space.KNOB=VALUE         pin a knob                        space.quantization=int8_dynamic
                           narrow it                         'space.optimizer=[sgd,muon]'
                           give it a range                   'space.temperature={low: 1, high: 4}'
  kpis.NAME.KEY=VALUE      KEY: objective, min, max, max_drop, max_ratio, min_ratio, weight
                                                             kpis.latency_p95_ms.max_ratio=0.2
  budget=overnight         when to stop                      budget.hours=8 budget.trials=40 budget.until=07:00
                                                             budget.stop=kpis budget.plateau=50
  sampler=tpe              tpe, gp or random
  search.siblings=true     each rule of the search can be turned off: screens, bar, siblings, warm_start
  tracking=mlflow          mlflow or none                    tracking.uri=http://HOST:PORT
  runtime=onnxruntime      or openvino                       'runtime=[onnxruntime,openvino]' searches both
  runtime.threads=1        threads that serve one call
  device=auto              that trains: cpu or cuda          runtime.provider=auto: measures on cpu, cuda or tensorrt
  storage=URI              the study in PostgreSQL           postgresql+psycopg://USER:PASSWORD@HOST/DATABASE
  artifacts.uri=DIR        shared by several machines        artifacts.uri=s3://BUCKET/PREFIX
  engine=local             where workers run: local, ray     engine=ray engine.address=HOST:6379 workers=8
                           or slurm                          engine=slurm workers=8 engine.dry_run=true
  workers=1                processes that run trials         limits.trial_minutes=60 limits.trial_gb=8 limits.disk_gb=50
  trial=N  registry.model=NAME                               of promote and reproduce; the registered model's name
  study=NAME  seed=0  outputs=DIR  threads=N  experiment=PRESET

examples:
  autoopt                                                    about 3 minutes on 2 cores, nothing to download
  autoopt search kpis.latency_p95_ms.max_ratio=0.1 budget.hours=8 study=tenth
  autoopt report study=tenth
  autoopt compare study=tenth,fashion-s0
  autoopt promote study=tenth
  mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///outputs/mlflow.db

options:
  --rebuild    sync: remove the study's runs from MLflow and write all of them anew
  --force=WHY  promote: a trial that failed its exam or breaks a bound; who and why is recorded
  --cfg        print the resolved configuration and exit
  --debug      show the trace of an error
  --version    print the version and exit
  --help       print this and exit
"""

VERBS = ("search", "worker", "report", "compare", "sync", "promote", "rollback", "reproduce", "doctor")
FLAGS = ("--help", "-h", "--version", "--cfg", "--debug", "--rebuild", FORCE)
OF_A_TRIAL = ("promote", "reproduce")
ELSEWHERE = ("worker", *OF_A_TRIAL)
"""Verbs that may be typed on another machine than the search, where data lie elsewhere."""


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 done, 1 a bug, 2 wrong input, 130 and 143 after Ctrl-C and SIGTERM, 129 after SIGHUP."""
    flags = [word for word in argv if word.startswith("-")]
    words = [word for word in argv if not word.startswith("-")]
    debug = "--debug" in flags
    try:
        for flag in flags:
            if "=" in flag and not flag.startswith(f"{FORCE}="):
                raise ConfigError(f"{flag}: a key is typed without dashes: {flag.lstrip('-')}")
            lookup(dict.fromkeys(FLAGS), flag.partition("=")[0], "option")
        if "--help" in flags or "-h" in flags:
            print(HELP, end="")
            return 0
        if "--version" in flags:
            print(f"autoopt {__version__}")
            return 0
        if "=" in words:
            raise ConfigError("a '=' stands alone: type KEY=VALUE without spaces around '='")
        verb = words.pop(0) if words and "=" not in words[0] and not words[0].startswith(("~", "+")) else "search"
        lookup(dict.fromkeys(VERBS), verb, "verb")
        if words and re.fullmatch(r"[A-Za-z0-9][\w.-]*", words[0]):
            raise ConfigError(f"cannot read {words[0]!r}: type KEY=VALUE, such as autoopt {verb} study={words[0]}")
        if "--rebuild" in flags and verb != "sync":
            raise ConfigError(f"--rebuild belongs to sync, not to {verb}: type autoopt sync --rebuild study=NAME")
        asked = Asked("--cfg" in flags, "--rebuild" in flags, _reason(flags, verb))
        return _run(verb, words, asked)
    except AutooptError as error:
        if debug:
            _print_trace(type(error), error, error.__traceback__)
        print(f"autoopt: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("autoopt: interrupted: the same command again goes on, or says what is done", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        from autoopt.search.patience import passing  # brings sqlalchemy

        reason, first = passing(error), "make room, " if is_full(error) else ""
        if reason is None:
            raise
        if debug:
            _print_trace(type(error), error, error.__traceback__)
        told = masked(one_line(error, 200))
        print(f"autoopt: {reason} ({told}): {first}the same command goes on", file=sys.stderr)
        return 1


def entry() -> int:
    """The console script. A bug ends with its trace, like any other Python program, but without passwords."""
    sys.excepthook = _print_trace
    return main(sys.argv[1:])


def _print_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(masked("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


@dataclass(frozen=True)
class Asked:
    """By options."""

    show_config: bool
    rebuild: bool
    force: str | None
    """The reason."""


def _reason(flags: Sequence[str], verb: str) -> str | None:
    """Of --force. Raises ConfigError where there is none."""
    given = next((flag for flag in flags if flag.partition("=")[0] == FORCE), None)
    if given is None:
        return None
    if verb != "promote":
        raise ConfigError(f"{FORCE} belongs to promote, not to {verb}")
    reason = given.partition("=")[2].strip()
    if not reason:
        raise ConfigError(f"{FORCE} needs a reason, which is recorded: type {FORCE}='why it is promoted all the same'")
    return reason


def _run(verb: str, overrides: Sequence[str], asked: Asked) -> int:
    # Read by OpenMP when torch is imported. Its default, spinning, costs 17x where two processes share the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from autoopt.commands.reading import READERS, check_keys, split_local, split_studies
    from autoopt.compose import compose_config

    studies: list[str] = []
    local: list[str] = []
    if verb in READERS:
        check_keys(verb, overrides)
    if verb == "compare":
        overrides, studies = split_studies(overrides)
    if verb in ELSEWHERE:
        overrides, local = split_local(overrides)
    raw = compose_config(list(overrides))  # a mistyped key is answered before torch is imported
    from autoopt.commands.logs import quiet
    from autoopt.config import parse_settings

    settings = parse_settings(raw)
    if asked.show_config:
        return _print_config(settings)
    if settings.trial is not None and verb not in OF_A_TRIAL:
        raise ConfigError(f"trial={settings.trial} belongs to {' and '.join(OF_A_TRIAL)}, not to {verb}: leave it out")
    quiet()
    run: Callable[..., int] = getattr(import_module(f"autoopt.commands.{verb}"), verb)
    more: dict[str, dict[str, Any]] = {
        "compare": {"names": studies},
        "sync": {"rebuild": asked.rebuild},
        "worker": {"local": local},
        "promote": {"force": asked.force, "local": local},
        "reproduce": {"local": local},
    }
    return run(settings, **more.get(verb, {}))


def _print_config(settings: "Settings") -> int:
    from autoopt.commands.saved import config_text

    print(config_text(settings.raw), end="")
    return 0
