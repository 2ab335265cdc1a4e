"""What an interpreter of a step's own needs of us: our requirements, and our code.

Only our packages must be importable there. Where we are installed as a wheel, they lie among all others, so that a
folder with links to them and to nothing else is what goes onto its path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache

from metaflow_core.errors import StepEnvironmentError
from metaflow_core.plugins import installed_records

_DISTRIBUTION = "metaflow_tandem"
_PACKAGES = ("metaflow_core", "metaflow", "metaflow_plugins", "metaflow_r")


def requirements(stores: Iterable[str]) -> list[str]:
    """The requirements of the core, and those of the extras that are named like the schemes of the stores' URLs."""
    extras = {url.partition(":")[0].partition("+")[0] for url in stores if "://" in url}
    found = []
    for line in _metadata():
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra is None:
            found.append(line.strip())
        elif extra[1] in extras:
            found.append(requirement.strip())
    return sorted(found)


@cache
def source() -> str:
    """A folder from which our packages, and nothing else, can be imported."""
    import importlib.util

    import blake3

    from metaflow_core.engine.environment_cache import root

    places = {}
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            places[name] = os.path.dirname(os.path.abspath(spec.origin))
    record = _record()
    places[os.path.basename(record)] = record  # has the entry points of our plugins
    id = blake3.blake3(repr(sorted(places.items())).encode()).hexdigest(length=12)
    folder = os.path.join(root(), "source", id)
    if os.path.isdir(folder):
        return folder
    making = f"{folder}.{os.getpid()}"
    try:
        os.makedirs(making)
        for name, place in places.items():
            os.symlink(place, os.path.join(making, name))
        os.rename(making, folder)
    except OSError as error:
        if not os.path.isdir(folder):
            raise StepEnvironmentError(
                f"The folder of environments {root()} can't be written: {error.strerror}."
            ) from None
        import shutil

        shutil.rmtree(making)  # another process was faster
    return folder


def _metadata() -> Iterator[str]:
    with open(os.path.join(_record(), "METADATA"), encoding="utf-8") as file:
        for line in file:
            if not line.strip():
                return  # the description follows
            name, _, value = line.partition(":")
            if name == "Requires-Dist":
                yield value.strip()


def _record() -> str:
    for folder, name in installed_records():
        if name.startswith(f"{_DISTRIBUTION}-") and name.endswith(".dist-info"):
            return os.path.join(os.path.abspath(folder), name)
    raise StepEnvironmentError("This installation of metaflow-tandem has no record of what it requires. Reinstall it.")
