"""``@schedule``: when a deployed flow starts by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metaflow_core.decorators.interface import FlowDecorator
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.names import show

if TYPE_CHECKING:
    from metaflow_core.graph.model import FlowDef

_TIMES = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 0"}


class Schedule(NamedTuple):
    """When a flow starts. ``cron`` has five fields in the canonical form of :mod:`metaflow_core.decorators.cron`."""

    cron: str
    timezone: str | None = None  # an IANA name; None: UTC


class OnSchedule(FlowDecorator):
    """Start the deployed flow ``hourly``, ``daily`` (by default), ``weekly``, or as ``cron`` says, in ``timezone``."""

    name = "schedule"
    # `daily` is true unless something else is said. None tells this from a `daily` that was given.
    defaults: ClassVar[Mapping[str, Any]] = {
        "hourly": None,
        "daily": None,
        "weekly": None,
        "cron": None,
        "timezone": None,
    }

    def check(self, flow: FlowDef) -> None:
        self.schedule()

    def schedule(self) -> Schedule | None:
        """The schedule; None for an empty one. ``InvalidDecoratorAttribute`` when it says nothing sensible."""
        asked = [name for name in _TIMES if self._flag(name)]
        cron, timezone = self.attributes["cron"], self.attributes["timezone"]
        if cron is not None:
            asked.append("cron")
        if len(asked) > 1:
            raise InvalidDecoratorAttribute(
                f"@schedule on {self.where} says {' and '.join(asked)}. Keep one of them; cron can say most of what "
                f"several would."
            )
        if timezone is not None:
            self._check_timezone(timezone)
        if cron is not None:
            return Schedule(self._five_fields(cron), timezone)
        if not asked and self.attributes["daily"] is None:
            asked = ["daily"]
        return Schedule(_TIMES[asked[0]], timezone) if asked else None

    def _flag(self, name: str) -> bool:
        value = self.attributes[name]
        if not isinstance(value, (bool, type(None))):
            raise InvalidDecoratorAttribute(
                f"@schedule on {self.where}: {name} must be true or false, not {show(value)}."
            )
        return bool(value)

    def _five_fields(self, cron: object) -> str:
        from datetime import datetime

        from cronsim import CronSim, CronSimError

        from metaflow_core.decorators.cron import five_fields

        where = f"@schedule on {self.where}: cron={show(cron)} is no schedule:"
        if not isinstance(cron, str):
            raise InvalidDecoratorAttribute(f"{where} it must be text, as in '0 10 * * *'.")
        try:
            found = five_fields(cron)
        except ValueError as error:
            raise InvalidDecoratorAttribute(f"{where} {error}.") from None
        try:
            next(CronSim(found, datetime(2000, 1, 1)))
        except (CronSimError, StopIteration):
            raise InvalidDecoratorAttribute(f"{where} such a day never comes.") from None
        return found

    def _check_timezone(self, timezone: object) -> None:
        from zoneinfo import ZoneInfo, available_timezones

        where = f"@schedule on {self.where}: timezone={show(timezone)}"
        try:
            if not isinstance(timezone, str):
                raise ValueError
            ZoneInfo(timezone)
        except (ValueError, OSError, LookupError):
            from metaflow_core.names import near

            known = available_timezones()
            if not known:
                raise InvalidDecoratorAttribute(
                    f"{where} can't be looked up: this machine knows no time zones. Install the package tzdata."
                ) from None
            close = near(timezone, known) if isinstance(timezone, str) else None
            advice = f"Did you mean {close!r}?" if close else "Time zones have names such as 'Europe/Berlin'."
            raise InvalidDecoratorAttribute(f"{where} is no time zone. {advice}") from None


def schedule_of(flow: FlowDef) -> Schedule | None:
    """When a deployment of the flow starts; None without ``@schedule``.

    ``InvalidDecoratorAttribute`` for an empty schedule, such as ``@schedule(daily=False)``.
    """
    from metaflow_core.decorators.resolve import flow_decorators

    for decorator in flow_decorators(flow):
        if isinstance(decorator, OnSchedule):
            found = decorator.schedule()
            if found is None:
                raise InvalidDecoratorAttribute(
                    f"@schedule on {decorator.where} says that the flow never starts. Say when: hourly, daily, weekly "
                    f"or cron. Or remove @schedule, and start the flow by hand or by events."
                )
            return found
    return None
