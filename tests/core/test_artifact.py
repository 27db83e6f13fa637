import json
from pathlib import Path

import pytest

from autoopt.core import artifact
from autoopt.core.errors import ArtifactError
from autoopt.core.recipe import BASELINE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "some.onnx"
    model.write_bytes(b"weights")
    return artifact.write(tmp_path / "made", model, BASELINE, {"a": 1})


def test_a_whole_artifact_gives_its_card(folder: Path) -> None:
    assert artifact.verify(folder) == {"a": 1}
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "recipe.yaml", "card.json", "manifest.json"}
    assert set(json.loads((folder / "manifest.json").read_text())["sha256"]) == {
        "model.onnx",
        "recipe.yaml",
        "card.json",
    }


@pytest.mark.parametrize("name", ["model.onnx", "recipe.yaml", "card.json"])
def test_a_changed_or_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("changed")
    with pytest.raises(ArtifactError, match=name):
        artifact.verify(folder)
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        artifact.verify(folder)


def test_without_manifest_it_is_not_complete(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="manifest.json is missing"):
        artifact.verify(folder)


def test_writing_again_replaces_all_of_it(folder: Path, tmp_path: Path) -> None:
    (folder / "stray").write_text("x")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"other")
    artifact.write(folder, other, BASELINE, {"a": 2})
    assert artifact.verify(folder) == {"a": 2}
    assert not (folder / "stray").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "other.onnx", "some.onnx"]


def test_a_crash_between_the_renames_loses_neither(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        artifact.write(folder, tmp_path / "some.onnx", BASELINE, {"a": 2})
    assert artifact.verify(folder.with_name("made.old")) == {"a": 1}
    assert artifact.verify(folder.with_name("made.new")) == {"a": 2}
