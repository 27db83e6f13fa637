"""What is kept is read back as it was written, or made again."""

import json
import multiprocessing
from pathlib import Path

import pytest

from autoopt.core import sealed
from autoopt.core.sealed import SUMS, is_whole, read_json, write_folder, write_json
from tests.damage import damages, replace, ways

CONTENT = {"conditions": {"cpu": "x", "threads": 1}, "damage": {"b": 0.25, "a": 1e-7}}


def fill(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(range(256)))
    (folder / "b.txt").write_text("text")


def test_json_comes_back_in_its_order(tmp_path: Path) -> None:
    write_json(tmp_path / "x" / "kept.json", CONTENT)
    assert read_json(tmp_path / "x" / "kept.json") == CONTENT
    assert list(read_json(tmp_path / "x" / "kept.json")["damage"]) == ["b", "a"]
    assert read_json(tmp_path / "none.json") is None
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["kept.json"]


def test_any_flipped_bit_and_any_truncation_of_json_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kept.json"
    write_json(path, CONTENT)
    whole = path.read_bytes()
    broken = [whole[:end] for end in range(len(whole))]
    broken += [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in range(8)
    ]
    for content in broken:
        path.write_bytes(content)
        assert read_json(path) in (None, CONTENT), "a space may have become another kind of space"
    assert f"{path} is damaged: it is made again" in caplog.text
    for content in ways(whole):
        path.write_bytes(content)
        assert read_json(path) is None


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"{}", b'{"sha256": 1, "content": 2}', b"[" * 10_000, b"\xff\xfe\0"]
)
def test_json_of_something_else_is_not_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_bytes(content)
    assert read_json(tmp_path / "kept.json") is None


def test_any_damage_of_a_folder_is_noticed_and_repaired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "kept"
    assert not is_whole(place)
    assert caplog.text == "", "what is not there is not damaged"
    write_folder(place, fill)
    assert is_whole(place)
    for path in damages(place):
        caplog.clear()
        assert not is_whole(place), path
        assert f"{path} is damaged: it is made again" in caplog.text
        write_folder(place, fill)
        assert is_whole(place)
        assert (place / "a.bin").read_bytes() == bytes(range(256))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_file_more_is_damage_too(tmp_path: Path) -> None:
    write_folder(tmp_path / "kept", fill)
    (tmp_path / "kept" / "c.txt").write_text("x")
    assert not is_whole(tmp_path / "kept")


@pytest.mark.parametrize("sums", ["[]", "null", '{"a.bin": null, "b.txt": 1}', '{"../x": "y"}'])
def test_sums_of_something_else_are_damage(sums: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "kept", fill)
    (tmp_path / "kept" / SUMS).write_text(sums)
    assert not is_whole(tmp_path / "kept")


def test_a_file_in_the_place_of_the_folder_gives_way(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    assert not is_whole(tmp_path / "kept")
    write_folder(tmp_path / "kept", fill)
    assert is_whole(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_is_interrupted_is_not_there(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "a.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "kept", half)
    assert list(tmp_path.iterdir()) == []


def test_whoever_is_first_wins(tmp_path: Path) -> None:
    def slow(folder: Path) -> None:
        write_folder(tmp_path / "kept", fill)
        (folder / "late.txt").write_text("late")

    write_folder(tmp_path / "kept", slow)
    assert not (tmp_path / "kept" / "late.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_whole_folder_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    write_folder(tmp_path / "kept", fill)

    def other(folder: Path) -> None:
        (folder / "b.txt").write_text("other")

    write_folder(tmp_path / "kept", other, lambda place: is_whole(place) and (place / "b.txt").read_text() == "other")
    assert sorted(json.loads((tmp_path / "kept" / SUMS).read_text())) == ["b.txt"]


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "kept", fill)
    assert is_whole(tmp_path / "kept")
    real, hashed = sealed.sha256, []
    monkeypatch.setattr(sealed, "sha256", lambda path: hashed.append(path.name) or real(path))
    assert is_whole(tmp_path / "kept")
    assert hashed == []
    replace(tmp_path / "kept" / "b.txt", b"text")
    assert is_whole(tmp_path / "kept")
    assert hashed == ["b.txt"]


def _write(place: Path, number: int) -> None:
    def some(folder: Path) -> None:
        (folder / "a.bin").write_bytes(bytes([number]) * 100_000)

    for _ in range(20):
        write_json(place.with_suffix(".json"), [number] * 1000)
        if not is_whole(place):
            write_folder(place, some)
        assert is_whole(place)
        assert len(set(read_json(place.with_suffix(".json")))) == 1


def test_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write, args=(tmp_path / "kept", number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "kept.json"]
