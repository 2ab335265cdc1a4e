"""`@schedule`: what it accepts, what orchestrators are told, and when that comes due."""

from __future__ import annotations

import calendar
import itertools
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metaflow_core.decorators.cron import five_fields
from metaflow_core.deployment.schedule import Schedule, for_airflow, for_argo, for_aws, next_times, schedule_of
from metaflow_core.errors import InvalidDecoratorAttribute, MetaflowException
from metaflow_core.graph.model import DecoratorSpec, FlowDef

FLOW = """
    from metaflow import FlowSpec, schedule, step

    @schedule({arguments})
    class Nightly(FlowSpec):
        @step
        def start(self):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Nightly()
"""


def scheduled(**arguments: Any) -> Schedule | None:
    return schedule_of(FlowDef("Nightly", decorators=[DecoratorSpec("schedule", arguments)]))


@pytest.mark.parametrize(
    ("arguments", "cron"),
    [
        ({}, "0 0 * * *"),
        ({"daily": True}, "0 0 * * *"),
        ({"hourly": True}, "0 * * * *"),
        ({"weekly": True}, "0 0 * * 0"),
        ({"hourly": True, "daily": False}, "0 * * * *"),
        ({"cron": "0 10 * * ? *"}, "0 10 * * *"),
        ({"cron": "0 10 * * *", "daily": False}, "0 10 * * *"),
        ({"cron": "*/5 8-17 ? * MON-FRI *"}, "*/5 8-17 * * 1-5"),
        ({"cron": "15 10 ? * 6L *"}, "15 10 * * 5L"),
        ({"cron": "0 0 L * ? *"}, "0 0 L * *"),
        ({"cron": "0 0 ? * L *"}, "0 0 * * 6"),
        ({"cron": "0 9 ? * 3#2 *"}, "0 9 * * 2#2"),
        ({"cron": "0 0 * * 7"}, "0 0 * * 0"),
        ({"cron": "0 0 * * fri-mon"}, "0 0 * * 0,1,5,6"),
        ({"cron": "5/15 * 1,15 jan,jul *"}, "5-59/15 * 1,15 1,7 *"),
        ({"cron": "0 0 1 * 1"}, "0 0 1 * 1"),
        ({"cron": "0 0 * * */2"}, "0 0 * * 0,2,4,6"),
    ],
)
def test_what_is_said(arguments: dict[str, Any], cron: str) -> None:
    assert scheduled(**arguments) == Schedule(cron)


def test_no_schedule() -> None:
    assert schedule_of(FlowDef("Nightly")) is None
    for empty in ({"daily": False}, {"daily": False, "timezone": "Europe/Berlin"}):
        with pytest.raises(InvalidDecoratorAttribute, match="the flow never starts"):
            scheduled(**empty)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("cron='0 10 * *'", "it has 4 fields, and needs five"),
        ("cron='0 24 * * *'", "24 is no hour: numbers are from 0 to 23"),
        ("cron='*/90 * * * *'", "the step of */90 as a minute must be from 1 to 59"),
        ("cron='0 0 30 2 *'", "such a day never comes"),
        ("cron='0 0 * * MOM'", "names are SUN to SAT"),
        ("cron='0 0 ? * 0 *'", "1 (Sunday) to 7, because six fields are read as AWS does"),
        ("cron='0 0 10 * * ?'", "the last one is the year"),
        ("cron='0 0 * * ? 2027'", "2027 is none that can be used"),
        ("cron='0 10 * * * *'", "either the day of the month or the day of the week must be ?"),
        ("cron='0 0 15W * ? *'", "15W is no day of the month that all orchestrators know"),
        ("cron='0 0 */2 * 1'", "List the days"),
        ("cron='20-10 * * * *'", "begins after its end"),
        ("cron='0,,1 * * * *'", "is no minute"),
        ("cron='0 0 * * 1#6'", "is no day of the week"),
        ("cron='\\u0661 * * * *'", "is no minute"),
        ("cron=10", "must be text"),
        ("hourly=True, weekly=True", "says hourly and weekly. Keep one"),
        ("cron='0 0 * * *', daily=True", "says daily and cron. Keep one"),
        ("hourly='yes'", "hourly must be true or false, not 'yes'"),
        ("timezone='Europe/Berlni'", "Did you mean 'Europe/Berlin'?"),
        ("timezone='../../etc/passwd'", "is no time zone"),
        ("timezone=2", "is no time zone"),
        ("houly=True", "Did you mean 'hourly'?"),
    ],
)
def test_what_is_refused(arguments: str, says: str) -> None:
    given: dict[str, Any] = eval(f"dict({arguments})")
    with pytest.raises(InvalidDecoratorAttribute) as refused:
        scheduled(**given)
    assert says in str(refused.value)
    assert str(refused.value).startswith("@schedule on flow Nightly")


