"""Secrets that AWS Secrets Manager keeps: ``@secrets(sources=["aws-secrets-manager.my-secret"])``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from metaflow_core import settings
from metaflow_core.errors import InvalidDecoratorAttribute, MetaflowException
from metaflow_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metaflow_core.decorators.interface import SecretsProvider

NAME = "aws-secrets-manager"
_OPTIONS: dict[str, tuple[type, str]] = {
    "region": (str, "text, such as eu-central-1"),
    "json": (bool, "true or false"),
    "env_var_name": (str, "the name of a variable"),
    "keys": (list, "a list of names"),
    "version_id": (str, "text"),
    "version_stage": (str, "text, such as AWSPREVIOUS"),
}


@hookimpl
def secrets_provider(name: str) -> SecretsProvider | None:
    return AwsSecretsManager() if name == NAME else None


@hookimpl
def secrets_provider_names() -> Sequence[str]:
    return [NAME]


class AwsSecretsManager:
    """The id is the name or the ARN of a secret.

    A secret that is a JSON object gives a variable for each of its keys. Any other text gives one variable, and so does
    a binary secret, in base64: its name is the option ``env_var_name``, or the last part of the secret's name.
    """

    def check(self, id: str, options: Mapping[str, Any]) -> None:
        if not id:
            raise InvalidDecoratorAttribute(f'a source of the type {NAME} needs an id, as in "{NAME}.my-secret".')
        for key, value in options.items():
            if key not in _OPTIONS:
                raise InvalidDecoratorAttribute(
                    f"a source of the type {NAME} does not take the option {key!r}. Its options: {', '.join(_OPTIONS)}."
                )
            type, expected = _OPTIONS[key]
            fits = isinstance(value, type) or (key == "keys" and isinstance(value, (str, tuple)))
            if not fits or (key == "keys" and not all(isinstance(one, str) for one in value)):
                raise InvalidDecoratorAttribute(f"the option {key} of a source of the type {NAME} must be {expected}.")

    def fetch(self, id: str, options: Mapping[str, Any], role: str | None) -> Mapping[str, str]:
        region = options.get("region") or _region_of(id) or settings.get("AWS_SECRETS_MANAGER_DEFAULT_REGION")
        wanted = {"VersionId": options.get("version_id"), "VersionStage": options.get("version_stage")}
        with _explained(id, role):
            client = _client("secretsmanager", region, _credentials_of(role, region))
            answer = client.get_secret_value(SecretId=id, **{key: text for key, text in wanted.items() if text})
        found = _variables(answer, id, options)
        keys = options.get("keys")
        if keys is None:
            return found
        keys = [keys] if isinstance(keys, str) else list(keys)
        missing = [key for key in keys if key not in found]
        if missing:
            raise MetaflowException(f"The secret {id} has no {', '.join(missing)}, which @secrets asks for.")
        return {key: found[key] for key in keys}


def _client(service: str, region: str | None, credentials: Mapping[str, str]) -> Any:
    # botocore alone: boto3 around it takes as long again to import.
    try:
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError as error:
        raise MetaflowException(
            f"Secrets of AWS need the package boto3, which can't be imported in this task ({error}). "
            'Install it: pip install "metaflow-tandem[aws]"'
        ) from None
    endpoint = settings.get("AWS_SECRETS_MANAGER_ENDPOINT_URL") if service == "secretsmanager" else None
    config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
    return get_session().create_client(service, region_name=region, endpoint_url=endpoint, config=config, **credentials)


def _credentials_of(role: str | None, region: str | None) -> dict[str, str]:
    """Those of the role; none when there is no role, and the SDK finds what it finds."""
    if role is None:
        return {}
    answer = _client("sts", region, {}).assume_role(RoleArn=role, RoleSessionName="metaflow-secrets")["Credentials"]
    return {
        "aws_access_key_id": answer["AccessKeyId"],
        "aws_secret_access_key": answer["SecretAccessKey"],
        "aws_session_token": answer["SessionToken"],
    }


def _region_of(id: str) -> str | None:
    """The region that an ARN names."""
    parts = id.split(":")
    return parts[3] if len(parts) > 6 and parts[0] == "arn" else None


def _variables(answer: Mapping[str, Any], id: str, options: Mapping[str, Any]) -> dict[str, str]:
    text, as_json = answer.get("SecretString"), options.get("json")
    if text is None:
        import base64

        if as_json:
            raise MetaflowException(f"The secret {id} is binary, and @secrets asks for JSON.")
        return {_variable(answer, options): base64.b64encode(answer["SecretBinary"]).decode()}
    if as_json is False or (options.get("env_var_name") and not as_json):
        return {_variable(answer, options): text}
    try:
        # Numbers stay as they are written.
        found = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return {key: _text(value, key, id) for key, value in found.items()}
    if as_json:
        raise MetaflowException(f"The secret {id} is no JSON object, and @secrets asks for one with json=True.")
    return {_variable(answer, options): text}


def _text(value: Any, key: str, id: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    raise MetaflowException(
        f"In the secret {id} the value of {key} is no text and no number. "
        'To get the whole secret in one variable: options={"json": False}.'
    )


def _variable(answer: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The variable for a secret that names none: ``prod/db-password`` is DB_PASSWORD."""
    name = str(options.get("env_var_name") or "")
    if name:
        return name
    found = re.sub(r"\W", "_", str(answer["Name"]).rpartition("/")[2], flags=re.ASCII).upper()
    return f"_{found}" if found[:1].isdigit() else found


@contextmanager
def _explained(id: str, role: str | None) -> Iterator[None]:
    """Errors of the SDK in the user's terms."""
    try:
        yield
    except MetaflowException:
        raise
    except Exception as error:
        raise MetaflowException(_explanation(error, id, role)) from None


def _explanation(error: Exception, id: str, role: str | None) -> str:
    start = f"The secret {id} of AWS Secrets Manager can't be had: "
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"):
        return (
            f"{start}there are no AWS credentials ({_one_line(error)}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, where the task runs."
        )
    if kind == "NoRegionError":
        return (
            f"{start}no region is set. Set METAFLOW_AWS_SECRETS_MANAGER_DEFAULT_REGION or AWS_DEFAULT_REGION, "
            'give the secret\'s ARN, or say options={"region": "eu-central-1"}.'
        )
    if kind in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"):
        return f"{start}the service does not answer ({_one_line(error)}). See to the network and the region."
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return f"{start}{_one_line(error)}"
    code, said = response.get("Error", {}).get("Code", kind), response.get("Error", {}).get("Message", "")
    operation = getattr(error, "operation_name", "")
    if operation == "AssumeRole":
        return f"{start}the role {role} can't be assumed ({code}: {said})."
    if code == "ResourceNotFoundException":
        return f"{start}there is none of this name in the region. See to the name, the region and the account. ({said})"
    if code in ("AccessDeniedException", "AccessDenied"):
        who = f"the role {role}" if role else "who runs the task"
        return f"{start}{who} may not read it: secretsmanager:GetSecretValue has to be allowed. ({said})"
    if code in ("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"):
        return f"{start}the AWS credentials are expired or wrong ({code}: {said}). Log in again."
    return f"{start}{code}: {said}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
