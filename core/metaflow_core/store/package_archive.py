"""Code packages as bytes: a tar file that depends on nothing but names and contents, stored compressed.

A package is named by the hash of the tar file. That of the compressed bytes would depend on the version of zlib.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO, NamedTuple

from metaflow_core.errors import MetaflowDataMissing, MetaflowException
from metaflow_core.names import show


class PackedFile(NamedTuple):
    """A file in a package: its path with slashes, relative to the project."""

    name: str
    data: bytes
    is_program: bool = False


class Archive:
    """A package that was made: ``key`` is its name, ``size`` the bytes of the tar file, ``count`` its files."""

    def __init__(self, files: Iterable[PackedFile]) -> None:
        """``files`` come in the order of their names."""
        import blake3

        self._tar = tempfile.SpooledTemporaryFile(max_size=16 << 20)  # noqa: SIM115
        hashed = _Hashed(self._tar, blake3.blake3())
        self.count = 0
        with tarfile.open(
            fileobj=hashed, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for file in files:
                member = tarfile.TarInfo(file.name)  # of no time and no owner
                member.size = len(file.data)
                member.mode = 0o755 if file.is_program else 0o644
                tar.addfile(member, io.BytesIO(file.data))
                self.count += 1
        self.key: str = hashed.digest.hexdigest()
        self.size = self._tar.tell()

    def write(self, file: IO[bytes]) -> None:
        """Send the compressed package to ``file``."""
        import gzip
        import shutil

        self._tar.seek(0)
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            shutil.copyfileobj(self._tar, packed)

    def tar(self) -> bytes:
        """The tar file."""
        self._tar.seek(0)
        return self._tar.read()

    def close(self) -> None:
        self._tar.close()


class _Hashed(io.RawIOBase):
    def __init__(self, file: IO[bytes], digest: object) -> None:
        from typing import Any

        self._file = file
        self.digest: Any = digest

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        return self._file.write(data)


def tar_of(packed: memoryview | bytes, key: str) -> bytes:
    """The tar file of a compressed package. ``MetaflowDataMissing`` when it is not the package ``key``."""
    import gzip
    import zlib

    import blake3

    try:
        tar = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        tar = b""
    if blake3.blake3(tar).hexdigest() != key:
        raise MetaflowDataMissing(f"The code package {key} in the artifact store is damaged.")
    return tar


def open_tar(tar: bytes) -> tarfile.TarFile:
    """The tar file, to be read."""
    return tarfile.open(fileobj=io.BytesIO(tar), mode="r:", encoding="utf-8", errors="surrogateescape")


def files_of(tar: bytes) -> Iterator[PackedFile]:
    """What is in a tar file. ``MetaflowException`` when something in it is no file inside of the project."""
    with open_tar(tar) as opened:
        for member in opened:
            if not member.isreg() or not is_inside(member.name):
                raise MetaflowException(
                    f"The code package is refused: {show(member.name)} is no plain file inside of it."
                )
            data = opened.extractfile(member)
            assert data is not None
            yield PackedFile(member.name, data.read(), bool(member.mode & 0o100))


def is_inside(name: str) -> bool:
    """Whether a path with slashes stays below the directory from which it starts."""
    return bool(name) and "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def extract(tar: bytes, folder: str, overwrite: bool = False) -> list[str]:
    """Write the files of a package below ``folder``, and return their names.

    Nothing is written outside of it, not even through links that are there. Without ``overwrite`` nothing is written
    at all when a file is there with another content. ``MetaflowException`` says why it can't be done.
    """
    files = list(files_of(tar))
    real = os.path.realpath(folder)
    targets = [(os.path.join(real, file.name), file) for file in files]
    for target, file in targets:
        above = os.path.realpath(os.path.dirname(target))
        if above != os.path.dirname(target):
            raise MetaflowException(
                f"{show(file.name)} can't be written to {folder}: a link there leads to {above}. Choose another "
                f"directory."
            )
    if not overwrite:
        others = [file.name for target, file in targets if os.path.lexists(target) and not _has(target, file.data)]
        if others:
            shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
            raise MetaflowException(
                f"{folder} has other versions of {len(others)} of these files: {shown}. Nothing was written. Choose "
                f"another directory, or overwrite them."
            )
    try:
        for target, file in targets:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _write(target, file)
    except OSError as error:
        raise MetaflowException(
            f"The code can't be written to {folder}: {error.strerror or error} ({error.filename})."
        ) from None
    return [file.name for file in files]


def _has(path: str, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return not os.path.islink(path) and file.read() == data
    except OSError:
        return False


def _write(target: str, file: PackedFile) -> None:
    """Put a new file in the place of whatever file or link is there."""
    temporary = os.path.join(os.path.dirname(target), f".metaflow-{os.getpid()}-{os.urandom(8).hex()}")
    try:
        mode = 0o777 if file.is_program else 0o666
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
            opened.write(file.data)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def shown_name(name: str) -> str:
    """A file's name in one line, in characters that can be printed.

    >>> shown_name("a.py"), shown_name("two\\nlines.py")
    ('a.py', '"two\\\\nlines.py"')
    """
    if name.isprintable() and '"' not in name:
        return name
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    parts = []
    for character in name:
        if character in escapes:
            parts.append(escapes[character])
        elif character.isprintable():
            parts.append(character)
        else:
            parts += [f"\\{byte:03o}" for byte in os.fsencode(character)]
    return f'"{"".join(parts)}"'  # as git writes it
