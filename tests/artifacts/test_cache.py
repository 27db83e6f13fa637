"""What is computed once in a cluster, whoever needs it first."""

import threading
import time
from pathlib import Path

import pytest

from autoopt.artifacts import claim, trouble
from autoopt.artifacts.cache import Cache
from autoopt.artifacts.claim import claimed
from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import StoreError
from autoopt.core.errors import Interrupted
from autoopt.core.sealed import is_whole
from autoopt.tasks import Task
from autoopt.training.lessons import Library
from autoopt.training.loop import Hooks
from autoopt.training.teacher import TeacherOptions, load_teacher, module_fingerprint
from tests.training.test_lessons import Teacher

KEY = "teachers/x"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"POLL_S": 0.02, "STEP_S": 0.01, "BEAT_S": 0.05, "STALE_S": 0.5}.items():
        monkeypatch.setattr(claim, name, seconds)
    monkeypatch.setattr(trouble, "FIRST_WAIT_S", 0.001)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "shared"))


class Made:
    """Writes a folder, and counts how often."""

    def __init__(self, content: str = "made") -> None:
        self.content, self.count = content, 0

    def __call__(self, fresh: Path) -> None:
        self.count += 1
        (fresh / "file").write_text(self.content)


def never(fresh: Path) -> None:
    raise AssertionError("made again")


def content(place: Path) -> str:
    assert is_whole(place)
    return (place / "file").read_text()


def test_without_a_store_it_is_made_once_a_machine(tmp_path: Path) -> None:
    made = Made()
    for _ in range(2):
        assert content(Cache(tmp_path).folder(KEY, made)) == "made"
    assert made.count == 1


def test_another_machine_fetches_what_one_has_made(store: Store, tmp_path: Path) -> None:
    assert content(Cache(tmp_path / "a", store).folder(KEY, Made())) == "made"
    assert content(Cache(tmp_path / "b", Store(store.uri)).folder(KEY, never)) == "made"
    assert list((tmp_path / "shared" / "claims").rglob("*x")) == []


def test_what_was_made_before_there_was_a_store_is_shared(store: Store, tmp_path: Path) -> None:
    Cache(tmp_path / "a").folder(KEY, Made())
    Cache(tmp_path / "a", store).folder(KEY, never)
    assert content(Cache(tmp_path / "b", store).folder(KEY, never)) == "made"


def test_damage_here_is_repaired_from_there(store: Store, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "a", store)
    (cache.folder(KEY, Made()) / "file").write_text("damaged")
    assert content(cache.folder(KEY, never)) == "made"


def test_damage_there_is_made_again_and_put_again(store: Store, tmp_path: Path) -> None:
    Cache(tmp_path / "a", store).folder(KEY, Made())
    (object_,) = (path for path in (tmp_path / "shared" / "objects").rglob("*") if path.is_file())
    object_.write_text("evil")
    made = Made()
    assert content(Cache(tmp_path / "b", store).folder(KEY, made)) == "made"
    assert made.count == 1
    assert content(Cache(tmp_path / "c", store).folder(KEY, never)) == "made"


def test_of_several_that_start_at_once_one_makes_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "STALE_S", 60.0)  # a busy machine is none that died
    began, made, found = threading.Barrier(4), Made(), []

    def slowly(fresh: Path) -> None:
        threading.Event().wait(0.3)
        made(fresh)

    def host(number: int) -> None:
        cache = Cache(tmp_path / str(number), Store(store.uri))
        began.wait()
        found.append(content(cache.folder(KEY, slowly)))

    hosts = [threading.Thread(target=host, args=(number,)) for number in range(4)]
    for thread in hosts:
        thread.start()
    for thread in hosts:
        thread.join()
    assert found == ["made"] * 4
    assert made.count == 1


def test_whoever_makes_it_says_now_and_then_that_he_is_alive(store: Store) -> None:
    with claimed(store, KEY, lambda: False, lambda: None) as ours:
        assert ours
        words, end = {store.read(f"claims/{KEY}")}, time.monotonic() + 30
        while len(words) < 3 and time.monotonic() < end:
            words.add(store.read(f"claims/{KEY}"))
    assert len(words) == 3
    assert store.read(f"claims/{KEY}") is None


def test_what_came_between_the_look_and_the_claim_is_not_made_again(store: Store) -> None:
    looks = iter([False, True])
    with claimed(store, KEY, lambda: next(looks), lambda: None) as ours:
        assert not ours
    assert store.read(f"claims/{KEY}") is None


def test_a_host_that_died_while_it_made_it_is_replaced(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(f"claims/{KEY}", b"somebody")
    assert content(Cache(tmp_path / "a", store).folder(KEY, Made())) == "made"
    assert "another process makes teachers/x" in caplog.text
    assert "is gone: it is made here" in caplog.text


def test_whoever_waits_may_be_stopped(store: Store, tmp_path: Path) -> None:
    store.write(f"claims/{KEY}", b"somebody")

    def stop() -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        Cache(tmp_path / "a", store).folder(KEY, never, stop)


def test_a_maker_that_fails_leaves_it_to_the_next(store: Store, tmp_path: Path) -> None:
    def fail(fresh: Path) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        Cache(tmp_path / "a", store).folder(KEY, fail)
    made = Made()
    Cache(tmp_path / "b", store).folder(KEY, made)
    assert made.count == 1


def test_where_two_made_it_all_the_same_the_first_ones_is_everybodys(store: Store, tmp_path: Path) -> None:
    def overtaken(fresh: Path) -> None:
        Made("slower")(fresh)
        Cache(tmp_path / "b").folder(KEY, Made("faster"))
        assert store.put_folder(KEY, tmp_path / "b" / KEY)

    assert content(Cache(tmp_path / "a", store).folder(KEY, overtaken)) == "faster"


def test_what_is_here_stays_where_the_store_has_another(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Cache(tmp_path / "a", store).folder(KEY, Made("theirs"))
    Cache(tmp_path / "b").folder(KEY, Made("mine"))
    assert content(Cache(tmp_path / "b", store).folder(KEY, never)) == "mine"
    assert "has another teachers/x than this machine" in caplog.text


def test_a_store_that_is_away_is_needed_only_for_what_is_not_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the place of the store")
    away = Store(str(tmp_path / "file" / "shared"))
    Cache(tmp_path / "a").folder(KEY, Made())
    assert content(Cache(tmp_path / "a", away).folder(KEY, never)) == "made"
    assert "teachers/x is not shared" in caplog.text
    with pytest.raises(StoreError, match="cannot be reached, read or written"):
        Cache(tmp_path / "b", away).folder(KEY, never)


def test_a_second_machine_trains_no_teacher_and_labels_nothing(digits: Task, store: Store, tmp_path: Path) -> None:
    options, teacher = TeacherOptions(epochs=1), Teacher(digits)
    first = load_teacher(digits, options, Cache(tmp_path / "a", store), 0, Hooks())
    logits = Library(digits, "w", Cache(tmp_path / "a", store), lambda: teacher.run).lessons().logits
    labelled = teacher.labelled

    def fail() -> bool:
        raise AssertionError("trained again")

    second = load_teacher(digits, options, Cache(tmp_path / "b", store), 0, Hooks(should_stop=fail))
    assert module_fingerprint(first) == module_fingerprint(second)
    again = Library(digits, "w", Cache(tmp_path / "b", store), lambda: teacher.run).lessons().logits
    assert again.equal(logits)
    assert teacher.labelled == labelled
