"""The same over S3: a real server of moto's, with real connections that break."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from autoopt.artifacts import trouble
from autoopt.artifacts.cache import Cache
from autoopt.artifacts.store import Store
from autoopt.artifacts.trouble import DamagedError, MissingError, StoreError
from autoopt.core.errors import ConfigError
from autoopt.core.sealed import is_whole
from tests.artifacts.s3 import ENVIRONMENT, client, serving

pytestmark = pytest.mark.slow
CONTENT = b"a model" * 1000
URI = "s3://bucket/team/prefix"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with serving() as found:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{found}"}.items():
            monkeypatch.setenv(name, value)
        client(found).create_bucket(Bucket="bucket")
        yield found
        for name in keys(found):
            client(found).delete_object(Bucket="bucket", Key=name)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(CONTENT)
    return tmp_path / "model.onnx"


def keys(port: int) -> list[str]:
    return [row["Key"] for row in client(port).list_objects_v2(Bucket="bucket").get("Contents", ())]


def test_an_object_is_sent_once(port: int, model: Path, tmp_path: Path) -> None:
    store = Store(URI)
    digest = store.put(model)
    key = f"team/prefix/objects/{digest[:2]}/{digest}"
    assert keys(port) == [key]
    when = client(port).head_object(Bucket="bucket", Key=key)["LastModified"]
    client(port).put_object_tagging(Bucket="bucket", Key=key, Tagging={"TagSet": [{"Key": "seen", "Value": "1"}]})
    Store(URI).put(model)
    assert client(port).head_object(Bucket="bucket", Key=key)["LastModified"] == when
    assert client(port).get_object_tagging(Bucket="bucket", Key=key)["TagSet"], "it would be gone with another upload"
    Store(URI).get(digest, tmp_path / "got.onnx")
    assert (tmp_path / "got.onnx").read_bytes() == CONTENT


def test_a_large_object_comes_in_parts(port: int, tmp_path: Path) -> None:
    large, store = tmp_path / "large", Store(URI)
    large.write_bytes(bytes(range(256)) * 480_000)  # 123 MB: s3fs sends and gets it in several pieces
    digest = store.put(large)
    assert store.has(digest, large.stat().st_size)
    store.get(digest, tmp_path / "got")
    assert (tmp_path / "got").stat().st_size == large.stat().st_size


def test_what_another_machine_writes_is_seen_at_once(port: int, model: Path) -> None:
    one, two = Store(URI), Store(URI)
    assert not one.has(trouble_free := one.put(model)[::-1])
    digest = two.put(model)
    assert one.has(digest)
    one.remove(f"objects/{digest[:2]}/{digest}")
    assert not two.has(digest)
    assert not two.has(trouble_free)


def test_a_damaged_object_is_told_removed_and_put_again(port: int, model: Path, tmp_path: Path) -> None:
    store = Store(URI)
    digest = store.put(model)
    key = f"team/prefix/objects/{digest[:2]}/{digest}"
    client(port).put_object(Bucket="bucket", Key=key, Body=b"evil" + CONTENT[4:])
    with pytest.raises(DamagedError, match=f"object {digest} of artifacts.uri={URI} was damaged, and is removed"):
        store.get(digest, tmp_path / "got")
    assert keys(port) == []
    with pytest.raises(MissingError):
        store.get(digest, tmp_path / "got")
    store.put(model)
    store.get(digest, tmp_path / "got")


def test_a_server_that_is_away_for_a_moment_is_waited_for(
    port: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first attempt and the second one it comes up."""
    with serving() as other:
        client(other).create_bucket(Bucket="away")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{other}")
    store, done, up = Store("s3://away"), threading.Event(), threading.Event()
    real, waits = trouble.time.sleep, []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        up.wait(10)
        real(0.01)

    def serve() -> None:
        while not waits:
            real(0.01)
        with serving(other):
            up.set()
            done.wait(30)

    monkeypatch.setattr(trouble.time, "sleep", sleep)
    server = threading.Thread(target=serve)
    server.start()
    try:
        digest = store.put(model)
        store.get(digest, tmp_path / "got")
    finally:
        done.set()
        server.join()
    assert len(waits) >= 1
    with pytest.raises(StoreError, match=r"artifacts.uri=s3://away cannot be reached, .* \(Could not connect"):
        store.get(digest, tmp_path / "got")
    with serving(other):
        store.get(digest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == CONTENT


def test_folders_are_shared(port: int, tmp_path: Path) -> None:
    def write(fresh: Path) -> None:
        (fresh / "weights").write_bytes(CONTENT)

    def never(fresh: Path) -> None:
        raise AssertionError("made again")

    Cache(tmp_path / "a", Store(URI)).folder("teachers/x", write)
    assert is_whole(Cache(tmp_path / "b", Store(URI)).folder("teachers/x", never))
    assert not [key for key in keys(port) if "claims" in key]


def test_of_two_that_claim_at_once_one_has_it(port: int) -> None:
    store, began, won = Store(URI), threading.Barrier(4), []

    def claim(number: int) -> None:
        mine = Store(URI)
        began.wait()
        won.append(mine.create("claims/x", str(number).encode()))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1
    assert not store.create("claims/x", b"4")
    assert store.read("claims/x") in {b"0", b"1", b"2", b"3"}


class Failing(BaseHTTPRequestHandler):
    """Answers 500 to everything."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_fails_is_asked_as_often_as_is_said_and_not_by_each_layer_anew(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "FIRST_WAIT_S", 0.001)
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(StoreError, match="cannot be reached, read or written"):
            Store(URI).read("x")
        server.shutdown()
    assert Failing.asked == ["HEAD /bucket/team/prefix/x"] * trouble.ATTEMPTS


@pytest.mark.parametrize(
    ("uri", "change", "message"),
    [
        (
            "s3://nobucket/x",
            {},
            r"nobucket/x cannot be written and read back \(The specified bucket does not exist",
        ),
        (URI, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, r"\(Could not connect to the endpoint URL"),
        (
            URI,
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"},
            "redentials",
        ),
        ("s3://Bad_Bucket!/x", {}, "bucket"),
    ],
)
def test_what_is_wrong_is_told(
    uri: str, change: dict[str, str], message: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as raised:
        Store(uri).check()
    assert "topsecret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_store_is_checked(port: int) -> None:
    Store(URI).check()
    assert keys(port) == ["team/prefix/autoopt.txt"]
