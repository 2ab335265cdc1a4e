"""Production tokens: who may deploy under a name, and the namespace of what is deployed.

A token is known to whoever deployed first, and to whoever has given it once. It is kept in a file below
``METAFLOW_HOME`` that nobody else can read.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress

from metaflow_core import settings
from metaflow_core.errors import CommandException, IncorrectProductionToken, MetaflowException
from metaflow_core.identity import PRODUCTION
from metaflow_core.metadata.deployments import TokenRow
from metaflow_core.names import check_tag, show

_FILE = "production_tokens.json"
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike
_LENGTH = 20  # of the random part: 100 bits
_GIVEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def new_token(name: str, count: int) -> str:
    """A token that nobody can guess. It begins with the deployment's name, for people, and ``count``."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    return f"{readable}-{count}-{''.join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))}"


def check_new_token(token: str) -> str:
    """A token that a user has chosen. ``CommandException`` when it can't be one."""
    token = token.removeprefix(PRODUCTION)
    if not _GIVEN.fullmatch(token):
        raise CommandException(
            f"--new-token {show(token)}: use letters, digits, dots, dashes and underscores, a letter or digit "
            f"first, at most 128 characters."
        )
    return check_tag(token)


def authorize(
    row: TokenRow | None, name: str, address: str, given: str | None, how: str, is_production: bool = False
) -> None:
    """Refuse who doesn't know the token of ``name``. ``address`` is the database's, ``how`` the command to use.

    ``IncorrectProductionToken`` says whom to ask.
    """
    if given is not None and row is None:
        raise CommandException(
            f"--authorize: nothing has been deployed as {name} yet, so there is no token to show. Deploy it without."
        )
    if row is None:
        return
    shown = load_tokens(address, name) if given is None else [given.removeprefix(PRODUCTION)]
    if any(hmac.compare_digest(one.encode("utf-8", "surrogatepass"), row.token.encode()) for one in shown):
        if given is not None:
            save_tokens(address, name, [row.token])
        return
    day = time.strftime("%Y-%m-%d", time.gmtime(row.created_at / 1e6))
    what_it_is = "is the production version, deployed" if is_production else "was deployed"
    what = (
        "The token given with --authorize is not its production token."
        if given is not None
        else ("You have not shown its production token yet.")
    )
    raise IncorrectProductionToken(
        f"{name} {what_it_is} by {row.owner}, first on {day}. {what}\n"
        f"Ask {row.owner} for it, or anybody who has deployed it. Then show it once:\n"
        f"    {how} --authorize TOKEN"
    )


def load_tokens(address: str, name: str) -> list[str]:
    """The tokens of ``name`` that this user has shown before, or made. None or one, unless ``create`` was killed."""
    found = _read().get(_key(address, name))
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str)]


def save_tokens(address: str, name: str, kept: Sequence[str]) -> None:
    """Keep tokens for this user, instead of those before. Nobody else can read the file."""
    path = _path()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with _locked(path):
            tokens = {**_read(), _key(address, name): kept[0] if len(kept) == 1 else list(kept)}
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(tokens, file, indent=2, sort_keys=True)
            os.replace(temporary, path)
    except OSError as error:
        raise MetaflowException(
            f"The production token of {name} can't be kept in {path}: {error.strerror}. Keep it yourself, or set "
            f"METAFLOW_HOME to a directory that you can write."
        ) from None


class _locked:
    """One process at a time changes the file."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}.lock"

    def __enter__(self) -> None:
        import fcntl

        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)


def _path() -> str:
    return os.path.join(settings.get("HOME"), _FILE)


def _key(address: str, name: str) -> str:
    return f"{name} in {address}"  # another database may have another deployment of the same name


def _read() -> dict[str, object]:
    path = _path()
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MetaflowException(f"The production tokens in {path} can't be read: {error.strerror}.") from None
    except ValueError:
        raise MetaflowException(
            f"{path} is no JSON file. Remove it; then show the tokens again with --authorize."
        ) from None
    return found if isinstance(found, dict) else {}
