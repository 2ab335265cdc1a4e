"""What ``--namespace`` may be."""

from __future__ import annotations

from typing import Any

import click

from metaflow_core.names import check_namespace


class NamespaceType(click.ParamType[str]):
    """A tag, or an empty text for the global namespace."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return check_namespace(value) or "" if value else ""


NAMESPACE = NamespaceType()
