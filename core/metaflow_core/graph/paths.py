"""How a path to the user's source is shown."""

from __future__ import annotations

import os


def shown_path(file: str) -> str:
    """A path as messages show it: relative when it lies below the working directory."""
    try:
        relative = os.path.relpath(file)
    except (OSError, ValueError):  # the working directory is gone, or another drive
        return file
    return file if relative.startswith(os.pardir) else relative
