"""Who runs this: the name behind ``user:`` and ``production:`` tags."""

from __future__ import annotations

import os
import sys
import time

from metaflow_core import __version__, settings
from metaflow_core.errors import MetaflowException, MetaflowUnknownUser
from metaflow_core.names import check_tag, show

MAX_USER = 200
PRODUCTION = "production:"

own_run = ""  # pathspec of the run of which this process executes a task, which it can open in every namespace


def user() -> str:
    """The name of the user: ``METAFLOW_USER``, else ``SUDO_USER``, ``USERNAME`` or ``USER``.

    ``root`` is nobody in particular, so it counts only when ``METAFLOW_USER`` says it. ``MetaflowUnknownUser`` when no
    name is left, ``MetaflowException`` when the name is no usable text.
    """
    named: str | None = settings.get("USER")
    if named is not None:
        return _check(named, settings.SETTINGS["USER"].variable)
    for variable in ("SUDO_USER", "USERNAME", "USER"):
        name = os.environ.get(variable)
        if name and name != "root":
            return _check(name, variable)
    raise MetaflowUnknownUser()


def identity() -> str:
    """The tag that says to whom a run belongs, which is also the default namespace.

    ``production:<token>`` in a production deployment (``METAFLOW_PRODUCTION_TOKEN``), else ``user:<name>``.
    """
    token: str | None = settings.get("PRODUCTION_TOKEN")
    if token is None:
        return f"user:{user()}"
    return check_tag(PRODUCTION + token.removeprefix(PRODUCTION))


def system_tags(runtime: str = "dev", *, now: float | None = None, **more: str) -> list[str]:
    """The tags that every run gets: identity, runtime, versions and the date in UTC.

    ``runtime`` is ``dev``, or the orchestrator's name. ``now`` is in seconds since 1970. ``more`` are further tags of
    the form ``name:value``: ``system_tags(r_version="4.2.2", project="fraud")``.
    """
    facts = {
        "runtime": runtime,
        "metaflow_version": __version__,
        "python_version": ".".join(map(str, sys.version_info[:3])),
        **more,
        "date": time.strftime("%Y-%m-%d", time.gmtime(now)),
    }
    return [identity(), *(check_tag(f"{name}:{value}") for name, value in facts.items())]


def _check(name: str, variable: str) -> str:
    if name != name.strip() or not name.isprintable():
        raise MetaflowException(
            f"{variable} is no user name: {show(name)}. Use printable text without blanks around it."
        )
    if len(name) > MAX_USER:
        raise MetaflowException(
            f"{variable} is too long for a user name: {len(name)} of at most {MAX_USER} characters."
        )
    return name
