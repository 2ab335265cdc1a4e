"""What starts runs on the local orchestrator: times, events, and the ends of other flows."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from local_agents import FLOW, METAFLOW, agent, ran, rows, statuses
from metaflow import Flow, Run, namespace
from metaflow_core.deployment.publish import publish_event
from metaflow_core.errors import MetaflowException
from metaflow_core.metadata.backend import open_backend

HOUR = 3600_000_000
SCHEDULED = FLOW.replace("from metaflow import", "from metaflow import schedule,").replace(
    "    class", '    @schedule(cron="*/5 * * * *", timezone="Europe/Berlin")\n    class'
)
WAITING = """
    from metaflow import FlowSpec, Parameter, current, step, trigger

    @trigger(events=["stock_changed", {"name": "prices_changed", "parameters": {"rate": "price"}}])
    @trigger(event={"name": "asked", "parameters": ["rate"]})
    class WaitFlow(FlowSpec):
        rate = Parameter("rate", default=1.0)

        @step
        def start(self):
            self.came = [event.name for event in current.trigger.events] if current.trigger else None
            self.payload = dict(current.trigger.event.payload) if current.trigger else None
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        WaitFlow()
    """


def change(sql: str, *values: Any) -> None:
    backend = open_backend()
    backend.db.execute(sql, values)
    backend.close()


def now() -> int:
    return time.time_ns() // 1000


def due_at() -> int:
    """When the deployment that is in place is due next."""
    [(at,)] = rows(
        "SELECT due_at FROM local_starts s JOIN deployments d ON d.pk = s.deployment_pk WHERE d.status = 'active'"
    )
    return int(at)


def metaflow(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([METAFLOW, *words], capture_output=True, text=True, timeout=100)


def test_a_schedule_starts_one_run_however_many_times_were_missed(run_flow: Any, project: Path) -> None:
    created = run_flow(SCHEDULED, "local", "create").stdout
    assert "It starts at */5 * * * *, Europe/Berlin." in created
    agent()
    assert statuses() == {}, "it was deployed just now"
    assert 0 < due_at() - now() <= HOUR / 12
    change("UPDATE local_starts SET due_at = ?", due_at() - 30 * 24 * HOUR)
    said = agent(env={"METAFLOW_AGENT_MISFIRE_GRACE": "301"})
    assert statuses() == {"local-1": "succeeded"}
    assert "LocalFlow/local-1 of LocalFlow is due: due " in said and "; not run since " in said
    assert 0 < due_at() - now() <= HOUR / 12
    agent()
    assert statuses() == {"local-1": "succeeded"}
    namespace(None)
    assert Run("LocalFlow/local-1").trigger is None


def test_a_time_that_was_missed_by_more_than_the_grace_is_left_out(run_flow: Any, project: Path) -> None:
    run_flow(SCHEDULED.replace("*/5 * * * *", "0 0 1 * *"), "local", "create")
    change("UPDATE deployments SET created_at = ?", now() - 40 * 24 * HOUR)
    said = agent(env={"METAFLOW_AGENT_MISFIRE_GRACE": "1"})
    assert "LocalFlow: nothing ran at " in said and "when it was due; too late now" in said
    assert statuses() == {}
    assert due_at() > now()


def test_a_new_version_keeps_its_time_and_another_schedule_begins_anew(run_flow: Any, project: Path) -> None:
    run_flow(SCHEDULED, "local", "create")
    agent()
    change("UPDATE local_starts SET due_at = ?", due_at() - HOUR // 12)
    run_flow("flow.py", "local", "create")
    agent()
    assert list(statuses()) == ["local-1"], "what was due when it was deployed again is not lost"
    change("UPDATE local_starts SET due_at = ?", due_at() - HOUR // 12)
    run_flow(SCHEDULED.replace("*/5", "*/7"), "local", "create")
    agent()
    assert list(statuses()) == ["local-1"]
    change("UPDATE local_starts SET due_at = ?", due_at() - 7 * HOUR // 60)
    run_flow("flow.py", "local", "delete")
    run_flow("flow.py", "local", "create")
    agent()
    assert list(statuses()) == ["local-1"], "what was deleted is due no more"


@pytest.mark.both_databases
def test_any_trigger_and_all_of_its_events(run_flow: Any, project: Path) -> None:
    publish_event("asked", {"rate": 9})
    assert "It starts when stock_changed and prices_changed has come." in run_flow(WAITING, "local", "create").stdout
    publish_event("stock_changed", {"n": 1})
    agent()
    assert statuses() == {}, "what came before it was deployed does not count, and one of two is not enough"
    publish_event("stock_changed", {"n": 2})
    publish_event("prices_changed", {"price": 2.5}, id="first")
    publish_event("prices_changed", {"price": 3.5}, id="first")  # the same one
    publish_event("asked", {"rate": 4})
    publish_event("asked", {"rate": 5})
    publish_event("nobody_waits", {})
    said = agent()
    assert "of WaitFlow is due: stock_changed and prices_changed" in said
    namespace(None)
    runs = [Run(f"WaitFlow/local-{number}") for number in (1, 2, 3)]
    assert sorted(run.data.rate for run in runs) == [2.5, 4.0, 5.0]
    both = next(run for run in runs if run.data.rate == 2.5)
    assert both.data.came == ["stock_changed", "prices_changed"]
    assert [event.payload for event in both.trigger.events] == [{"n": 2}, {"price": 2.5}]
    asked = next(run for run in runs if run.data.rate == 5.0)
    assert (asked.data.came, asked.data.payload) == (["asked"], {"rate": 5})
    publish_event("prices_changed", {"price": 7})
    agent()
    assert len(statuses()) == 3, "each event counts once"


@pytest.mark.both_databases
def test_old_events_go_unless_somebody_waits(run_flow: Any, project: Path) -> None:
    def names() -> list[str]:
        return [name for (name,) in rows("SELECT name FROM events WHERE type = 'event' ORDER BY pk")]

    run_flow(FLOW, "local", "create")  # which nothing starts
    run_flow(WAITING, "local", "create", name="wait.py")
    publish_event("nobody_waits", {})
    publish_event("stock_changed", {"n": 1})
    publish_event("asked", {"rate": 4})
    publish_event("nobody_waits", {})
    change("UPDATE events SET created_at = ? WHERE pk < 4", now() - 91 * 24 * 3600 * 1_000_000)
    agent()
    assert statuses() == {"local-1": "succeeded"}, "it came while no agent was there, however long ago"
    assert names() == ["stock_changed", "nobody_waits"]
    publish_event("prices_changed", {"price": 2.5})
    change("UPDATE events SET created_at = ?", now() - 91 * 24 * 3600 * 1_000_000)
    agent()
    assert Run("WaitFlow/local-2", _namespace_check=False).data.came == ["stock_changed", "prices_changed"]
    assert names() == ["prices_changed"], "the latest stays"
    publish_event("asked", {"rate": 7})
    agent()
    assert Run("WaitFlow/local-3", _namespace_check=False).data.rate == 7


def test_a_value_that_does_not_fit_fails_the_run_and_nothing_else(run_flow: Any, project: Path) -> None:
    run_flow(WAITING, "local", "create")
    publish_event("asked", {"rate": "much"})
    publish_event("asked", {"rate": 3})
    said = agent(code=1)
    assert statuses() == {"local-1": "failed", "local-2": "succeeded"}
    assert "rate" in said and "much" in said


def test_events_on_the_command_line(project: Path) -> None:
    assert metaflow("events", "list").stderr == "There are no events yet.\n"
    done = metaflow("events", "publish", "stock_changed", "--payload", '{"n": 1, "who": "é"}', "--id", "one")
    assert (done.returncode, done.stdout) == (0, "one\n")
    metaflow("events", "publish", "stock_changed", "--id", "one")
    metaflow("events", "publish", "other")
    found = [json.loads(line) for line in metaflow("events", "list", "--json").stdout.splitlines()]
    assert [(one["name"], one["publisher"], one["type"]) for one in found] == [
        ("other", "tester", "event"),
        ("stock_changed", "tester", "event"),
    ]
    assert found[1]["payload"] == {"n": 1, "who": "é"}
    assert "stock_changed" in metaflow("events", "list", "--name", "stock_changed").stdout
    for payload in ("[1]", "{", "1"):
        wrong = metaflow("events", "publish", "a", "--payload", payload)
        assert wrong.returncode != 0 and "--payload" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("name", "payload"), [("", {}), (" a", {}), ("a\n", {}), ("a", {"x": object()}), ("a", {"x": float("nan")})]
)
def test_what_is_no_event(project: Path, name: str, payload: Any) -> None:
    with pytest.raises(MetaflowException):
        publish_event(name, payload)


def test_the_end_of_a_flow_can_not_be_pretended(project: Path) -> None:
    with pytest.raises(MetaflowException, match="are ends of runs"):
        publish_event("metaflow.LocalFlow.end")


FIRST = """
    from metaflow import FlowSpec, project, step

    @project(name="demand")
    class FirstFlow(FlowSpec):
        @step
        def start(self):
            self.demands = [1.5, 2.5]
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        FirstFlow()
    """
SECOND = """
    library(metaflow)

    metaflow(
      "SecondFlow",
      decorator("project", name = "demand"),
      decorator("trigger_on_finish", flow = "FirstFlow")
    ) |>
      step(step = "start", next_step = "end", r_function = function(self) {
        self$orders <- unlist(current("trigger")$run$data$demands) * 2
        self$branch <- current("branch_name")
      }) |>
      step(step = "end") |>
      run()
    """
THIRD = (
    FIRST.replace("FirstFlow", "ThirdFlow")
    .replace('    @project(name="demand")', '    @trigger_on_finish(flow="SecondFlow")\n    @project(name="demand")')
    .replace("import FlowSpec,", "import FlowSpec, current, trigger_on_finish,")
    .replace("self.demands = [1.5, 2.5]", "self.seen = list(current.trigger.run.data.orders)")
)


def test_ends_of_flows_start_others_of_the_same_branch_in_either_language(
    run_flow: Any, run_r: Any, project: Path
) -> None:
    for branch in (["--branch", "a"], ["--production"]):
        run_flow(FIRST, *branch, "local", "create", name="first.py")
        run_r(SECOND, *branch, "local", "create")
        run_flow(THIRD, *branch, "local", "create", name="third.py")
    run_flow("first.py", "--branch", "a", "local", "trigger")
    said = agent()
    assert "SecondFlow/local-1 of demand.test.a.SecondFlow is due: metaflow.demand.test.a.FirstFlow.end" in said
    namespace(None)
    assert [[run.id for run in Flow(flow)] for flow in ("FirstFlow", "SecondFlow", "ThirdFlow")] == [["local-1"]] * 3
    second, third = Run("SecondFlow/local-1"), Run("ThirdFlow/local-1")
    assert (list(second.data.orders), second.data.branch) == ([3.0, 5.0], "test.a")
    assert list(third.data.seen) == [3.0, 5.0]
    assert {"project_branch:test.a", "runtime:local"} <= second.tags
    assert third.trigger.run.pathspec == "SecondFlow/local-1"


def test_events_from_r(run_r: Any, project: Path) -> None:
    run_r(
        """
        library(metaflow)
        cat(publish_event("asked", list(rate = 2.5, n = 3L, who = "é", all = c(1, 2)), id = "one"), "\\n")
        publish_event("asked", id = "one")
        wrong <- tryCatch(publish_event("asked", list(1)), metaflow_error = conditionMessage)
        stopifnot(grepl("named list", wrong))
        """
    )
    [(payload,)] = rows("SELECT payload FROM events WHERE name = 'asked' AND id = 'one'")
    assert json.loads(payload) == {"rate": 2.5, "n": 3, "who": "é", "all": [1, 2]}


def test_a_run_that_failed_starts_nothing(run_flow: Any, project: Path) -> None:
    run_flow(FLOW, "local", "create")
    after = WAITING.replace("from metaflow import", "from metaflow import trigger_on_finish,").replace(
        '@trigger(event={"name": "asked", "parameters": ["rate"]})', '@trigger_on_finish(flow="LocalFlow")'
    )
    run_flow(after, "local", "create", name="after.py")
    run_flow("flow.py", "local", "trigger", "--fail", "True", "--place", str(project))
    agent(code=1)
    assert ran(project) == ["local-1"] and len(statuses()) == 1
    run_flow("flow.py", "run")
    agent()
    assert len(statuses()) == 1, "nor does one that nobody has deployed"
