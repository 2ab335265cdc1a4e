"""Names on AWS: of state machines, of their states, and of the rules that start them."""

from __future__ import annotations

import hashlib
import re

from metaflow_core import settings

NAME = "step-functions"  # on the command line
RESULTS = "dynamodb://"  # TABLE/FLOW is where a task tells what follows it
KEY = "pathspec"  # of the table of DynamoDB, where what a task tells is below Flow/run/step/path
MAX_EVENT_NAME = 128  # characters of a DetailType
PAGE = "docs/step-functions.md"
MOST = 80  # characters of the name of a state machine, and of a state


def machine_name(deployment: str) -> str:
    """A name of its own for each deployment, made of letters, digits, ``-`` and ``_``.

    >>> machine_name("TrainFlow"), machine_name("fraud.user.anne.TrainFlow")
    ('TrainFlow', 'fraud-user-anne-TrainFlow-f6a53bd3')
    """
    prefix = settings.get("SFN_STATE_MACHINE_PREFIX")
    wanted = f"{prefix}_{deployment}" if prefix else deployment
    return _shortened(wanted, re.sub(r"[^A-Za-z0-9_-]+", "-", wanted))


def state_name(step: str, what: str = "") -> str:
    """The step's name, or ``step (what)`` for a state that belongs to it. No step has a name with a blank."""
    wanted = f"{step} ({what})" if what else step
    return _shortened(wanted, wanted)


def rule_prefix(machine: str) -> str:
    """What the names of all rules of a state machine begin with, and of no other: rules have at most 64 characters.

    >>> rule_prefix("TrainFlow")
    'metaflow-TrainFlow-af259a0e-'
    """
    return f"metaflow-{machine[:32]}-{_digits(machine)}-"


def _shortened(wanted: str, legal: str) -> str:
    if legal == wanted and len(wanted) <= MOST:
        return wanted
    return f"{legal[: MOST - 9]}-{_digits(wanted)}"


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
