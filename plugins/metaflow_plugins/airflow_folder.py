"""Where DAG files are: a folder of this machine, or a URL that fsspec opens."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked


def read(place: str) -> bytes | None:
    """The file's content; None when there is none."""
    try:
        if "://" in place:
            found: bytes = _open(place)[0].cat_file(_open(place)[1])
            return found
        with open(place, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _problem("read", place, error) from None


def write(place: str, content: bytes) -> None:
    """Write the file, as a whole: who reads it sees the old content or the new one."""
    try:
        if "://" in place:
            system, path = _open(place)
            system.pipe_file(path, content)
            return
        _replace(place, content)
    except OSError as error:
        raise _problem("written", place, error) from None


def remove(place: str) -> None:
    """Remove the file, unless it is gone."""
    with contextlib.suppress(FileNotFoundError):
        try:
            if "://" in place:
                system, path = _open(place)
                system.rm_file(path)
            else:
                os.remove(place)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _problem("removed", place, error) from None


def restore(place: str, content: bytes | None) -> None:
    """What :func:`read` has found."""
    if content is None:
        remove(place)
    else:
        write(place, content)


def join(folder: str, name: str) -> str:
    """The file of that name in the folder."""
    return f"{folder.rstrip('/')}/{name}" if "://" in folder else os.path.join(os.path.abspath(folder), name)


def _replace(place: str, content: bytes) -> None:
    import tempfile

    # Not one that ends with .py, which Airflow would read.
    descriptor, temporary = tempfile.mkstemp(
        prefix=".metaflow-", suffix=".new", dir=os.path.dirname(os.path.abspath(place))
    )
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # Airflow may run as somebody else
        os.replace(temporary, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def _open(place: str) -> tuple[Any, str]:
    try:
        import fsspec

        found: tuple[Any, str] = fsspec.core.url_to_fs(place)
        return found
    except (ImportError, ValueError) as error:
        shown = masked(place)
        reason = f"{error}" if shown == place or isinstance(error, ImportError) else "it is no address."
        raise MetaflowException(f"{shown} can't be opened: {reason}") from None


def _problem(what: str, place: str, error: OSError) -> MetaflowException:
    return MetaflowException(f"The DAG file {masked(place)} can't be {what}: {masked(error.strerror or str(error))}.")
