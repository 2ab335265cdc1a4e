"""Every error of the system, in one table.

An error is a contract: it says what failed in the user's terms, what was passed, and what to do.
Each class carries the exit code of the command line and the name of the R condition it becomes;
:func:`table` lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


class MetaflowException(Exception):
    """Parent of every error that this package raises on purpose.

    ``headline`` is the title the command line prints above the message, ``exit_code`` its exit status and
    ``condition`` the class of the R condition that the error becomes.
    """

    headline = "Error"
    exit_code = 1
    condition = "metaflow_error"

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "condition" not in cls.__dict__:
            words = re.sub(r"(Exception|Error)$", "", cls.__name__.removeprefix("Metaflow"))
            cls.condition = "metaflow_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words).lower()

    def __init__(self, msg: str = "", lineno: int | None = None, source_file: str | None = None) -> None:
        self.message = msg
        self.line_no = lineno
        self.source_file = source_file
        super().__init__(msg)

    def __str__(self) -> str:
        return self.message


class CommandException(MetaflowException):
    """A command that can't be carried out as it was given."""

    headline = "Invalid command"


class MetaflowUsageError(MetaflowException):
    """Wrong use of the command line."""

    headline = "Usage"
    exit_code = 2


# --- flows ---------------------------------------------------------------------------------------------------------


class LintWarn(MetaflowException):
    """The flow's graph, or a parameter of the flow, is invalid."""

    headline = "Validity checker found an issue"


class InvalidNextException(MetaflowException):
    """A ``self.next`` call that does not fit the flow."""

    headline = "Invalid transition"


class ParameterFieldFailed(MetaflowException):
    """A function that computes a field of a parameter raised."""

    headline = "Parameter failed"


class ParameterFieldTypeMismatch(MetaflowException):
    """A field of a parameter has the wrong type."""

    headline = "Parameter of another type"


class BadStepDecoratorException(MetaflowException):
    """A step decorator stands where there is no step."""

    headline = "Syntax error"


class BadFlowDecoratorException(MetaflowException):
    """A flow decorator stands where there is no flow."""

    headline = "Syntax error"


class DuplicateStepDecoratorException(MetaflowException):
    """A decorator that may appear once was given twice for one step."""

    headline = "Duplicate decorators"


class DuplicateFlowDecoratorException(MetaflowException):
    """A decorator that may appear once was given twice for one flow."""

    headline = "Duplicate decorators"


class UnknownStepDecoratorException(MetaflowException):
    """No step decorator has this name."""

    headline = "Unknown step decorator"


class UnknownFlowDecoratorException(MetaflowException):
    """No flow decorator has this name."""

    headline = "Unknown flow decorator"


class InvalidDecoratorAttribute(MetaflowException):
    """A decorator does not take this argument, or not this value."""

    headline = "Invalid argument of a decorator"


# --- values --------------------------------------------------------------------------------------------------------


class MetaflowDataMissing(MetaflowException):
    """Stored data that should be there is not."""

    headline = "Data missing"


class UnserializableValue(MetaflowException):
    """A value that can't be stored as an artifact. ``path`` leads to the bad element."""

    headline = "Artifact can't be stored"

    def __init__(self, msg: str, path: str = "") -> None:
        self.path = path
        super().__init__(msg)


class UnreadableArtifact(MetaflowException):
    """A stored artifact that can't be read here: damaged, refused, or of a newer format."""

    headline = "Artifact can't be read"


class MergeArtifactsException(MetaflowException):
    """``merge_artifacts`` was used outside a join, or in a way that does not fit it."""

    headline = "Can't merge artifacts"


class UnhandledInMergeArtifactsException(MetaflowException):
    """Artifacts differ between branches. ``artifact_names`` lists them."""

    headline = "Unhandled artifacts in merge"

    def __init__(self, msg: str, unhandled: Iterable[str]) -> None:
        self.artifact_names = list(unhandled)
        super().__init__(msg)


class MissingInMergeArtifactsException(MetaflowException):
    """Artifacts named in ``include`` are in no branch. ``artifact_names`` lists them."""

    headline = "Missing artifacts in merge"

    def __init__(self, msg: str, missing: Iterable[str]) -> None:
        self.artifact_names = list(missing)
        super().__init__(msg)


# --- results -------------------------------------------------------------------------------------------------------


class MetaflowNotFound(MetaflowException):
    """The object that was asked for does not exist."""

    headline = "Object not found"


class MetaflowNamespaceMismatch(MetaflowException):
    """The object exists, but in another namespace."""

    headline = "Object not in the current namespace"


class MetaflowInvalidPathspec(MetaflowException):
    """A pathspec with the wrong number of parts, or with a part that is no name."""

    headline = "Invalid pathspec"


class InvalidSearch(MetaflowException):
    """A search for runs that can't be understood, or names what no run has."""

    headline = "Invalid search"


class MetaflowTaggingError(MetaflowException):
    """A change of tags that is not allowed."""

    headline = "Tagging error"
    condition = "metaflow_tagging_error"


class MetaflowUnknownUser(MetaflowException):
    """No user name could be determined."""

    headline = "Unknown user"

    def __init__(self, msg: str = "") -> None:
        super().__init__(
            msg
            or "The user name could not be determined from METAFLOW_USER, SUDO_USER, USERNAME or USER (root counts as "
            "unknown). Set it: export METAFLOW_USER=<your name>"
        )


# --- stores --------------------------------------------------------------------------------------------------------


class MetadataError(MetaflowException):
    """The metadata database can't be used: unreachable, read-only, damaged or too new."""

    headline = "Metadata database"


class StorageError(MetaflowException):
    """The artifact store can't be used: unreachable, read-only or full."""

    headline = "Artifact store"


class PluginError(MetaflowException):
    """No plugin that works provides what was asked for, or two provide it."""

    headline = "Missing plugin"


# --- tasks ---------------------------------------------------------------------------------------------------------


class TimeoutException(MetaflowException):
    """A step ran longer than its ``@timeout``."""

    headline = "Step timed out"


class ComputeUnavailable(MetaflowException):
    """The machines on which tasks were to run can't be reached, or can't run them."""

    headline = "Compute unavailable"


class AttemptGivenUp(MetaflowException):
    """An attempt has a result already, so that of a process which was taken for dead does not count."""

    headline = "Result dropped"


class NotDue(MetaflowException):
    """A task of a deployed flow that an orchestrator has started, and to which nothing that has ended leads."""

    headline = "Nothing to run"


class IncorrectProductionToken(MetaflowException):
    """A deployment that only who has its production token may replace, stop or remove."""

    headline = "Production token missing"


class FailureHandledByCatch(MetaflowException):
    """What ``@catch`` stores when the task's process died without an exception."""

    headline = "Task failed but handled by @catch"


class TaskDied(MetaflowException):
    """A task's process ended without reporting a result."""

    headline = "Task died"


class RunFailed(MetaflowException):
    """The run did not succeed."""

    headline = "Workflow failed"


class StepEnvironmentError(MetaflowException):
    """The packages that a step asks for can't be had."""

    headline = "Packages of a step"


class MetaflowInternalError(MetaflowException):
    """A mistake of this package; please report it."""

    headline = "Internal error"


def table() -> list[type[MetaflowException]]:
    """Every error class, parents before children.

    >>> [e.condition for e in table() if e.__name__ == "MetaflowNamespaceMismatch"]
    ['metaflow_namespace_mismatch']
    """
    found: list[type[MetaflowException]] = [MetaflowException]
    for cls in found:
        found.extend(c for c in cls.__subclasses__() if c.__module__ == __name__)
    return found
