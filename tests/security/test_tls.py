"""The object store by way of TLS, with a certificate authority of one's own."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from faulty_proxy import faulty_proxy
from metaflow_core.errors import StorageError
from metaflow_core.testing.storage import sends
from metaflow_plugins.s3_storage import S3Storage
from object_stores import ObjectStore


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "server.key", "-out", path),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def over_tls(seaweedfs: ObjectStore, s3: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("server.key"))
    with faulty_proxy(int(seaweedfs.endpoint.rpartition(":")[2]), tls=context) as proxy:
        monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", f"https://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
        s3fs.S3FileSystem.clear_instance_cache()
        yield s3
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_authority_of_ones_own(over_tls: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    storage = S3Storage(over_tls)
    storage.put("data/x", sends(b"abc"))
    storage._cache.forget("data/x")
    assert bytes(storage.read("data/x")) == b"abc"


def test_an_unknown_authority_is_an_error(over_tls: str) -> None:
    with pytest.raises(StorageError, match=r"(?i)certificate"):
        S3Storage(over_tls).put("data/x", sends(b"abc"))
