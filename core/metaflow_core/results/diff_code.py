"""How the code, the graph and the environment of two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class GraphChange(NamedTuple):
    """``what`` is ``step`` for one that was added or removed, else the fact that has changed: ``next``, ``@retry``."""

    step: str | None  # None: the flow itself
    what: str
    change: str
    old: Any
    new: Any


class EnvironmentChange(NamedTuple):
    """A package of a language, or with ``language`` None a fact such as the version of Python."""

    language: str | None
    name: str
    old: str | None
    new: str | None

    @property
    def change(self) -> str:
        return "added" if self.old is None else "removed" if self.new is None else "changed"


def changed_code(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> dict[str, str]:
    """By file, a unified diff. The flows' own files are compared with each other whatever they are called."""
    pairs = [(path, path) for path in new if path in old]
    first = next(iter(old), None), next(iter(new), None)
    renamed = None not in first and first[0] not in new and first[1] not in old
    if renamed:
        pairs.insert(0, (str(first[0]), str(first[1])))
    paired = ({a for a, _ in pairs}, {b for _, b in pairs})
    found: dict[str, str] = {}
    for before, after in [
        *pairs,
        *((path, "") for path in old if path not in paired[0]),
        *(("", path) for path in new if path not in paired[1]),
    ]:
        text = _unified(before, old.get(before, "") or "", after, new.get(after, "") or "")
        if text:
            found[after or before] = text
    return found


def _unified(old: str, before: str, new: str, after: str) -> str:
    import difflib

    if before == after:
        return ""
    names = (old or "/dev/null", new or "/dev/null")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
    return "\n".join(lines) or f"--- {names[0]}\n+++ {names[1]}\n(only the ends of lines differ)"


_FACTS = ("type", "language", "next", "foreach", "num_parallel", "condition", "cases")


def changed_graph(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[GraphChange]:
    """Steps that were added, removed or changed, and decorators."""
    before, after = old.get("steps", {}), new.get("steps", {})
    found = list(_decorators(None, old, new))
    for name in dict.fromkeys([*before, *after]):
        if name not in before:
            found.append(GraphChange(name, "step", "added", None, after[name].get("next")))
        elif name not in after:
            found.append(GraphChange(name, "step", "removed", before[name].get("next"), None))
        else:
            for fact in _FACTS:
                one, other = before[name].get(fact), after[name].get(fact)
                if one != other:
                    found.append(GraphChange(name, fact, "changed", one, other))
            found += _decorators(name, before[name], after[name])
    return found


def _decorators(step: str | None, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[GraphChange]:
    before, after = ({d["name"]: d["attributes"] for d in one.get("decorators", [])} for one in (old, new))
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if one != other:
            change = "added" if name not in before else "removed" if name not in after else "changed"
            yield GraphChange(step, f"@{name}", change, one, other)


def changed_environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[EnvironmentChange]:
    """Versions and packages that differ; nothing when one of the two was not recorded."""
    if not old or not new:
        return []
    groups: list[tuple[str | None, Mapping[str, str], Mapping[str, str]]] = [
        (None, {"platform": old["platform"], **old["versions"]}, {"platform": new["platform"], **new["versions"]})
    ]
    for language in dict.fromkeys([*old["packages"], *new["packages"]]):
        if language in old["packages"] and language in new["packages"]:
            groups.append((language, old["packages"][language], new["packages"][language]))
    groups += _changed_in_steps(old, new)
    return [
        EnvironmentChange(language, name, before.get(name), after.get(name))
        for language, before, after in groups
        for name in sorted({**before, **after})
        if before.get(name) != after.get(name)
    ]


def _changed_in_steps(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[tuple[str | None, Mapping[str, str], Mapping[str, str]]]:
    """Versions with which steps with packages of their own ran; those that changed in the same way are one group."""
    groups: dict[tuple[str | None, str | None], list[str]] = {}
    before, after = old.get("steps", {}), new.get("steps", {})
    for step in dict.fromkeys([*before, *after]):
        if before.get(step) != after.get(step):
            groups.setdefault((before.get(step), after.get(step)), []).append(step)
    return [
        (f"step {', '.join(steps)}", _versions(old, one, new, other), _versions(new, other, old, one))
        for (one, other), steps in groups.items()
    ]


def _versions(run: Mapping[str, Any], id: str | None, other: Mapping[str, Any], other_id: str | None) -> dict[str, str]:
    """What a step ran with. Where it had no packages of its own, those of the whole run that the other one has, too."""
    if id is not None:
        own = run["environments"][id]
        return {own["language"]: own["version"], **own["packages"]}
    theirs = other["environments"][other_id]
    known = {**run["packages"].get(theirs["language"], {}), **run["versions"]}
    return {name: known[name] for name in (theirs["language"], *theirs["packages"]) if name in known}
