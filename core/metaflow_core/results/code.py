"""The code of a run: its package, or the files that were recorded when it started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

from metaflow_core.errors import MetaflowDataMissing, MetaflowException
from metaflow_core.metadata.code_packages import StoredPackage, find_package, read_package
from metaflow_core.metadata.contents import storage_key

if TYPE_CHECKING:
    from tarfile import TarFile

    from metaflow_core.results.run import Run


def code_of(run: Run) -> MetaflowCode | None:
    """The code of a run; None when nothing of it was recorded."""
    package = find_package(run._db, run._row.pk)
    return MetaflowCode(run, package) if package is not None or run.source else None


def sources_of(old: Run, new: Run) -> tuple[Mapping[str, str | None], Mapping[str, str | None]]:
    """The texts of two runs to be compared, with the flows' own first: of all files, when both have packages."""
    one, other = code_of(old), code_of(new)
    if one is not None and other is not None and one.complete and other.complete and one.path != other.path:
        with suppress(MetaflowDataMissing):
            return _texts(one), _texts(other)
    return old.source, new.source


def _texts(code: MetaflowCode) -> dict[str, str | None]:
    from blake3 import blake3

    contents = code.contents()
    script = str(code.script_name)
    return {
        name: f"(binary, {blake3(data).hexdigest()})" if b"\0" in data else data.decode("utf-8", "replace")
        for name, data in {script: contents[script], **contents}.items()
    }


class MetaflowCode:
    """The code of a run, as it was when the run started: ``Run("HelloFlow/5").code``.

    ``complete`` tells whether it is the whole project, which runs have that were started with ``--package-code`` or
    whose tasks ran on other machines. Otherwise it is the flow's file and the files that its steps name.
    """

    def __init__(self, run: Run, package: StoredPackage | None) -> None:
        self._run = run
        self._package = package
        self._sources = None if package is not None else _placed(run.source)
        self._tar: bytes | None = None

    @property
    def complete(self) -> bool:
        """Whether it is the whole project."""
        return self._package is not None

    @property
    def path(self) -> str | None:
        """Where the package is: its key in the artifact store. None when there are recorded files only."""
        return None if self._package is None else storage_key(self._package.key)

    @property
    def info(self) -> dict[str, Any]:
        """What is known of it: ``complete``, ``script`` and ``files``, which is how many there are.

        Of a package also ``working_directory`` (where the run was started, from the root of the package), ``size`` in
        bytes, ``suffixes`` (which files were taken) and ``key``.
        """
        if self._package is not None:
            return {"complete": True, **self._package.info, "key": self._package.key}
        assert self._sources is not None
        return {"complete": False, "script": self.script_name, "files": len(self._sources.files)}

    @property
    def script_name(self) -> str | None:
        """The path of the flow's file in it, such as ``flows/train.py``; None for a flow that was in no file."""
        if self._package is not None:
            return self._package.script
        assert self._sources is not None
        return self._sources.script

    @property
    def flowspec(self) -> str | None:
        """The text of the flow's file; None for a flow that was in no file."""
        script = self.script_name
        data = None if script is None else self.contents().get(script)
        return None if data is None else data.decode("utf-8", "replace")

    @property
    def files(self) -> list[str]:
        """The paths of its files, with slashes, sorted."""
        return sorted(self.contents())

    @property
    def tarball(self) -> TarFile:
        """The files as a ``tarfile.TarFile``, open for reading. ``MetaflowDataMissing`` when the package is gone."""
        from metaflow_core.store.package_archive import open_tar

        return open_tar(self._bytes())

    def contents(self) -> dict[str, bytes]:
        """The bytes of each file, by its path."""
        from metaflow_core.store.package_archive import files_of

        return {file.name: file.data for file in files_of(self._bytes())}

    @overload
    def extract(self) -> TemporaryDirectory[str]: ...

    @overload
    def extract(self, folder: str | os.PathLike[str], overwrite: bool = False) -> str: ...

    def extract(
        self, folder: str | os.PathLike[str] | None = None, overwrite: bool = False
    ) -> TemporaryDirectory[str] | str:
        """Write the files into a temporary directory, or into ``folder``, and return it.

        The temporary directory is removed with the object that is returned, or at the end of its ``with``:

            with Run("HelloFlow/5").code.extract() as folder:
                print(os.listdir(folder))

        Nothing is written outside of ``folder``. When one of the files is there with another content, nothing is
        written and ``MetaflowException`` says so, unless ``overwrite`` is true.
        """
        from metaflow_core.store.package_archive import extract

        tar = self._bytes()
        if folder is None:
            temporary = TemporaryDirectory(prefix="metaflow-code-")
            extract(tar, temporary.name)
            return temporary
        path = os.fspath(folder)
        if os.path.lexists(path) and not os.path.isdir(path):
            raise MetaflowException(f"The code can't be written to {path}: it is no directory.")
        extract(tar, path, overwrite)
        return path

    def _bytes(self) -> bytes:
        if self._tar is None:
            if self._package is not None:
                self._tar = read_package(self._run._scope.backend.storage, self._package.key)
            else:
                assert self._sources is not None
                self._tar = _tar(self._sources.files)
        return self._tar

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetaflowCode) and (self._run, self._package) == (other._run, other._package)

    def __hash__(self) -> int:
        return hash(self._run)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tar": None}

    def __repr__(self) -> str:
        what = "" if self.complete else ", recorded files only"
        return f"<code of {self._run.pathspec}: {self.script_name or 'a session'}, files: {self.info['files']}{what}>"


class _Sources:
    def __init__(self, files: dict[str, str], script: str | None) -> None:
        self.files = files
        self.script = script


def _placed(source: dict[str, str | None]) -> _Sources:
    """The recorded files, each at a path inside of one directory.

    They are recorded relative to the flow's own directory. When some are above it, it gets a place as deep as needed.
    Functions of R from no file become files of their own. Files that were too long to be recorded are not there.
    """
    above = max((name.split("/").count("..") for name in source), default=0)
    own = ["flow"] * above
    files: dict[str, str] = {}
    script = None
    for name, text in source.items():
        if text is None:
            continue
        if name.endswith("()"):
            files["/".join([*own, "steps", f"{name[:-2]}.R"])] = text
            continue
        parts = list(own)
        for part in name.split("/"):
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        files["/".join(parts)] = text
        if script is None and name == next(iter(source)):
            script = "/".join(parts)
    return _Sources(files, script)


def _tar(files: dict[str, str]) -> bytes:
    from metaflow_core.store.package_archive import Archive, PackedFile

    archive = Archive(PackedFile(name, files[name].encode("utf-8", "surrogatepass")) for name in sorted(files))
    try:
        return archive.tar()
    finally:
        archive.close()