def test_a_run_by_hand_checks_it_and_does_not_wait(run_flow: Any) -> None:
    assert run_flow(FLOW.format(arguments="cron='0 10 * * ? *', timezone='Europe/Berlin'"), "run").returncode == 0
    assert run_flow(FLOW.format(arguments="daily=False"), "run").returncode == 0
    refused = run_flow(FLOW.format(arguments="cron='never'"), "run", check=False)
    assert refused.returncode == 1
    assert "@schedule on flow Nightly (flow.py, line" in refused.stderr
    assert "cron='never' is no schedule: it has 1 field, and needs five" in refused.stderr
    twice = run_flow(
        FLOW.format(arguments="hourly=True").replace("@schedule", "@schedule\n    @schedule", 1), "check", check=False
    )
    assert twice.returncode == 1 and "twice" in twice.stderr


@pytest.mark.parametrize(
    ("cron", "aws"),
    [
        ("0 * * * *", "0 * * * ? *"),
        ("0 0 * * 0", "0 0 ? * 1 *"),
        ("*/5 * * * *", "0/5 * * * ? *"),
        ("5-59/15 * */2 * *", "5,20,35,50 * 1/2 * ? *"),
        ("0 0 * */3 0,6", "0 0 ? 1/3 1,7 *"),
        ("0 0 * * 5L", "0 0 ? * 6L *"),
        ("0 0 * * 5#2", "0 0 ? * 6#2 *"),
        ("0 0 L * *", "0 0 L * ? *"),
    ],
)
def test_as_aws_writes_it(cron: str, aws: str) -> None:
    assert for_aws(Schedule(cron)) == aws
    assert five_fields(aws) in (cron, "5,20,35,50 * */2 * *")


def test_what_a_target_does_not_know() -> None:
    with pytest.raises(MetaflowException, match="AWS can't express the schedule '0 0 1 \\* 1'"):
        for_aws(Schedule("0 0 1 * 1"))
    for cron in ("0 0 L * *", "0 0 * * 5L", "0 0 * * 5#1"):
        with pytest.raises(MetaflowException, match="Argo Workflows can't express"):
            for_argo(Schedule(cron))
    assert for_argo(Schedule("0 0 1 * 1")) == for_airflow(Schedule("0 0 1 * 1")) == "0 0 1 * 1"
    assert for_airflow(Schedule("0 0 * * 5L")) == "0 0 * * L5"


# --- the same instants, whoever reads it ------------------------------------------------------------------------------


def aws_fires(expression: str, at: datetime) -> bool:
    """What the documentation of EventBridge says of six fields, in a few lines that share nothing with ours."""
    minute, hour, day, month, week, year = expression.split()
    assert (day == "?") != (week == "?") and year == "*"

    def among(field: str, value: int, low: int, high: int) -> bool:
        for item in field.split(","):
            head, _, step = item.partition("/")
            if head == "*":
                first, last = low, high
            elif "-" in head:
                first, last = map(int, head.split("-"))
            else:
                first = int(head)
                last = high if step else first
            if first <= value <= last and (value - first) % int(step or 1) == 0:
                return True
        return False

    length = calendar.monthrange(at.year, at.month)[1]
    weekday = (at.weekday() + 1) % 7 + 1  # Sunday is 1
    if day != "?":
        right_day = at.day == length if day == "L" else among(day, at.day, 1, 31)
    elif week.endswith("L"):
        right_day = weekday == int(week[0]) and at.day > length - 7
    elif "#" in week:
        right_day = weekday == int(week[0]) and (at.day + 6) // 7 == int(week[2])
    else:
        right_day = among(week, weekday, 1, 7)
    return (
        right_day and among(minute, at.minute, 0, 59) and among(hour, at.hour, 0, 23) and among(month, at.month, 1, 12)
    )


