import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoopt.core import artifact
from autoopt.core.errors import ArtifactError
from autoopt.core.recipe import BASELINE
from tests.damage import damages


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


def test_a_file_that_was_added_is_named(folder: Path) -> None:
    (folder / "extra.py").write_text("x")
    with pytest.raises(ArtifactError, match=r"extra.py was added since .*manifest.json does not list it"):
        artifact.verify(folder)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "extra"])
def test_links_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((folder / name).read_bytes() if name != "extra" else b"x")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(ArtifactError, match=f"{name} is a link"):
        artifact.verify(folder)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "is damaged"),
        (b"\xff\xfe\0", "is damaged"),
        (b"[" * 10_000, "is damaged"),
        (b"[]", "is damaged"),
        (b'{"sha256": 5}', "is damaged"),
        (b'{"sha256": ["ab"]}', "does not list model.onnx|no file of its folder"),
        (b'{"sha256": {}}', "does not list model.onnx"),
        (b'{"sha256": {"../some.onnx": "x"}}', "lists '../some.onnx', which is no file of its folder"),
        (b'{"sha256": {"/etc/hostname": "x"}}', "lists '/etc/hostname', which is no file of its folder"),
        (b'{"sha256": {"..": "x"}}', "lists '..', which is no file of its folder"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder: Path, manifest: bytes, message: str) -> None:
    (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(ArtifactError, match=message):
        artifact.verify(folder)


def test_any_damage_is_refused(folder: Path) -> None:
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for path in damages(folder):
        if not path.is_file() or path.read_bytes() + b"\n" != whole[path]:  # the manifest says the same without
            with pytest.raises(ArtifactError, match=str(folder)):
                artifact.verify(folder)
        path.write_bytes(whole[path])
    assert artifact.verify(folder) == {"a": 1}


def test_several_writers_of_one_file_leave_one_of_their_texts(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: artifact.write_atomically(tmp_path / "x", str(n) * 1000), range(100)))
    assert len(set((tmp_path / "x").read_text())) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
