"""An artifact on disk: a folder whose manifest is written last, so that its presence means complete."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.core.errors import ArtifactError
from autoopt.core.recipe import Recipe

MODEL, RECIPE, CARD, MANIFEST = "model.onnx", "recipe.yaml", "card.json", "manifest.json"
CHAMPION = "champion"
"""The folder of a study's champion."""


def write(
    folder: Path, model: Path, recipe: Recipe, card: Mapping[str, Any], files: Mapping[str, bytes] | None = None
) -> Path:
    """Copy the model and write recipe, card, other files and manifest into `folder`, in the place of what was there.

    A crash leaves the old artifact, the new one, or (between two renames) both beside the place, never half of one.
    """
    fresh, old = (folder.with_name(folder.name + ending) for ending in (".new", ".old"))
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copyfile(model, fresh / MODEL)
    (fresh / RECIPE).write_text(recipe.to_yaml())
    (fresh / CARD).write_text(json.dumps(card, indent=2) + "\n")
    for name, content in (files or {}).items():
        (fresh / name).write_bytes(content)
    sums = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
    write_atomically(fresh / MANIFEST, json.dumps({"sha256": sums}, indent=2) + "\n")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def trial_folder(study_folder: Path, number: int) -> Path:
    """Where the artifact of a trial is kept, while it is."""
    return study_folder / "trials" / f"{number:04d}"


def verify(folder: Path) -> dict[str, Any]:
    """The card of a complete, unchanged artifact, which holds what its manifest lists and nothing else. Raises
    ArtifactError, naming the file.
    """
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder} is not a complete artifact: {MANIFEST} is missing")
    found = {path.name: path for path in sorted(folder.iterdir())}
    for path in found.values():
        if path.is_symlink():
            raise ArtifactError(f"{path} is a link: an artifact holds its files itself")
    sums = _sums(folder / MANIFEST)
    for name, digest in sums.items():
        if name not in found or not found[name].is_file() or sha256(found[name]) != digest:
            raise ArtifactError(f"{folder / name} is missing or changed since it was written")
    for name in found.keys() - sums.keys() - {MANIFEST}:
        raise ArtifactError(f"{folder / name} was added since the artifact was written: {MANIFEST} does not list it")
    return dict(json.loads((folder / CARD).read_text()))


def is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except ArtifactError:
        return False
    return True


def _sums(manifest: Path) -> dict[str, str]:
    """File -> digest. Raises ArtifactError where that is not what the manifest says, or a file is not in its folder."""
    try:
        sums = dict(json.loads(manifest.read_bytes())["sha256"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{manifest} is damaged: it is no manifest") from error
    for name in sums:
        if name in ("", ".", "..", MANIFEST) or set(name) & set("/\\"):
            raise ArtifactError(f"{manifest} lists {name!r}, which is no file of its folder")
    for name in (MODEL, RECIPE, CARD):
        if name not in sums:
            raise ArtifactError(f"{manifest} does not list {name}")
    return sums


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """A reader, or a crash, sees the old file or the new one, never half of one, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    try:
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
