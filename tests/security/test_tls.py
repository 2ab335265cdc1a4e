"""Object store, database and cluster by way of TLS, with a certificate authority of one's own."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import s3fs
from dask_cluster import DaskCluster
from faulty_proxy import faulty_proxy
from metaflow_core.errors import StorageError
from metaflow_core.testing.storage import sends
from metaflow_plugins.postgresql import PostgreSQL
from metaflow_plugins.s3_storage import S3Storage
from object_stores import ObjectStore
from postgresql_server import PostgresServer, new_server

from tests.conftest import RunFlow


class Authority:
    """A certificate authority, and the certificates that it has signed, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = self._make("ca", "/CN=Our own")
        self.server = self.sign("server")

    def sign(self, name: str) -> Path:
        """A certificate for a server here, or a client. Its key is beside it."""
        return self._make(
            name,
            "/CN=127.0.0.1",
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", str(self.file), "-CAkey", str(key_of(self.file))),
        )

    def _make(self, name: str, subject: str, *options: str) -> Path:
        path = self.folder / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *options]
        subprocess.run([*command, "-keyout", key_of(path), "-out", path], check=True, capture_output=True)
        return path


def key_of(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


@pytest.fixture(scope="module")
def authorities() -> Iterator[tuple[Authority, Authority]]:
    """Two that do not know each other, where a server that runs as another user can read their files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    with tempfile.TemporaryDirectory(prefix="mf-tls-", dir="/tmp") as top:
        os.chmod(top, 0o755)
        found = []
        for name in ("ours", "theirs"):
            folder = Path(top, name)
            folder.mkdir()
            found.append(Authority(folder))
        yield found[0], found[1]


@pytest.fixture
def ours(authorities: tuple[Authority, Authority]) -> Authority:
    return authorities[0]


@pytest.fixture
def theirs(authorities: tuple[Authority, Authority]) -> Authority:
    return authorities[1]


# --- the object store ---


@pytest.fixture
def over_tls(seaweedfs: ObjectStore, s3: str, ours: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.server, key_of(ours.server))
    with faulty_proxy(int(seaweedfs.endpoint.rpartition(":")[2]), tls=context) as proxy:
        monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", f"https://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
        s3fs.S3FileSystem.clear_instance_cache()
        yield s3
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_authority_of_ones_own(over_tls: str, ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ours.file))
    storage = S3Storage(over_tls)
    storage.put("data/x", sends(b"abc"))
    storage._cache.forget("data/x")
    assert bytes(storage.read("data/x")) == b"abc"


def test_an_unknown_authority_is_an_error(over_tls: str) -> None:
    with pytest.raises(StorageError, match=r"(?i)certificate"):
        S3Storage(over_tls).put("data/x", sends(b"abc"))


# --- the database ---


@pytest.fixture(scope="module")
def database(authorities: tuple[Authority, Authority]) -> Iterator[PostgresServer]:
    certificate = authorities[0].server
    key = key_of(certificate)
    if os.getuid() == 0:  # the server does not run as root, and nobody else may read its key
        shutil.chown(key, "postgres")
    with new_server(f"-c ssl=on -c ssl_cert_file={certificate} -c ssl_key_file={key}") as server:
        yield server


def test_a_database_whose_certificate_is_checked(database: PostgresServer, ours: Authority, run_flow: RunFlow) -> None:
    url = database.url("postgres", more=f"?sslmode=verify-full&sslrootcert={ours.file}")
    db = PostgreSQL(url)
    assert db.execute("SELECT CAST(ssl AS TEXT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [("true",)]
    db.close()
    assert "the end" in run_flow(FLOW.replace("@dask", ""), "run", env={"METAFLOW_METADATA_URL": url}).stdout


def test_a_database_that_another_authority_vouches_for(
    database: PostgresServer, theirs: Authority, run_flow: RunFlow
) -> None:
    url = database.url("postgres", more=f"?sslmode=verify-full&sslrootcert={theirs.file}")
    done = run_flow(FLOW.replace("@dask", ""), "run", env={"METAFLOW_METADATA_URL": url}, check=False)
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert re.search(r"certificate verify failed.* Check sslmode, sslrootcert", said)
    assert "Traceback" not in said


# --- the cluster ---

FLOW = """
from metaflow import FlowSpec, dask, step

class TlsFlow(FlowSpec):
    @dask
    @step
    def start(self):
        self.x = 1
        self.next(self.end)

    @step
    def end(self):
        print("the end")

TlsFlow()
"""


@pytest.fixture
def cluster(tmp_path: Path, ours: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaskCluster]:
    worker = ours.sign("worker")
    (tmp_path / "dask").mkdir()
    options = ["--tls-ca-file", str(ours.file), "--tls-cert", str(worker), "--tls-key", str(key_of(worker))]
    with ExitStack() as stack:
        cluster = DaskCluster(tmp_path / "dask", stack, "tls", options)
        monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "10s")
        yield cluster


@pytest.fixture
def places(cluster: DaskCluster, seaweedfs: ObjectStore, s3: str, team_database: str) -> dict[str, str]:
    return {
        **seaweedfs.environment,
        "METAFLOW_DEFAULT_DATASTORE": s3,
        "METAFLOW_METADATA_URL": team_database,
        "METAFLOW_DASK_SCHEDULER": cluster.address,
    }


def trust(monkeypatch: pytest.MonkeyPatch, authority: Authority, certificate: Path) -> None:
    """The settings of docs/dask.md."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", str(authority.file))
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT", str(certificate))
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY", str(key_of(certificate)))


@pytest.mark.slow
def test_a_cluster_with_certificates(
    cluster: DaskCluster,
    places: dict[str, str],
    ours: Authority,
    run_flow: RunFlow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster.start_worker()
    trust(monkeypatch, ours, ours.sign("anne"))
    assert "the end" in run_flow(FLOW, "run", env=places).stdout


@pytest.mark.slow
@pytest.mark.parametrize("given", ["the other authority", "a certificate of the other authority", "nothing"])
def test_a_cluster_that_does_not_trust(
    places: dict[str, str],
    ours: Authority,
    theirs: Authority,
    run_flow: RunFlow,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    """Either side may refuse, and the error says which file to look at."""
    if given == "the other authority":
        trust(monkeypatch, theirs, ours.sign("anne"))
    elif given != "nothing":
        trust(monkeypatch, ours, theirs.sign("anne"))
    done = run_flow(FLOW, "run", env=places, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert re.search(
        r"No Dask scheduler answers at tls://127.0.0.1:\d+: .*TLS.*DASK_DISTRIBUTED__COMM__TLS__CA_FILE", said
    )
    assert "Traceback" not in said
