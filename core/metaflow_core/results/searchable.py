"""What can be searched for runs: a flow, and all flows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime, timedelta
    from typing import TypeAlias

    from metaflow_core.results.base import Scope
    from metaflow_core.results.flow import Flow
    from metaflow_core.results.search import RunSearch

    Moment: TypeAlias = str | date | datetime | timedelta
    Texts: TypeAlias = str | Iterable[str]


class Here:
    """Stands for the namespace of the object that is searched."""

    def __repr__(self) -> str:
        return "<the namespace of this object>"


HERE = Here()


class Searchable:
    """Has runs that can be searched."""

    def _searched(self) -> tuple[Scope, Flow | None]:
        """Where, and the flow whose runs are searched; None for those of all flows."""
        raise NotImplementedError

    def search(
        self,
        where: str = "",
        *,
        tags: Texts = (),
        any_tags: Texts = (),
        no_tags: Texts = (),
        status: Texts | None = None,
        user: Texts | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        namespace: str | Here | None = HERE,
        order_by: str = "newest",
        limit: int | None = None,
        page: int = 1,
        after: object = None,
    ) -> RunSearch:
        """Search runs by values, tags, status, user and time; iterate over the result, or take ``to_frame()``.

        ``where`` compares parameters and scalar artifacts: ``"accuracy > 0.9 and not debug"``. A comparison with
        what a run does not have is false. The names ``status``, ``user``, ``tag``, ``created_at``, ``finished_at``
        and ``duration`` (seconds, or text such as ``'5m'``) are those of any run; in back-quotes they are values.

        ``tags``: the run has all of them; ``any_tags``: at least one; ``no_tags``: none.
        ``status``: one or several of running, completed, failed, interrupted, lost. ``user``: one or several names.
        ``since``, ``until``: when it started: a date (all of the day counts), a time, or how long ago: ``"7d"``.
        ``namespace``: by default that of this object; None is the global one.
        ``order_by``: ``"newest"``, ``"oldest"``, a value (``"accuracy"``, the smallest first), or ``"-accuracy"``,
        the largest first; runs without it come last.
        ``limit``: at most so many runs. ``page``: the second ``limit`` of them is page 2; ``after``: those that come
        after this run, which is a page that runs started meanwhile do not shift.

            best = Flow("TrainFlow").search("accuracy > 0.9", tags="candidate", order_by="-accuracy", limit=10)
            best.to_frame("accuracy")

        ``InvalidSearch`` says what can't be understood, and which name no run has.
        """
        from metaflow_core.results.search import Asked, RunSearch

        asked = Asked(
            *(where, tags, any_tags, no_tags, status, user, since, until, namespace, order_by, limit, page, after)
        )
        return RunSearch(*self._searched(), asked)
