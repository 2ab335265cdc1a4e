"""Schedules in the words of orchestrators, and when they are due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from metaflow_core.decorators.cron import DAY_OF_MONTH, DAY_OF_WEEK, FIELDS, numbers, runs
from metaflow_core.decorators.schedule import Schedule, schedule_of
from metaflow_core.errors import MetaflowException

__all__ = ["Schedule", "for_airflow", "for_argo", "for_aws", "next_times", "schedule_of"]


def for_aws(schedule: Schedule) -> str:
    """The six fields of EventBridge, without the ``cron(...)`` around them, and without the time zone.

    ``MetaflowException`` when the schedule restricts both the day of the month and the day of the week.

    >>> for_aws(Schedule("0 10 * * 1-5")), for_aws(Schedule("*/5 * L * *"))
    ('0 10 ? * 2-6 *', '0/5 * L * ? *')
    """
    words = schedule.cron.split()
    day, week = words[DAY_OF_MONTH], words[DAY_OF_WEEK]
    if day != "*" and week != "*":
        raise MetaflowException(
            f"AWS can't express the schedule {schedule.cron!r}, which names days of the month and days of the week. "
            f"Name only one of them in cron."
        )
    found = [_increments(word, number) for number, word in enumerate(words[:4])]
    if week == "*":
        return " ".join([*found, "?", "*"])
    found[DAY_OF_MONTH] = "?"
    return " ".join([*found, _aws_days(week), "*"])


def for_argo(schedule: Schedule) -> str:
    """The five fields of Argo. ``MetaflowException`` for the last, or the n-th, of a month's days."""
    if "L" in schedule.cron or "#" in schedule.cron:
        raise MetaflowException(
            f"Argo Workflows can't express the schedule {schedule.cron!r}: it knows neither the last day of a month "
            f"(L) nor the n-th Monday (MON#2). Use days such as 1 or 28, or MON."
        )
    return schedule.cron


def for_airflow(schedule: Schedule) -> str:
    """The five fields of Airflow, where the last Friday is ``L5``.

    >>> for_airflow(Schedule("0 0 * * 5L"))
    '0 0 * * L5'
    """
    *others, week = schedule.cron.split()
    return " ".join([*others, f"L{week[:-1]}" if week.endswith("L") else week])


def next_times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The instants at which the flow is due, in UTC, those after ``after``, which has a time zone.

    Times that a change of the clock skips or repeats are taken as cron takes them.

    >>> next(next_times(Schedule("0 9 * * 1", "Europe/Berlin"), datetime(2024, 7, 1, 12, tzinfo=timezone.utc)))
    datetime.datetime(2024, 7, 8, 7, 0, tzinfo=datetime.timezone.utc)
    """
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

    zone = ZoneInfo(schedule.timezone) if schedule.timezone else timezone.utc
    for due in CronSim(schedule.cron, after.astimezone(zone)):
        yield due.astimezone(timezone.utc)


def _increments(word: str, number: int) -> str:
    """A field in which AWS understands the steps: it documents ``0/5``, and no range with a step."""
    field = FIELDS[number]
    items = []
    for item in word.split(","):
        base, slash, step = item.partition("/")
        if not slash:
            items.append(item)
        elif base == "*":
            items.append(f"{field.low}/{step}")
        else:
            items.append(",".join(map(str, sorted(numbers(item, field)))))
    return ",".join(items)


def _aws_days(week: str) -> str:
    """Days of the week, of which the first, Sunday, is 1."""
    if week.endswith("L") or "#" in week:
        return f"{int(week[0]) + 1}{week[1:]}"
    return ",".join(
        str(first + 1) if first == last else f"{first + 1}-{last + 1}"
        for first, last in runs(numbers(week, FIELDS[DAY_OF_WEEK]))
    )
