"""Which metadata database and artifact store this process reads."""

from __future__ import annotations

import os

from metaflow_core import settings
from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.backend import Backend, backend_in, open_backend
from metaflow_core.names import masked, show

SQLITE = "sqlite:///"
DATABASE = "metaflow.db"

_chosen: Backend | None = None
_opened: dict[tuple[str, str], Backend] = {}


def backend() -> Backend:
    """The back end that new objects read: the one that was chosen, else what the settings say now."""
    return _chosen or _shared(open_backend())


def use_backend(chosen: Backend | None) -> None:
    """Let this process read ``chosen``, as a task does with the back end of its run; None for the default."""
    global _chosen
    _chosen = chosen


def is_default(candidate: Backend) -> bool:
    """Whether ``candidate`` is what the settings say now."""
    default = open_backend()
    return (candidate.metadata_url, candidate.storage_url) == (default.metadata_url, default.storage_url)


def backend_at(metadata_url: str, storage_url: str) -> Backend:
    """The back end at these addresses, the same one each time."""
    return _shared(Backend(metadata_url, storage_url))


def metadata(ms: str) -> str:
    """Read another metadata database from now on, and return its description.

    ``ms`` is a directory that holds ``.metaflow`` (``"local@/home/anne/project"``, or the path alone), or the URL of a
    database (``"sqlite:////home/anne/project/.metaflow/metaflow.db"``, ``"postgresql://..."``). Objects that exist
    already keep theirs. ``MetaflowException`` when there is nothing of this name.
    """
    if not isinstance(ms, str) or not ms:
        raise MetaflowException(
            f"Metadata is chosen by a directory, local@DIRECTORY or the URL of a database, not by {show(ms)}."
        )
    kind, at, place = ms.partition("@")
    if not at or not kind.isidentifier():
        kind, place = "", ms
    if kind not in ("", "local"):
        raise MetaflowException(
            f"There is no kind of metadata {show(kind)}. Use local@DIRECTORY, or the URL of a database: "
            f"sqlite:///PATH, postgresql://..."
        )
    use_backend(_at_url(place) if "://" in place else _in_folder(place))
    return get_metadata()


def get_metadata() -> str:
    """The description of the metadata that is read: ``local@DIRECTORY``, or the URL of the database.

    A password is not shown; :func:`metadata` takes the description all the same, for what was read before.
    """
    url = backend().metadata_url
    folder, file = os.path.split(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and file == DATABASE and os.path.basename(folder) == settings.FOLDER:
        return f"local@{os.path.dirname(folder)}"
    return masked(url)


def default_metadata() -> str:
    """Go back to what the settings say, and return its description."""
    use_backend(None)
    return get_metadata()


def inspect_spin(datastore_root: str = ".") -> None:
    """Read what ``spin --persist`` has kept in this directory from now on; :func:`default_metadata` leaves it again.

    ``MetaflowException`` when nothing was kept there.

        inspect_spin(".")
        Flow("TrainFlow").latest_run["train"].task.data.model
    """
    root = os.path.abspath(os.path.expanduser(datastore_root))
    folder = root if os.path.basename(root) == settings.SPIN_FOLDER else os.path.join(root, settings.SPIN_FOLDER)
    if not os.path.isfile(os.path.join(folder, DATABASE)):
        raise MetaflowException(
            f"There is nothing to inspect in {root}: spin keeps its results in {settings.SPIN_FOLDER} of the working "
            f"directory when it is told to, as in: python flow.py spin train --persist"
        )
    use_backend(_shared(backend_in(folder)))


def _in_folder(place: str) -> Backend:
    folder = os.path.abspath(os.path.expanduser(place))
    if os.path.basename(folder) != settings.FOLDER:
        folder = os.path.join(folder, settings.FOLDER)
    if not os.path.isdir(folder):
        raise MetaflowException(f"There is no directory {folder}: {show(place)} is no project with results.")
    return _shared(Backend(SQLITE + os.path.join(folder, DATABASE), folder))


def _at_url(url: str) -> Backend:
    if "***" in url:
        known = (
            candidate for candidate in (open_backend(), *_opened.values()) if masked(candidate.metadata_url) == url
        )
        url = next((candidate.metadata_url for candidate in known), url)
    storage = None
    if url.startswith(SQLITE):
        path = os.path.abspath(url.removeprefix(SQLITE))
        if not os.path.isfile(path):
            raise MetaflowException(f"There is no file {path}: {show(url)} is no database with results.")
        if settings.get("DEFAULT_DATASTORE") in (None, "local"):
            storage = os.path.dirname(path)  # of a project: the artifacts are beside the database
    found = _shared(open_backend(url, storage))
    _ = found.db  # complain now when it can't be reached
    return found


def _shared(candidate: Backend) -> Backend:
    return _opened.setdefault((candidate.metadata_url, candidate.storage_url), candidate)
