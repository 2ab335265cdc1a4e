"""What may get to a terminal: colours when they are wanted, and nothing of a task's that would move the cursor."""

from __future__ import annotations

import os
import re

# Sequences of colour (`ESC [ ... m`) may pass. All others move the cursor, or change the terminal. They are compiled
# when they are used, because most runs do without.
_ESCAPE = r"\x1b(?:\[(?![\d;:]*m)[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()#%].?|[^\[\]]|$)"
_CONTROL = r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]"
END = "\x1b[0m"


def wants_colour(is_terminal: bool) -> bool:
    """Whether to colour: as ``METAFLOW_COLOR`` says, by default on a terminal unless ``NO_COLOR`` is set."""
    from metaflow_core import settings

    chosen = settings.get("COLOR")
    if chosen == "auto":
        return is_terminal and not os.environ.get("NO_COLOR")
    return bool(chosen == "always")


def harmless(text: str) -> str:
    """A line of a task as a terminal may get it: colours stay, what would move the cursor does not.

    Of a text that was written over itself, as progress bars are, the last state is left.

    >>> harmless("  1%\\r 99%\\r100% of \\x1b[2Ait\\x07")
    '100% of it'
    """
    if text.isprintable():
        return text
    text = text.rstrip("\r").rpartition("\r")[2]
    if "\x1b" in text:
        text = re.sub(_ESCAPE, "", text)
        if "\x1b" in text:
            text += END
    return re.sub(_CONTROL, "", text)
