"""``@project``: flows that belong together, and branches of them that do not disturb each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metaflow_core import identity
from metaflow_core.decorators.interface import FlowDecorator
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.graph.model import FlowDef

MAX_LENGTH = 128
_NAME = re.compile(r"[a-z0-9_]{1,128}")
_RULE = f"lowercase letters, digits and underscores, at most {MAX_LENGTH} characters"


class ProjectInfo(NamedTuple):
    """To which project, and which branch of it, a run or a deployment of a flow belongs."""

    name: str
    branch: str  # user.anne, test.B, prod, or prod.B
    is_production: bool
    flow_name: str  # <project>.<branch>.<Flow>, the name of a deployment

    @property
    def is_user_branch(self) -> bool:
        """Whether the branch is that of the user, because no other one was asked for."""
        return self.branch.startswith("user.")


class Project(FlowDecorator):
    """The flow belongs to the project ``name``. ``branch`` and ``production`` are what the options of that name say."""

    name = "project"
    defaults: ClassVar[Mapping[str, Any]] = {"name": None, "branch": None, "production": False}

    def check(self, flow: FlowDef) -> None:
        name, branch = self.attributes["name"], self.attributes["branch"]
        if name is None:
            raise InvalidDecoratorAttribute(f"@project on {self.where} needs the name of the project.")
        for key, value in (("name", name), ("branch", branch)):
            if value is not None and not is_project_word(value):
                raise InvalidDecoratorAttribute(
                    f"@project on {self.where}: {key} must be {_RULE}, not {show(value)}.{_instead(value)}"
                )
        if not isinstance(self.attributes["production"], (bool, type(None))):
            raise InvalidDecoratorAttribute(
                f"@project on {self.where}: production must be true or false, "
                f"not {show(self.attributes['production'])}."
            )

    def options(self) -> list[Any]:
        import click

        return [
            click.Option(
                ["--branch"],
                metavar="NAME",
                callback=_check_branch,
                help="Use the branch test.NAME of the project, or prod.NAME with --production.",
            ),
            click.Option(["--production"], is_flag=True, help="Use the production branch of the project."),
        ]

    def info(self, options: Mapping[str, Any]) -> ProjectInfo:
        """What the flow belongs to when it is started with these options."""
        branch, asked = self.attributes["branch"], options.get("branch")
        if branch is not None and asked is not None and asked != branch:
            raise InvalidDecoratorAttribute(
                f"The branch is given twice: --branch {asked}, and branch={branch!r} in @project on {self.where}. "
                f"Remove one of them."
            )
        branch = asked if branch is None else branch
        is_production = bool(self.attributes["production"] or options.get("production"))
        if branch is None:
            full = "prod" if is_production else f"user.{user_word(identity.user())}"
        else:
            full = f"{'prod' if is_production else 'test'}.{branch}"
        name = self.attributes["name"]
        return ProjectInfo(name, full, is_production, f"{name}.{full}.{self.flow_name}")

    def system_tags(self, options: Mapping[str, Any]) -> list[str]:
        info = self.info(options)
        return [f"project:{info.name}", f"project_branch:{info.branch}"]

    def current(self, options: Mapping[str, Any]) -> dict[str, Any]:
        info = self.info(options)
        return {
            "project_name": info.name,
            "branch_name": info.branch,
            "is_production": info.is_production,
            "is_user_branch": info.is_user_branch,
            "project_flow_name": info.flow_name,
        }


def project_of(flow: FlowDef, options: Mapping[str, Any]) -> ProjectInfo | None:
    """The project and the branch of a flow that is started with these options before the command; None without one.

    The decorators have been checked.
    """
    from metaflow_core.decorators.resolve import flow_decorators

    return next((one.info(options) for one in flow_decorators(flow) if isinstance(one, Project)), None)


def is_project_word(value: object) -> bool:
    """Whether ``value`` can name a project, or a branch of one."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def user_word(user: str) -> str:
    """The name of a user as a part of a branch, where it may consist of lowercase letters, digits and underscores.

    Two users have the same word when their names differ in case, accents or punctuation alone.

    >>> user_word("anne.smith@x.com"), user_word("Jörg")
    ('anne_smith_x_com', 'jorg')
    >>> user_word("李明") == user_word("王芳")
    False
    """
    import unicodedata

    plain = "".join(c for c in unicodedata.normalize("NFKD", user) if not unicodedata.combining(c)).lower()
    word = re.sub(r"[^a-z0-9_]", "_", plain)
    if not re.search(r"[^\x00-\x7f]", plain) and re.search(r"[a-z0-9]", word) and len(word) <= MAX_LENGTH:
        return word
    import hashlib

    digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{word[: MAX_LENGTH - 9].strip('_')}_{digest}".lstrip("_")


def _check_branch(ctx: Any, option: Any, value: str | None) -> str | None:
    import click

    if value is not None and not is_project_word(value):
        raise click.BadParameter(f"{show(value)} can't name a branch: use {_RULE}.{_instead(value)}", ctx, option)
    return value


def _instead(value: object) -> str:
    """A name that would do."""
    word = re.sub(r"[^a-z0-9_]+", "_", str(value).lower()).strip("_") if isinstance(value, str) else ""
    return f" For example: {word}" if is_project_word(word) else ""
