"""An error for the program that has started this one: its class and its message, as JSON in a file."""

from __future__ import annotations

import json

ERROR_FILE = "METAFLOW_INTERNAL_ERROR_FILE"  # of the environment: the file


def write_error(file: str | None, name: str, message: str) -> None:
    """Write the error of the class ``name`` to ``file``, if there is one."""
    if file:
        with open(file, "w", encoding="utf-8") as opened:
            json.dump({"type": name, "message": message}, opened)
