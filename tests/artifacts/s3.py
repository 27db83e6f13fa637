"""An S3 server of this machine, which can be away for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "topsecret", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def serving(port: int = 0) -> Iterator[int]:
    """Its port. What was stored is there again when the same process serves anew."""
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()
        server._server.server_close()  # type: ignore[union-attr]


def client(port: int):  # type: ignore[no-untyped-def]
    """Of boto3, beside what is tested."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="tester",
        aws_secret_access_key="topsecret",
        region_name="us-east-1",
    )
