"""Objects by their content: sent once, whole or not there, never read damaged."""

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from autoopt.artifacts import trouble
from autoopt.artifacts.store import Store, open_store
from autoopt.artifacts.trouble import ATTEMPTS, DamagedError, MissingError, StoreError, patiently
from autoopt.core.artifact import sha256
from autoopt.core.errors import ConfigError, Interrupted
from autoopt.core.sealed import SUMS, is_whole, write_folder
from tests.damage import ways

CONTENT = b"a model" * 1000


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    uris = {"folder": f"{tmp_path}/sh a[r]ed", "file": f"file://{tmp_path}/shared", "memory": "memory://shared/prefix"}
    yield Store(uris[request.param])
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(CONTENT)
    return tmp_path / "model.onnx"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that somebody wanted to wait."""
    found: list[float] = []
    monkeypatch.setattr(trouble.time, "sleep", found.append)
    return found


def files(store: Store) -> dict[str, bytes]:
    """All that the store holds, by path below the URI."""
    system, root = fsspec.core.url_to_fs(store.uri)
    return {path.removeprefix(root).lstrip("/"): system.cat_file(path) for path in system.find(root)}


def change(store: Store, where: str, content: bytes) -> None:
    system, root = fsspec.core.url_to_fs(store.uri)
    system.pipe_file(f"{root}/{where}", content)


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """What the file systems are asked by that method."""
    calls: list[Any] = []

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return real(*args, **kwargs)

        return count

    for system in (LocalFileSystem, MemoryFileSystem):
        monkeypatch.setattr(system, name, counting(getattr(system, name)))
    return calls


def test_what_is_put_is_got_and_sent_once(
    store: Store, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = counted(monkeypatch, "put_file")
    digest = store.put(model)
    assert digest == sha256(model)
    assert files(store) == {f"objects/{digest[:2]}/{digest}": CONTENT}
    assert Store(store.uri).put(model) == digest
    assert len(sent) == 1
    Store(store.uri).get(digest, tmp_path / "new" / "place.onnx")
    assert (tmp_path / "new" / "place.onnx").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["place.onnx"]
    assert store.has(digest)
    assert store.has(digest, len(CONTENT))
    assert not store.has(digest, 1)
    assert not store.has("0" * 64)


def test_no_damage_of_an_object_gets_through_and_it_may_be_put_again(store: Store, model: Path, tmp_path: Path) -> None:
    digest = store.put(model)
    place, where = tmp_path / "place.onnx", f"objects/{digest[:2]}/{digest}"
    for content in ways(CONTENT):
        change(store, where, content)
        with pytest.raises(DamagedError, match=f"object {digest} of artifacts.uri=.* was damaged, and is removed"):
            store.get(digest, place)
        assert not place.exists()
        with pytest.raises(MissingError, match=f"has no objects/../{digest}"):
            store.get(digest, place)
        assert store.put(model) == digest
        store.get(digest, place)
        assert place.read_bytes() == CONTENT
        place.unlink()
    assert list(tmp_path.glob("*.new")) == []


def test_half_an_object_is_sent_again(store: Store, model: Path, tmp_path: Path) -> None:
    digest = store.put(model)
    change(store, f"objects/{digest[:2]}/{digest}", CONTENT[:10])
    store.put(model)
    assert list(files(store).values()) == [CONTENT]


def test_nobody_sees_half_of_an_object(store: Store, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the sending: there is the whole object, or none of its name."""
    digest = sha256(model)

    def cut(self: Any, source: str, place: str, **_: Any) -> None:
        with self.open(place, "wb") as file:
            file.write(CONTENT[:10])
        assert not store.has(digest)
        raise Interrupted("stopped")

    for system in (LocalFileSystem, MemoryFileSystem):
        monkeypatch.setattr(system, "put_file", cut)
    with pytest.raises(Interrupted):
        store.put(model)
    assert files(store) == {}


def test_many_who_put_and_get_at_once_do_not_disturb_each_other(model: Path, tmp_path: Path) -> None:
    """Not in memory, where fsspec's files are not for several threads."""
    store, digest, failed = Store(f"{tmp_path}/shared"), sha256(model), []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                store.put(model)
                store.get(digest, tmp_path / f"{number}.onnx")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(files(store).values()) == [CONTENT]


def write(fresh: Path) -> None:
    (fresh / "weights").write_bytes(CONTENT)
    (fresh / "card.json").write_text("{}")


