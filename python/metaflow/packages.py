"""The installed Python packages."""

from __future__ import annotations

from metaflow_core.plugins import installed_records


def installed() -> dict[str, str]:
    """Every installed distribution with its version, in the order of the alphabet.

    The names of the records tell both, so that nothing is opened.
    """
    found: dict[str, str] = {}
    for _, name in installed_records():
        package, _, version = name.rpartition(".")[0].partition("-")
        if version:
            # What comes first is what is imported. Old records end with the version of Python.
            found.setdefault(package.replace("_", "-").lower(), version.partition("-py")[0])
    return dict(sorted(found.items()))
