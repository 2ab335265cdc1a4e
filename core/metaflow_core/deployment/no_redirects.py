"""Asking servers who are told a secret."""

from __future__ import annotations

import urllib.request
from typing import Any


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A password, or a token, goes nowhere but to the server that it is for.

    An answer that sends elsewhere is an ``urllib.error.HTTPError`` with ``build_opener(NoRedirects)``.
    """

    def redirect_request(self, *_: Any) -> None:
        return None
