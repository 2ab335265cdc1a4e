"""The REST API of Airflow 3, as far as deployments need it.

``METAFLOW_AIRFLOW_REST_API`` is the address at which people open Airflow. Who asks is told by
``METAFLOW_AIRFLOW_TOKEN``, or by ``METAFLOW_AIRFLOW_USER`` and ``METAFLOW_AIRFLOW_PASSWORD``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException, InvalidURL
from typing import Any

from metaflow_core import settings
from metaflow_core.deployment.no_redirects import NoRedirects
from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked

VERSION = "/api/v2"
PAGE = 100
SECONDS = 60.0  # for one answer


class Refused(MetaflowException):
    """Airflow has answered with an error; ``status`` is that of HTTP."""

    headline = "Airflow refuses"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Rest:
    """Airflow at the address of the settings. Nothing is connected until something is asked."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/").removesuffix(VERSION)
        self._opener = urllib.request.build_opener(NoRedirects)
        self._token: str | None = settings.get("AIRFLOW_TOKEN")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer, as JSON; ``path`` begins with ``/dags``. ``Refused`` when it is an error."""
        if self._token is None:
            self._token = self._sign_in()
        return self._send(method, VERSION + path, body, {"Authorization": f"Bearer {self._token}"})

    def find(self, path: str) -> Any:
        """The answer to GET, or None when there is no such thing."""
        try:
            return self.ask("GET", path)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def all(self, path: str, key: str, **query: str) -> Iterator[Mapping[str, Any]]:
        """All of a list, page by page."""
        offset = 0
        while True:
            words = urllib.parse.urlencode({**query, "limit": PAGE, "offset": offset})
            page = self._member(self.ask("GET", f"{path}?{words}"), key, list)
            yield from page
            offset += len(page)
            if len(page) < PAGE:
                return

    def _sign_in(self) -> str:
        user, password = settings.get("AIRFLOW_USER"), settings.get("AIRFLOW_PASSWORD")
        if user is None or password is None:
            raise MetaflowException(
                f"Airflow at {masked(self.url)} wants to know who you are. Set METAFLOW_AIRFLOW_USER and "
                f"METAFLOW_AIRFLOW_PASSWORD, or METAFLOW_AIRFLOW_TOKEN."
            )
        answer = self._send("POST", "/auth/token", {"username": user, "password": password}, {})
        token: str = self._member(answer, "access_token", str)
        return token

    def _member(self, answer: Any, key: str, kind: type) -> Any:
        if isinstance(answer, dict) and isinstance(answer.get(key), kind):
            return answer[key]
        raise self._no_airflow()

    def _no_airflow(self) -> MetaflowException:
        return MetaflowException(
            f"What answers at {masked(self.url)} is not the REST API of Airflow 3. Set METAFLOW_AIRFLOW_REST_API "
            f"to the address at which you open Airflow."
        )

    def _send(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> Any:
        where = f"Airflow at {masked(self.url)}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        try:
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            with self._opener.open(request, timeout=SECONDS) as answer:
                text = answer.read()
            return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise Refused(_reason(where, method, path, error), error.code) from None
        except InvalidURL:  # whose text may be a part of a password
            raise MetaflowException(
                f"{masked(self.url)} is no address of a server. Set METAFLOW_AIRFLOW_REST_API to the one at which you "
                f"open Airflow, such as http://airflow:8080."
            ) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise MetaflowException(
                f"{where} can't be reached: {reason}. Look at METAFLOW_AIRFLOW_REST_API, the address at which you open "
                f"Airflow, and whether it runs."
            ) from None
        except ValueError:
            raise self._no_airflow() from None


def _reason(where: str, method: str, path: str, error: urllib.error.HTTPError) -> str:
    if error.code in (301, 302, 303, 307, 308):
        elsewhere = masked(str(error.headers.get("Location")))
        return f"{where} sends elsewhere, to {elsewhere}. Set METAFLOW_AIRFLOW_REST_API to where Airflow is."
    if error.code == 401:
        return f"{where} does not accept who you are: look at METAFLOW_AIRFLOW_USER and METAFLOW_AIRFLOW_PASSWORD."
    if error.code == 403:
        return f"{where} does not allow you to {method} {path}. Ask who looks after it for the permission."
    try:
        detail = json.loads(error.read())["detail"]
        text = detail if isinstance(detail, str) else json.dumps(detail)
    except (OSError, ValueError, KeyError, TypeError):
        text = str(error.reason)
    return f"{where} answers {error.code}: {text}"


def quoted(name: str) -> str:
    """``name`` as one part of a path."""
    return urllib.parse.quote(name, safe="")
