"""The file in which a program that has started this one, such as ``Runner`` or ``Deployer``, finds what was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import click


class AttributeFile(click.Path):
    """A file that can be written, which is known before anything is made."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = os.fsdecode(super().convert(value, param, ctx))
        # It is not made here: the other program takes it for told once it is there.
        if not os.access(path if os.path.exists(path) else os.path.dirname(path) or os.curdir, os.W_OK):
            self.fail(f"{path} can't be written.", param, ctx)
        return path


def attribute_option(of: str) -> click.Option:
    """``--runner-attribute-file``, for who is a ``runner``."""
    return click.Option([f"--{of}-attribute-file"], type=AttributeFile(dir_okay=False), hidden=True)


def write_attributes(path: str, values: Mapping[str, Any]) -> None:
    """Write what was made, as JSON."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(values, file)