def items(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(lambda n: names[n - low] if names and n % 2 else str(n))
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.integers(1, high - low).map(str)
    stepped = st.builds("{}/{}".format, st.one_of(st.just("*"), span, st.integers(low, high).map(str)), step)
    some = st.lists(st.one_of(number, span, stepped), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), some)


MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
WEEKS = st.one_of(
    items(0, 6, DAYS),
    st.sampled_from(["5-7", "6-1", "sat-sun", "7", "1L", "FRIL", "0#2", "mon#1", "*/3", "2/2"]),
)
CRONS = st.one_of(
    st.builds("{} {} {} {} *".format, items(0, 59), items(0, 23), items(1, 28) | st.just("L"), items(1, 12, MONTHS)),
    st.builds("{} {} * {} {}".format, items(0, 59), items(0, 23), items(1, 12, MONTHS), WEEKS),
)
STARTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31)).map(lambda at: at.replace(tzinfo=timezone.utc))


@settings(deadline=None, max_examples=60)
@given(CRONS, STARTS)
def test_aws_fires_at_the_same_instants(cron: str, start: datetime) -> None:
    schedule = Schedule(five_fields(cron))
    aws = for_aws(schedule)
    due = list(itertools.islice(next_times(schedule, start), 4))
    assert len(due) == 4
    assert all(aws_fires(aws, at) for at in due), (schedule, aws)
    for first, second in zip([start, *due], due, strict=False):
        between = first.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for _ in range(200):  # and at none in between, as far as it is worth looking
            if between >= second:
                break
            assert not aws_fires(aws, between), (schedule, aws, between)
            between += (second - between) / 150 if second - between > timedelta(hours=3) else timedelta(minutes=1)
            between = between.replace(second=0, microsecond=0)
    back = Schedule(five_fields(aws))
    assert list(itertools.islice(next_times(back, start), 4)) == due
    assert five_fields(schedule.cron) == schedule.cron, "a canonical expression stays as it is"


def known_to_cron(item: str) -> bool:
    """Not `5/10`, `6-1` or a range of names; and cronsim takes `1-1/2` for something else."""
    span = re.fullmatch(r"(\d+)-(\d+)/\d+", item)
    if span:
        return int(span[1]) < int(span[2])
    return item not in ("6-1", "sat-sun", "FRIL", "mon#1") and ("/" not in item or item.startswith("*/"))


@settings(deadline=None, max_examples=100)
@given(CRONS, STARTS)
def test_the_canonical_form_means_what_cron_reads(cron: str, start: datetime) -> None:
    assume(all(map(known_to_cron, re.split("[ ,]", cron))))
    ours = itertools.islice(next_times(Schedule(five_fields(cron)), start), 3)
    assert list(ours) == list(itertools.islice(CronSim(cron, start), 3))


TEXT = st.text("0123456789*/-,?L#W SUNMONJANx٣\n", max_size=30)


@settings(max_examples=200)
@given(st.one_of(TEXT, st.lists(TEXT.filter(lambda t: not t.isspace()), min_size=5, max_size=6).map(" ".join)))
def test_any_text_is_a_schedule_or_refused(text: str) -> None:
    try:
        found = scheduled(cron=text)
    except InvalidDecoratorAttribute:
        return
    assert found is not None and next(next_times(found, datetime(2026, 1, 1, tzinfo=timezone.utc)))


def test_time_zones_and_changes_of_the_clock() -> None:
    nine = Schedule("30 2 * * *", "Europe/Berlin")
    around = list(itertools.islice(next_times(nine, datetime(2026, 3, 27, 12, tzinfo=timezone.utc)), 3))
    assert [at.isoformat() for at in around] == [
        "2026-03-28T01:30:00+00:00",
        "2026-03-29T01:00:00+00:00",  # half past two does not come that night
        "2026-03-30T00:30:00+00:00",
    ]
    autumn = list(itertools.islice(next_times(nine, datetime(2026, 10, 24, 12, tzinfo=timezone.utc)), 2))
    assert [at.day for at in autumn] == [25, 26], "once in a night that has the hour twice"
