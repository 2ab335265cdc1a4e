"""Where a flow in R is written: R does not keep the lines of a script, so its text is searched."""

from __future__ import annotations

import dataclasses
import re

from metaflow_core.graph.model import ConfigDef, FlowDef, Location

_FLOW = r"\bmetaflow\s*\(\s*(name\s*=\s*)?"


def locate(flow: FlowDef, path: str) -> None:
    """Give flow, steps, transitions, parameters and configs their lines in the script, where they are written there.

    What is written twice, or made in a loop, gets none: a message without a line is better than one with a wrong line.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            script = "\n".join("" if line.lstrip().startswith("#") else line for line in file.read().splitlines())
    except OSError:
        return

    def only(pattern: str, begin: int, end: int) -> int | None:
        found = [match.start() for match in re.compile(pattern).finditer(script, begin, end)]
        return found[0] if len(found) == 1 else None

    def line(place: int) -> Location:
        return Location(path, script.count("\n", 0, place) + 1)

    begin = only(_FLOW + _quoted(flow.name), 0, len(script))
    if begin is None:
        return
    flow.location = line(begin)
    following = re.compile(_FLOW + "[\"']").search(script, begin + 1)
    end = following.start() if following else len(script)
    places = {step.name: only(rf"(?<![\w.])step\s*=\s*{_quoted(step.name)}", begin, end) for step in flow}
    for step in flow:
        place = places[step.name]
        if place is None:
            continue
        step.location = line(place)
        if step.transition is not None:
            until = min((other for other in places.values() if other is not None and other > place), default=end)
            written = re.compile(r"\bnext_step\s*=").search(script, place, until)
            step.transition = dataclasses.replace(step.transition, location=line(written.start() if written else place))
    for given in flow.given:
        kind = "config" if isinstance(given, ConfigDef) else "parameter"
        place = only(rf"\b{kind}\s*\(\s*(({kind}|name)\s*=\s*)?{_quoted(given.name)}", begin, end)
        if place is not None:
            given.location = line(place)


def _quoted(name: str) -> str:
    return rf"[\"']{re.escape(name)}[\"']"