def test_a_folder_is_fetched_whole(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    assert not store.get_folder("teachers/x", theirs)
    write_folder(mine, write)
    assert store.put_folder("teachers/x", mine)
    sent = counted(monkeypatch, "put_file")
    assert store.put_folder("teachers/x", mine)
    assert sent == []
    assert Store(store.uri).get_folder("teachers/x", theirs)
    assert is_whole(theirs)
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == {
        path.name: path.read_bytes() for path in mine.iterdir()
    }
    (theirs / "weights").write_bytes(b"x")
    assert store.get_folder("teachers/x", theirs)
    assert is_whole(theirs)


def test_of_two_folders_the_first_stays_while_it_is_complete(store: Store, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_folder(first, write)
    write_folder(second, lambda fresh: (fresh / "weights").write_bytes(b"others") and None)
    assert store.put_folder("x", first)
    assert not store.put_folder("x", second)
    store.remove(f"objects/{sha256(first / 'weights')[:2]}/{sha256(first / 'weights')}")
    assert not store.get_folder("x", tmp_path / "third")
    assert not (tmp_path / "third").exists()
    assert store.put_folder("x", second)
    assert store.get_folder("x", tmp_path / "third")
    assert (tmp_path / "third" / "weights").read_bytes() == b"others"


def test_no_damage_of_a_folders_list_gets_through(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine, there = tmp_path / "mine", "folders/x.json"
    write_folder(mine, write)
    store.put_folder("x", mine)
    whole = files(store)[there]
    lists = [
        *ways(whole),
        b"[]",
        b"null",
        b'{"files": {"../evil": ["ab", 1]}}',
        b'{"files": {"%s": ["a", 1]}}' % SUMS.encode(),
    ]
    for number, content in enumerate(lists):
        change(store, there, content)
        place = tmp_path / f"place{number}"
        assert not store.get_folder("x", place) or (place / "weights").read_bytes() == CONTENT
        assert not (tmp_path / "evil").exists()
        assert store.put_folder("x", mine)
        assert files(store)[there] == whole
    assert f"{there} of artifacts.uri={store.uri} is damaged: it is made again" in caplog.text


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TimeoutError(), OSError(errno.EIO, "error 500")])
def test_what_passes_is_tried_again(error: Exception, waits: list[float]) -> None:
    asked: list[int] = []

    def do() -> str:
        asked.append(1)
        if len(asked) < ATTEMPTS:
            raise error
        return "there"

    assert patiently("it is away", do) == "there"
    assert len(waits) == ATTEMPTS - 1
    assert waits == sorted(waits), "longer each time"
    with pytest.raises(StoreError, match=r"it is away \("):
        patiently("it is away", lambda: (_ for _ in ()).throw(error))


class NoCredentialsError(Exception):
    """As botocore has one."""


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), NoCredentialsError("none"), OSError(errno.EINVAL, "no")]
)
def test_what_would_come_again_is_told_at_once(error: Exception, waits: list[float]) -> None:
    def do() -> None:
        raise error

    with pytest.raises(StoreError, match=r"it is away \((no|none)"):
        patiently("it is away", do)
    assert waits == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), Interrupted("stopped"), TypeError("a bug")])
def test_what_is_no_trouble_of_the_store_stays_what_it_is(error: Exception) -> None:
    def do() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        patiently("it is away", do)
    assert raised.value is error


def test_no_password_is_in_a_message() -> None:
    def do() -> None:
        raise PermissionError("GET https://user:secret@host/b?X-Amz-Signature=secret&token=secret was refused")

    with pytest.raises(StoreError) as raised:
        patiently("it is away", do)
    assert "secret" not in str(raised.value)
    assert "https://user:***@host" in str(raised.value)


def test_a_store_is_checked_by_writing_and_reading(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.check()
    store.check()
    assert list(files(store)) == ["autoopt.txt"]
    monkeypatch.setattr(Store, "read", lambda *_: b"something else")
    with pytest.raises(ConfigError, match=r"cannot be written and read back \(what was written was not what is read\)"):
        store.check()


def test_a_folder_that_is_forbidden_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    def forbid(self: Any, path: str, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)  # root, who runs the tests, may write anywhere

    monkeypatch.setattr(LocalFileSystem, "makedirs", forbid)
    with pytest.raises(ConfigError, match=r"locked/x cannot be written and read back \(Permission denied\): check"):
        Store(f"{tmp_path}/locked/x").check()
    assert waits == []


def test_after_a_failure_nobody_waits_long_until_it_works_again(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("away")

    store = Store(str(tmp_path / "shared"))
    for _ in range(2):
        with monkeypatch.context() as away:
            away.setattr(LocalFileSystem, "put_file", fail)
            away.setattr(LocalFileSystem, "info", fail)
            for _ in range(3):
                with pytest.raises(StoreError, match="away"):
                    store.put(model)
        assert len(waits) == ATTEMPTS - 1
        store.put(model)
        waits.clear()


def test_a_file_in_the_place_of_the_folder_is_told(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written and read back \((Not a directory|File exists)\): check"):
        Store(str(model)).check()


def test_without_an_address_there_is_no_store() -> None:
    assert open_store(None) is None


def test_of_many_who_create_a_file_at_once_one_does(tmp_path: Path) -> None:
    for number in range(20):
        began, won = threading.Barrier(8), []

        def create(began: threading.Barrier, won: list[bool], where: str) -> None:
            store = Store(str(tmp_path))
            began.wait()
            won.append(store.create(where, b"mine"))

        threads = [threading.Thread(target=create, args=(began, won, f"claims/{number}")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won.count(True) == 1
        assert not Store(str(tmp_path)).create(f"claims/{number}", b"again")
