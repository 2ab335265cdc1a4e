"""Lineage, what ran, and the comparison of runs, as R has them: data frames, named vectors and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow_r.client import _found, _in_r
from metaflow_r.text import is_sexp, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from metaflow_core.results.lineage import ArtifactReads


def _inputs(run: Any) -> Any:
    return _reads(_found(run).inputs)


def _consumers(run: Any) -> Any:
    return _reads(_found(run).consumers)


def _reads(reads: ArtifactReads) -> Any:
    from metaflow_r.client_values import frame, moments, texts

    return frame(
        artifact=texts([read.artifact for read in reads]),
        run=texts([read.run_pathspec for read in reads]),
        step=texts([read.step for read in reads]),
        task=texts([read.task for read in reads]),
        at=moments([read.at for read in reads]),
    )


def _source(run: Any) -> Any:
    return _named_texts(_found(run).source)


def _environment(run: Any) -> Any:
    from metaflow_r.client_values import to_r
    from metaflow_r.sexp import named_list

    found = _found(run).environment
    if not found:
        return None
    packages = {language: _named_texts(versions) for language, versions in found["packages"].items()}
    parts = {"platform": to_r(found["platform"]), "versions": _named_texts(found["versions"])}
    return named_list({**parts, "packages": named_list(packages)})


def _trigger(run: Any) -> Any:
    """The events that have started the run, each a list; None when there are none."""
    from rpy2.rinterface import ListSexpVector

    from metaflow_r.client_values import to_r
    from metaflow_r.read import to_r as to_value
    from metaflow_r.sexp import named_list

    found = _found(run).trigger
    if found is None:
        return None
    return ListSexpVector(
        [
            named_list(
                {
                    **{name: to_r(getattr(event, name)) for name in ("name", "id", "timestamp", "type")},
                    "payload": to_value(dict(event.payload)),
                }
            )
            for event in found.events
        ]
    )


def _diff(one: Any, other: Any, full: Any) -> Any:
    """The parts of a comparison: facts, a table of what differs, diffs of the code, and its text by line and style."""
    from metaflow_core.results.diff_data import rows
    from metaflow_core.results.diff_text import lines

    from metaflow_r.client_values import frame, to_r
    from metaflow_r.sexp import named_list

    is_object = is_sexp(other) and "scope" in other.list_attrs()
    diff = _found(one).diff(_found(other) if is_object else text(other), bool(full[0]))
    table = rows(diff)
    columns = {name: _maybe([getattr(row, name) for row in table]) for name in _COLUMNS}
    shown = list(lines(diff))
    return named_list(
        {
            "old": to_r(diff.old.pathspec),
            "new": to_r(diff.new.pathspec),
            "differs": to_r(diff.differs),
            "facts": frame(
                fact=_maybe(list(diff.facts)),
                old=_maybe([_fact(old) for old, _ in diff.facts.values()]),
                new=_maybe([_fact(new) for _, new in diff.facts.values()]),
            ),
            "changes": frame(**columns),
            "code": _named_texts(diff.code),
            "text": _maybe([line.text for line in shown]),
            "styles": _maybe([line.style for line in shown]),
            "html": to_r(diff._repr_html_()),
        }
    )


_COLUMNS = ("section", "step", "name", "change", "old", "new", "detail")


def _fact(value: Any) -> str | None:
    if value is None:
        return None
    return f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "isoformat") else str(value)


def _named_texts(values: Mapping[str, str | None]) -> Any:
    """A named character vector, NA for None."""
    from metaflow_r.client_values import texts
    from metaflow_r.sexp import set_attribute

    return set_attribute(_maybe(list(values.values())), "names", texts(list(values)))


def _maybe(values: Sequence[str | None]) -> Any:
    """A character vector, NA for None."""
    from rpy2.rinterface import NA_Character, StrSexpVector

    return StrSexpVector([NA_Character if value is None else value.replace("\0", "\\0") for value in values])


def _publish_event(name: Any, payload: Any, id: Any) -> Any:
    """Publish an event with the fields of an R list; its id."""
    from metaflow_core.deployment.publish import publish_event

    from metaflow_r.client_values import to_r

    return to_r(publish_event(text(name), _fields(payload), text(id) or None))


def _publish_argo_event(name: Any, url: Any, payload: Any, access_token: Any, force: Any) -> Any:
    """Post an event with the fields of an R list to Argo Events; its id, or None when it is not to be posted here."""
    from metaflow_core.deployment.argo_events import ArgoEvent

    from metaflow_r.client_values import to_r

    event = ArgoEvent(text(name), text(url) or None, _fields(payload), text(access_token) or None)
    return to_r(event.publish(force=bool(force[0]), ignore_errors=False))


def _fields(payload: Any) -> dict[str, Any]:
    """What an R list has, whose vectors are lists of JSON."""
    from metaflow_core.errors import MetaflowException

    from metaflow_r.program import plain

    fields = plain(payload) or {}
    if not isinstance(fields, Mapping):
        raise MetaflowException("The payload of an event is a named list, such as list(rows = 100).")
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in fields.items()}


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "client_inputs": _inputs,
    "client_consumers": _consumers,
    "client_source": _source,
    "client_environment": _environment,
    "client_trigger": _trigger,
    "publish_event": _publish_event,
    "publish_argo_event": _publish_argo_event,
    "client_diff": _diff,
}

FOR_R = {name: _in_r(function) for name, function in _FUNCTIONS.items()}
