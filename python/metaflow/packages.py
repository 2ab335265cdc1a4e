"""The installed Python packages."""

from __future__ import annotations

import os
import sys


def installed() -> dict[str, str]:
    """Every installed distribution with its version, in the order of the alphabet.

    The names of the directories in which installers keep their records tell both, so that nothing is opened, and
    ``importlib.metadata``, whose import takes longer than a small run, is not needed.
    The format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                package, _, version = name.rpartition(".")[0].partition("-")
                if version:
                    # What comes first is what is imported. Old records end with the version of Python.
                    found.setdefault(package.replace("_", "-").lower(), version.partition("-py")[0])
    return dict(sorted(found.items()))
