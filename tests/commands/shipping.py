"""What tests of promote, rollback and reproduce have in common: a small real study, its verbs, what it registered."""

import json
from pathlib import Path
from typing import Any

import pytest
from optuna import Study

from autoopt.champion.exam import EXAM
from autoopt.cli import main
from autoopt.commands.searched import as_searched
from autoopt.config import Settings, load_settings
from autoopt.core.artifact import sha256
from autoopt.search.study import load_study
from autoopt.tracking.registry import Registry
from autoopt.tracking.store import default_uri
from tests.tracking.stores import client_of

WIDE = ["kpis.accuracy.max_drop=0.9", "kpis.latency_p95_ms.max_ratio=50", "kpis.size_mb.max_ratio=0.4"]
SPACE = ["space=quantize_only", "space.quantization=[int8_static,int8_dynamic]", "space.calibration=[minmax,entropy]"]
STUDY = ["task=digits", "study=tiny", *SPACE, "budget.trials=3", "workers=0", "threads=1"]


def promote(outputs: Path, *words: str) -> int:
    return main(["promote", "study=tiny", f"outputs={outputs}", *words])


def rollback(outputs: Path) -> int:
    return main(["rollback", "task=digits", f"outputs={outputs}"])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


def registry_of(outputs: Path) -> Registry:
    return Registry(client_of(outputs), default_uri(outputs), "digits")


def files(outputs: Path, alias: str, into: Path) -> dict[str, str]:
    """sha256 of each file that whoever serves the alias gets."""
    found = registry_of(outputs)
    saved = found.download(found.aliases()[alias], into)
    return {str(path.relative_to(saved)): sha256(path) for path in sorted(saved.rglob("*")) if path.is_file()}


def document(outputs: Path) -> dict[str, Any]:
    return dict(json.loads((outputs / "tiny" / "champion" / "card.json").read_text()))


def others(outputs: Path) -> list[int]:
    """Feasible trials that are not the champion, which are kept."""
    champion = document(outputs)["trial"]
    kept = [int(path.name) for path in sorted((outputs / "tiny" / "trials").iterdir())]
    size = {n: json.loads((outputs / "tiny" / "trials" / f"{n:04d}" / "card.json").read_text()) for n in kept}
    return [n for n in kept if n not in (0, champion) and size[n]["measurements"]["size_mb"]["ratio"] < 0.4]


def pass_exam(outputs: Path, trial: int, **changes: Any) -> None:
    """As the champion has, which takes seconds."""
    study = load_study(outputs / "tiny", "tiny")
    exam = study.user_attrs[f"{EXAM}{document(outputs)['trial']}"]
    study.set_user_attr(f"{EXAM}{trial}", {**exam, **changes})


def searched_at(outputs: Path, *words: str) -> tuple[Settings, Study]:
    study = load_study(outputs / "tiny", "tiny")
    return as_searched(load_settings(["study=tiny", f"outputs={outputs}", *words]), study), study
