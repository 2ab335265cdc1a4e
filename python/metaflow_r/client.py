"""The client of R. An R object is the text of its pathspec; here it is found again whenever it is asked for something.

Nothing has to be kept alive for it, so R objects can be copied, saved, and stored as artifacts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from metaflow_r.text import strings, text

if TYPE_CHECKING:
    from metaflow_core.metadata.backend import Backend
    from metaflow_core.results.base import MetaflowObject, Scope

# Where objects were made. R knows a place by its key: the address of a database may hold a password.
_places: dict[str, Backend] = {}
_DEFAULT = "default:"  # begins the key of what the settings say, which another process looks up by itself

# Objects that were asked for something lately: most are asked for more. They read anew what can still change.
_recent: dict[tuple[Any, ...], Any] = {}
_KEPT = 256


def _classes() -> tuple[type[MetaflowObject], ...]:
    from metaflow_core.results import DataArtifact, Flow, Run, Step, Task

    return Flow, Run, Step, Task, DataArtifact


def _found(object: Any) -> Any:
    """The object of the core that an R object stands for."""
    scope = _scope(strings(object.do_slot("scope")))
    attempt = int(object.do_slot("attempt")[0]) if "attempt" in object.list_attrs() else None
    key = (scope, text(object), attempt)
    found = _recent.pop(key, None) or _at(scope, text(object).split("/"), attempt, check=False)
    if found._depth < 5:  # an artifact is what a task had when it was looked for
        _recent[key] = found
        if len(_recent) > _KEPT:
            del _recent[next(iter(_recent))]
    return found


def _at(scope: Scope, parts: list[str], attempt: int | None = None, check: bool = True) -> Any:
    found = _classes()[len(parts) - 1]._bare(scope, tuple(parts))
    if attempt is not None:
        found._attempt = attempt  # type: ignore[attr-defined]
    found._find(check)
    return found


def _scope(texts: list[str]) -> Scope:
    """The scope that R keeps as two texts: a key, and the namespace, which the global one lacks."""
    from metaflow_core.results.base import Scope

    return Scope(_place(texts[0]), texts[1] if len(texts) > 1 else None)


def _place(key: str) -> Backend:
    from metaflow_core.errors import MetaflowNotFound
    from metaflow_core.metadata.backend import open_backend
    from metaflow_core.results import provider

    digest = key.removeprefix(_DEFAULT)
    if digest not in _places:  # the object comes from another process
        default = open_backend()
        default = provider.backend_at(default.metadata_url, default.storage_url)
        for backend in (provider.backend(), default):
            _key(backend)
        if key != digest:
            _places.setdefault(digest, default)  # the project may be elsewhere now
    if digest not in _places:
        raise MetaflowNotFound(
            "This object was made with other metadata than what is read now. Choose it with set_metadata(), or make "
            "the object anew."
        )
    return _places[digest]


def _key(backend: Backend) -> str:
    from hashlib import blake2b

    from metaflow_core.results import provider

    digest = blake2b(f"{backend.metadata_url}\n{backend.storage_url}".encode(), digest_size=8).hexdigest()
    _places.setdefault(digest, backend)
    return (_DEFAULT if provider.is_default(backend) else "") + digest


def scope_texts(scope: Scope) -> Any:
    """The scope as R keeps it: see :func:`_scope`."""
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector([_key(scope.backend), *([] if scope.namespace is None else [scope.namespace])])


# --- objects ----------------------------------------------------------------------------------------------------------


def _open(pathspec: Any, attempt: Any, where: Any, check: Any) -> Any:
    """The scope of a new object, after a look whether it is there. ``where`` is the scope of what it was made from."""
    from metaflow_core.names import split_pathspec
    from metaflow_core.results.base import KINDS, Scope, current_scope

    scope = current_scope()
    if len(where):
        scope = Scope(_place(text(where)), scope.namespace)
    # A pathspec of the wrong length is explained by the kind that was asked for.
    parts = split_pathspec(text(pathspec), KINDS[: int(check[0])])
    _at(scope, parts, int(attempt[0]) if len(attempt) else None, bool(check[1]))
    return scope_texts(scope)


def _child(object: Any, id: Any) -> None:
    """Complain when the object has no such child, or has it in another namespace."""
    from metaflow_core.names import split_pathspec
    from metaflow_core.results.base import KINDS

    pathspec = f"{text(object)}/{text(id)}"
    parts = split_pathspec(pathspec, KINDS[: pathspec.count("/") + 1])
    _at(_scope(strings(object.do_slot("scope"))), parts, check=len(parts) == 2)  # what is in a run is where the run is


def _field(object: Any, name: Any) -> Any:
    from metaflow_r.client_values import to_r

    return to_r(getattr(_found(object), text(name)))


def _children(object: Any, tags: Any) -> Any:
    """The ids of what is in the object, newest first."""
    from metaflow_core.results import Flow
    from rpy2.rinterface import StrSexpVector

    from metaflow_r.client_tables import ids_of_runs

    found = _found(object)
    wanted = strings(tags)
    return StrSexpVector(ids_of_runs(found, wanted) if isinstance(found, Flow) else [child.id for child in found])


def _table(object: Any, ids: Any) -> Any:
    from metaflow_r.client_tables import table

    return table(_found(object), strings(ids))


def _empty_table(kind: Any) -> Any:
    from metaflow_r.client_tables import empty_table

    return empty_table(text(kind))


def _in_namespace(object: Any) -> Any:
    from metaflow_r.client_values import to_r

    return to_r(_found(object).is_in_namespace())


def _at_attempt(object: Any, attempt: Any) -> None:
    _found(object).at_attempt(int(attempt[0]))


# --- what runs and tasks have -----------------------------------------------------------------------------------------


def _artifact_names(task: Any) -> Any:
    from rpy2.rinterface import StrSexpVector

    return StrSexpVector([name for name in _found(task)._names() if not name.startswith("_")])


def _load(task: Any, name: Any, columns: Any) -> Any:
    """The value of an artifact, as R has it; of a table some columns alone, when they are named."""
    from metaflow_core.errors import MetaflowNotFound
    from metaflow_core.results import messages

    from metaflow_r.gil import release_at_exit
    from metaflow_r.read import to_r
    from metaflow_r.session import is_hosted
    from metaflow_r.text import is_sexp

    found = _found(task)
    artifact = found._child(text(name))
    if artifact is None:
        raise MetaflowNotFound(messages.no_artifact(found.pathspec, text(name), found.data))
    some = strings(columns) or None
    value = artifact.load("r", some)
    if some and is_hosted():
        release_at_exit()
    return value if is_sexp(value) else to_r(value)


def _log(task: Any, stream: Any) -> Any:
    from metaflow_r.client_values import frame, moments, texts

    lines = list(_found(task).loglines(text(stream)))
    return frame(time=moments([when for when, _ in lines]), line=texts([line for _, line in lines]))


def _facts(task: Any) -> Any:
    from metaflow_r.client_values import frame, moments, texts

    facts = _found(task).metadata
    return frame(
        name=texts([fact.name for fact in facts]),
        value=texts([str(fact.value) for fact in facts]),
        type=texts([fact.type for fact in facts]),
        created_at=moments([fact.created_at for fact in facts]),
    )


def _change_tags(run: Any, remove: Any, add: Any) -> None:
    _found(run).replace_tags(strings(remove), strings(add))


def _tag_history(run: Any) -> Any:
    from metaflow_r.client_values import frame, moments, texts

    history = _found(run).tag_history
    return frame(
        tag=texts([change.tag for change in history]),
        action=texts([change.action for change in history]),
        identity=texts([change.identity for change in history]),
        at=moments([change.at for change in history]),
    )


# --- flows, namespaces and metadata -----------------------------------------------------------------------------------


def _flows() -> Any:
    """The names of the flows in the namespace, newest first, with the scope in which they are."""
    from metaflow_core.results import Metaflow
    from rpy2.rinterface import StrSexpVector

    from metaflow_r.sexp import set_attribute

    everything = Metaflow()
    return set_attribute(StrSexpVector([flow.id for flow in everything]), "scope", scope_texts(everything._scope))


def _namespaces(flow: Any, system: Any) -> Any:
    from metaflow_core.results import list_namespaces

    from metaflow_r.client_values import frame, lists, moments, numbers, texts

    found = list_namespaces(text(flow) or None, bool(system[0]))
    return frame(
        namespace=texts([one.namespace for one in found]),
        runs=numbers([one.runs for one in found]),
        since=moments([one.since for one in found]),
        latest=moments([one.latest for one in found]),
        owners=lists([one.owners for one in found]),
    )


def _collect_garbage(*arguments: Any) -> Any:
    from metaflow_r.garbage import collect

    return collect(*arguments)


def _setting(name: str) -> Callable[..., Any]:
    """One of the functions that choose or tell what is read; NULL is None."""

    def call(*arguments: Any) -> Any:
        from metaflow_core import results
        from rpy2.rinterface import NULL

        from metaflow_r.client_values import to_r

        return to_r(getattr(results, name)(*(None if given is NULL else text(given) for given in arguments)))

    return call


def _environment(names: Any, values: Any) -> None:
    from metaflow_r.program import set_environment

    set_environment(strings(names), strings(values))


def _versions() -> Any:
    import sys
    from importlib.metadata import PackageNotFoundError, version

    from metaflow_core import __version__

    from metaflow_r.client_values import to_r

    facts = {"metaflow": __version__, "python": ".".join(map(str, sys.version_info[:3])), "executable": sys.executable}
    for package in ("rpy2", "pyarrow", "numpy", "pandas"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return to_r(facts)


def _settings() -> Any:
    from metaflow_core.cli.all_settings import all_settings
    from rpy2.rinterface import NA_Character, StrSexpVector

    from metaflow_r.client_values import frame, texts

    rows = all_settings()
    values = [str(row.value).lower() if isinstance(row.value, bool) else row.value for row in rows]
    return frame(
        setting=texts([row.variable for row in rows]),
        value=StrSexpVector([NA_Character if value is None else str(value) for value in values]),
        **{"from": texts([row.origin for row in rows])},
        kind=texts([row.kind for row in rows]),
        note=texts([row.note for row in rows]),
    )


def _plugins() -> Any:
    from metaflow_core.cli.all_plugins import all_plugins

    from metaflow_r.client_values import frame, texts

    rows = all_plugins()
    return frame(
        plugin=texts([row.name for row in rows]),
        distribution=texts([row.distribution for row in rows]),
        version=texts([row.version for row in rows]),
        module=texts([row.module for row in rows]),
        hooks=texts([", ".join(row.hooks) for row in rows]),
        problem=texts([" ".join(row.problems) for row in rows]),
    )


def _in_r(function: Callable[..., Any]) -> Callable[..., Any]:
    """What goes wrong in a call from R is explained in R, even when Python hosts the process."""

    @wraps(function)
    def call(*arguments: Any) -> Any:
        from metaflow_core.results import messages

        before = messages.spell(messages.R)
        try:
            return function(*arguments)
        finally:
            messages.spell(before)

    return call


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "client_open": _open,
    "client_child": _child,
    "client_field": _field,
    "client_children": _children,
    "client_table": _table,
    "client_empty_table": _empty_table,
    "client_in_namespace": _in_namespace,
    "client_at_attempt": _at_attempt,
    "client_artifact_names": _artifact_names,
    "client_load": _load,
    "client_log": _log,
    "client_facts": _facts,
    "client_change_tags": _change_tags,
    "client_tag_history": _tag_history,
    "client_flows": _flows,
    "list_namespaces": _namespaces,
    "collect_garbage": _collect_garbage,
    "namespace": _setting("namespace"),
    "get_namespace": _setting("get_namespace"),
    "default_namespace": _setting("default_namespace"),
    "metadata": _setting("metadata"),
    "get_metadata": _setting("get_metadata"),
    "inspect_spin": _setting("inspect_spin"),
    "default_metadata": _setting("default_metadata"),
    "set_environment": _environment,
    "plugins": _plugins,
    "settings": _settings,
    "versions": _versions,
}

FOR_R = {name: _in_r(function) for name, function in _FUNCTIONS.items()}
