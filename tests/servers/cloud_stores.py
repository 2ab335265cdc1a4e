"""Servers of the protocols of Google Cloud Storage and of Azure's Blob Storage, for as long as a test session runs.

They are gcp-storage-emulator, from PyPI, and Microsoft's Azurite, from npm: independent of gcsfs and adlfs.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from object_stores import free_ports, listens, server

BUCKET = "test-bucket"
ROOT = Path(__file__).resolve().parents[2]
# The account that Azurite has for everybody:
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#use-a-well-known-storage-account-and-key
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class CloudStore(NamedTuple):
    """A server with one bucket."""

    scheme: str
    name: str  # in settings, and for --datastore
    port: int
    environment: Callable[[int], dict[str, str]]  # with which a program uses it, or a proxy before it

    def new_url(self) -> str:
        return f"{self.scheme}://{BUCKET}/{uuid.uuid4()}/with space"


def _google(port: int) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}


def _azure(port: int) -> dict[str, str]:
    place = f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
    return {"AZURE_STORAGE_CONNECTION_STRING": account + place}


@pytest.fixture(scope="session")
def google_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStore]:
    folder = tmp_path_factory.mktemp("google")
    (port,) = free_ports(1)
    program = Path(sys.executable).with_name("gcp-storage-emulator")
    command = [str(program), "start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--quiet"]
    with server([*command, "--default-bucket", BUCKET], folder / "log", lambda: listens(port), folder=folder):
        yield CloudStore("gs", "gs", port, _google)


@pytest.fixture(scope="session")
def azure_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStore]:
    import adlfs

    program = ROOT / ".venv" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        pytest.skip("Azurite is not installed; `make test` installs it from npm")
    folder = tmp_path_factory.mktemp("azure")
    (port,) = free_ports(1)
    command = [str(ROOT / ".venv" / "bin" / "node"), str(program), "--blobPort", str(port), "--inMemoryPersistence"]
    command += ["--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with server(command, folder / "log", lambda: listens(port), folder=folder):
        connection = _azure(port)["AZURE_STORAGE_CONNECTION_STRING"]
        adlfs.AzureBlobFileSystem(connection_string=connection, skip_instance_cache=True).mkdir(BUCKET)
        yield CloudStore("az", "azure", port, _azure)


@pytest.fixture(params=["google_store", "azure_store"])
def cloud_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CloudStore:
    """Each of the servers; this process, and those it starts, use it, with an empty cache."""
    store: CloudStore = request.getfixturevalue(request.param)
    for name, value in store.environment(store.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("METAFLOW_STORE_CACHE", str(tmp_path / "store-cache"))
    return store
