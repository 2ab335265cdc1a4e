"""Calls of AWS: clients, and errors of the SDK in the user's terms. Only functions import the SDK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from metaflow_core.errors import ComputeUnavailable, PluginError


def clients(services: Sequence[str], needed_by: str, start: str) -> list[Any]:
    """A client for each service; ``start`` begins the message when there can be none."""
    try:
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError as error:
        raise PluginError(f"{needed_by} needs the package boto3: pip install 'metaflow-tandem[aws]'.") from error
    # Calls that are throttled are repeated, later and later.
    config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "adaptive", "total_max_attempts": 10})
    session = get_session()
    with explained(start):
        return [session.create_client(service, config=config) for service in services]


@contextmanager
def explained(start: str, page: str = "docs/aws-batch.md") -> Iterator[None]:
    """``ComputeUnavailable`` instead of errors of the SDK. ``page`` lists what has to be allowed."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ComputeUnavailable(f"{start}: {reason(error, page)}") from None


def code_of(error: BaseException) -> str:
    """What AWS calls the error; "" when it is none of AWS."""
    with suppress(AttributeError, KeyError):
        return str(error.response["Error"]["Code"])  # type: ignore[attr-defined]
    return ""


def reason(error: Exception, page: str = "docs/aws-batch.md") -> str:
    """What went wrong, and what to do."""
    said = " ".join(str(error).split()).rstrip(".")
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"):
        return (
            f"there are no AWS credentials ({said}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if kind == "NoRegionError":
        return "no region is set. Set AWS_DEFAULT_REGION, or a region in the AWS profile."
    if kind in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"):
        return f"AWS does not answer ({said}). See to the network and the region."
    code = code_of(error)
    if code in ("AccessDeniedException", "AccessDenied"):
        return f"you may not do that ({said}). {page} lists what has to be allowed."
    if code in ("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"):
        return f"the AWS credentials are expired or wrong ({said}). Log in again."
    return f"{said}."
