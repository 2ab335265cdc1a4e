"""What the objects of the client have in common."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from metaflow_core.errors import MetaflowNamespaceMismatch
from metaflow_core.metadata.backend import Backend
from metaflow_core.names import split_pathspec
from metaflow_core.results import current_namespace, messages, provider

KINDS = ("flow", "run", "step", "task", "artifact")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Self = TypeVar("Self", bound="MetaflowObject")


class Scope(NamedTuple):
    """Where an object was made: the back end it reads and the namespace it keeps."""

    backend: Backend
    namespace: str | None


def current_scope() -> Scope:
    return Scope(provider.backend(), current_namespace.get_namespace())


class MetaflowObject:
    """A flow, run, step, task or artifact, named by its pathspec.

    Making one checks that it exists and is in the namespace: ``MetaflowInvalidPathspec``, ``MetaflowNotFound`` or
    ``MetaflowNamespaceMismatch``. It keeps that namespace. Two objects with one pathspec are equal. What can still
    change (tags, the status of a run) is read each time it is asked for.
    """

    _depth: ClassVar[int]  # how many parts the pathspec has
    _scope: Scope
    _parts: tuple[str, ...]

    def __init__(self, pathspec: str, *, _namespace_check: bool = True) -> None:
        self._scope = current_scope()
        self._parts = tuple(split_pathspec(pathspec, KINDS[: self._depth]))
        self._find(_namespace_check)

    @classmethod
    def _at(cls: type[Self], scope: Scope, parts: tuple[str, ...], check: bool) -> Self:
        """The object with these (already checked) parts of a pathspec."""
        found = cls._bare(scope, parts)
        found._find(check)
        return found

    @classmethod
    def _bare(cls: type[Self], scope: Scope, parts: tuple[str, ...]) -> Self:
        bare = cls.__new__(cls)
        bare._scope, bare._parts = scope, parts
        return bare

    def _find(self, check: bool) -> None:
        """Read the object's row, or raise."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """The last part of the pathspec: a flow's, step's or artifact's name, a run's or task's id."""
        return self._parts[-1]

    @property
    def pathspec(self) -> str:
        """``Flow/run/step/task/artifact``, as far as it goes."""
        return "/".join(self._parts)

    @property
    def path_components(self) -> list[str]:
        """The parts of the pathspec."""
        return list(self._parts)

    @property
    def parent(self) -> MetaflowObject | None:
        """The object that contains this one; None for a flow."""
        raise NotImplementedError

    @property
    def origin_pathspec(self) -> str | None:
        """The object that ``resume`` took this one over from; None when it is no copy."""
        return None

    @property
    def user_tags(self) -> frozenset[str]:
        """The tags that people gave to the run."""
        return frozenset()

    @property
    def system_tags(self) -> frozenset[str]:
        """The tags that every run gets by itself: who, when, and with which versions."""
        return frozenset()

    @property
    def tags(self) -> frozenset[str]:
        """All tags of the run, as they are now. A flow has none."""
        return self.user_tags | self.system_tags

    @property
    def created_at(self) -> datetime:
        """When it came to be, in UTC with ``tzinfo`` set."""
        raise NotImplementedError

    def is_in_namespace(self) -> bool:
        """Whether the object is in the namespace of now, which may not be the one in which it was made."""
        namespace = current_namespace.get_namespace()
        return namespace is None or self._has_tag(namespace)

    def _has_tag(self, tag: str) -> bool:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetaflowObject) and type(self) is type(other) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        backend = self._scope.backend
        return (self._parts, backend.metadata_url, backend.storage_url)

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (type(self), self._parts, *packed(self._scope), self._extra())

    def _extra(self) -> dict[str, Any]:
        """Attributes that the pathspec does not tell."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pathspec!r})"


def packed(scope: Scope) -> tuple[str | None, tuple[str, str] | None]:
    """A scope without its connections, for pickle: its namespace, and where its results are."""
    backend = scope.backend
    # What the settings say is looked up again when the object is loaded: the project may be elsewhere then.
    return scope.namespace, None if provider.is_default(backend) else (backend.metadata_url, backend.storage_url)


def unpacked(namespace: str | None, urls: tuple[str, str] | None) -> Scope:
    return Scope(provider.backend_at(*urls) if urls else provider.backend(), namespace)


def _load(
    cls: type[MetaflowObject],
    parts: tuple[str, ...],
    namespace: str | None,
    urls: tuple[str, str] | None,
    extra: dict[str, Any],
) -> MetaflowObject:
    found = cls._bare(unpacked(namespace, urls), parts)
    found.__dict__.update(extra)
    found._find(check=False)
    return found


Child = TypeVar("Child", bound=MetaflowObject)


class Container(MetaflowObject, Generic[Child]):
    """An object that has others in it: iteration gives them newest first, ``[]`` and ``in`` find them by id."""

    _child_kind: ClassVar[str]

    def _child(self, id: str) -> Child | None:
        """The child with this id, or None."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Child]:
        raise NotImplementedError

    def __getitem__(self, id: str | int) -> Child:
        """The child with this id; ``KeyError`` when there is none. Ids that are numbers may be given as such."""
        found = self._child(child_id(id))
        if found is None:
            raise KeyError(messages.no_child(self._child_kind, repr(self), id))
        return found

    def __contains__(self, id: object) -> bool:
        try:
            return self._child(child_id(id)) is not None
        except MetaflowNamespaceMismatch:
            return False


def child_id(id: object) -> str:
    """``id`` as text. Numbers count as ids, and an object as its own id."""
    if isinstance(id, MetaflowObject):
        return id.id
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    return id if isinstance(id, str) else ""


def time_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def end_of(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else time_of(microseconds)
