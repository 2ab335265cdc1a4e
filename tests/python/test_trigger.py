"""`@trigger` and `@trigger_on_finish`: what a deployment waits for, and what a run knows of what has started it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from metaflow import Flow, Run, current, namespace
from metaflow.exception import MetaflowException
from metaflow.integrations import ArgoEvent, publish_event
from metaflow_core.decorators.project import ProjectInfo
from metaflow_core.deployment.events import TriggerEvent, end_event, parameters_from, triggers_of
from metaflow_core.errors import InvalidDecoratorAttribute
from metaflow_core.graph.model import DecoratorSpec, FlowDef, ParameterDef

FRAUD = ProjectInfo("fraud", "test.b", False, "fraud.test.b.Next")


def waits(*decorators: tuple[str, dict[str, Any]], project: ProjectInfo | None = None) -> list[Any]:
    flow = FlowDef("Next", parameters=[ParameterDef("alpha"), ParameterDef("learning-rate")])
    flow.decorators = [DecoratorSpec(name, arguments) for name, arguments in decorators]
    return [trigger.events for trigger in triggers_of(flow, project)]


# --- events -----------------------------------------------------------------------------------------------------------


def test_no_event_is_waited_for() -> None:
    assert waits() == []


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, {}),
        ({"alpha": "a", "learning_rate": "r"}, {"alpha": "a", "learning-rate": "r"}),
        (["alpha", ("learning-rate", "r")], {"alpha": "alpha", "learning-rate": "r"}),
        ([["alpha", "a"]], {"alpha": "a"}),
        ("alpha", {"alpha": "alpha"}),
    ],
)
def test_parameters_of_an_event(parameters: Any, expected: dict[str, str]) -> None:
    event = {"name": "data_updated", "parameters": parameters}
    assert waits(("trigger", {"event": event})) == [(TriggerEvent("data_updated", expected),)]


def test_all_of_one_decorator_or_any_of_several() -> None:
    found = waits(
        ("trigger", {"events": ["a", {"name": "b", "parameters": ["alpha"]}], "options": {"reset_at": "midnight"}}),
        ("trigger", {"event": "c"}),
        ("trigger_on_finish", {"flows": ["First", "Second"]}),
    )
    assert found == [
        (TriggerEvent("a"), TriggerEvent("b", {"alpha": "alpha"})),
        (TriggerEvent("c"),),
        (
            TriggerEvent("metaflow.First.end", flow="First"),
            TriggerEvent("metaflow.Second.end", flow="Second"),
        ),
    ]


@pytest.mark.parametrize(
    ("flow", "project", "qualified"),
    [
        ("First", None, "First"),
        ("First", FRAUD, "fraud.test.b.First"),
        ("p.prod.First", None, "p.prod.First"),
        ("p.prod.First", FRAUD, "p.prod.First"),
        ("p.user.anne.First", FRAUD, "p.user.anne.First"),
        ({"name": "First", "project": "p"}, FRAUD, "p.test.b.First"),
        ({"name": "First", "project_branch": "prod"}, FRAUD, "fraud.prod.First"),
        ({"name": "First", "project": "p", "project_branch": "prod.x"}, None, "p.prod.x.First"),
    ],
)
def test_which_flow(flow: Any, project: ProjectInfo | None, qualified: str) -> None:
    [(event,)] = waits(("trigger_on_finish", {"flow": flow}), project=project)
    assert event == TriggerEvent(f"metaflow.{qualified}.end", {}, qualified)


def test_the_end_of_a_flow_is_what_others_of_its_branch_wait_for() -> None:
    for project in (None, FRAUD):
        [(event,)] = waits(("trigger_on_finish", {"flow": "First"}), project=project)
        assert event.name == end_event("First", project)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("trigger", {}, "waits for nothing. Say event, or a list of events"),
        ("trigger", {"event": "a", "events": ["b"]}, "says event and events"),
        ("trigger", {"event": ""}, "'' can't name an event"),
        ("trigger", {"event": " a"}, "' a' can't name an event"),
        ("trigger", {"event": "a\nb"}, "can't name an event"),
        ("trigger", {"event": "x" * 300}, "at most 200 characters"),
        ("trigger", {"event": 3}, "must be a name, or a dict with a name, not 3"),
        ("trigger", {"event": {"parameters": ["alpha"]}}, "needs a name"),
        ("trigger", {"event": {"name": "a", "paramters": {}}}, "Did you mean 'parameters'?"),
        ("trigger", {"event": {"name": "a", "parameters": {"alhpa": "x"}}}, "Did you mean 'alpha'?"),
        ("trigger", {"event": {"name": "a", "parameters": {"alpha": 1}}}, "must give, by parameter, a field"),
        ("trigger", {"event": {"name": "a", "parameters": ["alpha", ("alpha", "x")]}}, "'alpha' twice"),
        ("trigger", {"events": ["a", "a"]}, "waits for 'a' twice"),
        (
            "trigger",
            {"events": [{"name": n, "parameters": ["alpha"]} for n in "ab"]},
            "the parameter 'alpha' is taken from two events, a and b",
        ),
        ("trigger", {"event": "a", "options": "x"}, "options must be a dict"),
        ("trigger", {"evnet": "a"}, "Did you mean 'event'?"),
        ("trigger_on_finish", {}, "waits for nothing. Say flow, or a list of flows"),
        ("trigger_on_finish", {"flow": "a b"}, "'a b' can't name a flow"),
        ("trigger_on_finish", {"flow": "prod.First"}, "<project>.<branch>.<name>"),
        ("trigger_on_finish", {"flow": "p.main.First"}, "'main' is no branch"),
        ("trigger_on_finish", {"flow": "P.prod.First"}, "'P' is no project"),
        ("trigger_on_finish", {"flow": {"name": "First", "project": "p"}}, "needs a project_branch too"),
        ("trigger_on_finish", {"flow": {"name": "First", "project_branch": "prod"}}, "needs a project too"),
        ("trigger_on_finish", {"flow": {"name": "First", "branch": "prod"}}, "a flow has no 'branch'"),
    ],
)
def test_what_is_refused(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidDecoratorAttribute) as refused:
        waits((name, arguments))
    assert says in str(refused.value)
    assert str(refused.value).startswith(f"@{name} on flow Next")


def test_payloads_become_parameters() -> None:
    flow = FlowDef("Next", parameters=[ParameterDef("alpha"), ParameterDef("beta")])
    flow.decorators = [
        DecoratorSpec("trigger", {"events": [{"name": "a", "parameters": {"alpha": "x"}}, "b"]}),
        DecoratorSpec("trigger", {"event": {"name": "c", "parameters": {"beta": "y", "alpha": "absent"}}}),
    ]
    triggers = triggers_of(flow, None)

    def given(*events: tuple[str, Any]) -> dict[str, Any]:
        stored = [{"name": name, "id": "1", "time": 0, "type": "event", "payload": load} for name, load in events]
        return parameters_from(json.dumps(stored), triggers)

    assert given(("a", {"x": [1, {"k": None}]}), ("b", {})) == {"alpha": [1, {"k": None}]}
    assert given(("a", {"x": 1})) == {}, "the other event of the decorator has not come"
    assert given(("c", {"y": 0.5, "x": 3})) == {"beta": 0.5}
    assert given(("c", None)) == {} == parameters_from("", triggers)
    assert given(("c", {"y": 1}), ("c", {"y": 2})) == {"beta": 2}
    for broken in ("{", '{"name": "a"}', '[{"name": 3}]', '[{"name": "a", "payload": "x"}]'):
        with pytest.raises(MetaflowException, match="can't be read"):
            parameters_from(broken, triggers)


# --- runs -------------------------------------------------------------------------------------------------------------

FIRST = """
    from metaflow import FlowSpec, project, step

    {project}
    class {name}(FlowSpec):
        @step
        def start(self):
            self.model = "model of {name}"
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        {name}()
"""
SECOND = """
    from metaflow import FlowSpec, Parameter, current, step, trigger, trigger_on_finish

    @trigger(event={"name": "data_updated", "parameters": {"alpha": "a"}})
    @trigger(event="at_night")
    @trigger_on_finish(flows=["First", "Other"])
    class Second(FlowSpec):
        alpha = Parameter("alpha", default=1)

        @step
        def start(self):
            found = current.trigger
            self.model = found and found.run.data.model
            self.names = found and [event.name for event in found.events]
            self.latest = found and found.event.name
            self.runs = found and [run.pathspec for run in found.runs]
            self.next(self.end)

        @step
        def end(self):
            from pathlib import Path
            assert Path("repaired").exists()
            self.again = current.trigger and current.trigger.run.pathspec

    if __name__ == "__main__":
        Second()
"""


def test_a_run_that_nothing_has_triggered(run_flow: Any, project: Path) -> None:
    (project / "repaired").touch()
    run_flow(SECOND, "run")
    run = Run("Second/1")
    assert run.trigger is None and run.data.model is None and run.data.again is None
    assert current.trigger is None


def test_a_run_as_if_others_had_triggered_it(run_flow: Any, project: Path) -> None:
    run_flow(FIRST.format(project="@project(name='fraud')", name="First"), "--production", "run", name="first.py")
    run_flow(FIRST.format(project="", name="Other"), "run", name="other.py", user="will")
    absent = run_flow(SECOND, "--trigger", "First/7", "run", check=False)
    assert absent.returncode == 1 and "There is no run First/7." in absent.stderr
    for wrong in ("First", "First/1/start"):
        refused = run_flow("flow.py", "--trigger", wrong, "run", check=False)
        assert refused.returncode == 1 and "no pathspec of the form <flow>/<run>" in refused.stderr
    namespace(None)
    with pytest.raises(MetaflowException):
        Flow("Second")
    failed = run_flow("flow.py", "--trigger", "Other/1", "--trigger", "First/1", "run", check=False)
    assert failed.returncode == 1 and "AssertionError" in failed.stdout
    data = Run("Second/1")["start"].task.data
    assert data.names == ["metaflow.fraud.prod.First.end", "metaflow.Other.end"], "in the order of the runs' ends"
    assert data.latest == "metaflow.Other.end" and data.model == "model of Other", "in another namespace too"
    assert data.runs == ["First/1", "Other/1"]

    (project / "repaired").touch()
    run_flow("flow.py", "resume")
    found = Run("Second/2").trigger
    assert found is not None and [run.pathspec for run in found.runs or []] == ["First/1", "Other/1"]
    assert Run("Second/2").data.again == "Other/1", "a resumed run has been triggered by the same"
    event = found.events[0]
    assert event == (
        "metaflow.fraud.prod.First.end",
        "First/1",
        Run("First/1").finished_at,
        "run",
        {"pathspec": "First/1"},
    )
    assert repr(found) == "Trigger(metaflow.fraud.prod.First.end, metaflow.Other.end)"


def test_an_event_that_is_no_run(run_flow: Any, project: Path) -> None:
    from metaflow_core.decorators.trigger import FACT
    from metaflow_core.metadata import recording
    from metaflow_core.metadata.backend import open_backend

    (project / "repaired").touch()
    run_flow(SECOND, "run")
    stored = [{"name": "n", "id": "e7", "time": 1_700_000_000_000_000, "type": "event", "payload": {"a": [1]}}]
    backend = open_backend()
    row = recording.find_run(backend.db, "Second", "1")
    recording.add_facts(backend.db, row.parameters_pk, 0, {FACT: json.dumps(stored)})
    backend.close()
    found = Run("Second/1").trigger
    assert found is not None and found.run is None and found.runs is None
    assert found.event.payload == {"a": [1]} and found.event.type == "event" and found.event.id == "e7"
    assert found.event.timestamp == datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)


def test_an_unknown_parameter_is_found_out_before_a_run(run_flow: Any) -> None:
    refused = run_flow(SECOND.replace('"alpha": "a"', '"alhpa": "a"'), "check", check=False)
    assert refused.returncode == 1
    assert "'data_updated' is to give the parameter 'alhpa', which the flow does not have. Did you mean 'alpha'?" in (
        refused.stderr
    )


# --- publishing to Argo Events ----------------------------------------------------------------------------------------


class Webhook(HTTPServer):
    """Keeps what it is sent; answers ``codes`` in turn, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.seen: list[tuple[dict[str, str], Any]] = []
        self.codes: list[int] = []
        self.sends_to = ""
        self.url = f"http://127.0.0.1:{self.server_port}/metaflow"


class Hook(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.codes.pop(0) if self.server.codes else 200)
        if self.server.sends_to:
            self.send_header("Location", self.server.sends_to)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.seen.append((dict(self.headers), {}))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def webhook(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook() as server:
        monkeypatch.setenv("METAFLOW_ARGO_EVENTS_WEBHOOK_URL", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_event_is_posted(webhook: Webhook) -> None:
    event = ArgoEvent("data_updated", payload={"a": 1}, access_token="t0ken").add_to_payload("b", [1, "ü"])
    id = event.publish({"c": None}, ignore_errors=False)
    [(headers, sent)] = webhook.seen
    assert sent.pop("time") > 1_700_000_000_000_000
    assert sent == {"name": "data_updated", "id": id, "type": "event", "payload": {"a": 1, "b": [1, "ü"], "c": None}}
    assert headers["Content-Type"] == "application/json" and headers["Authorization"] == "Bearer t0ken"
    assert event.publish() != id, "each time it is another event"


def test_only_deployed_flows_publish_safely(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ArgoEvent("e").safe_publish() is None and not webhook.seen
    monkeypatch.setenv("METAFLOW_DEPLOYMENT_ID", "7")
    assert ArgoEvent("e").safe_publish({"a": 1}) == webhook.seen[0][1]["id"]


def test_a_webhook_that_fails(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    webhook.codes = [503, 500]
    assert ArgoEvent("e").publish() is not None, "tried again"
    assert len({sent["id"] for _, sent in webhook.seen}) == 1 and len(webhook.seen) == 3
    webhook.codes = [403]
    assert ArgoEvent("e").publish() is None
    assert "The event 'e' was not published: http://127.0.0.1" in capsys.readouterr().err
    for event, says in (
        (ArgoEvent("e", url="file:///etc/passwd"), "is no address of a webhook"),
        (ArgoEvent("e", payload={"x": object()}), "can't be written as JSON"),
        (ArgoEvent("e", payload={"x": float("nan")}), "can't be written as JSON"),
        (ArgoEvent("e", url="http://127.0.0.1:1/"), "did not answer"),
    ):
        with pytest.raises(MetaflowException, match=says):
            event.publish(ignore_errors=False)
    for url in (
        "http://[::1/",
        "http://anne:s3/cret@host/",
        "http://127.0.0.1:1/a b\n",
        5,
        "http://127.0.0.1:1/\udcff",
    ):
        with pytest.raises(MetaflowException, match="is no address of a webhook") as raised:
            ArgoEvent("e", url=url).publish(ignore_errors=False)  # type: ignore[arg-type]
        assert "cret" not in str(raised.value)
    monkeypatch.delenv("METAFLOW_ARGO_EVENTS_WEBHOOK_URL")
    with pytest.raises(MetaflowException, match="METAFLOW_ARGO_EVENTS_WEBHOOK_URL"):
        ArgoEvent("e").publish(ignore_errors=False)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_an_event_and_its_token_go_to_no_other_host(webhook: Webhook, code: int) -> None:
    webhook.codes, webhook.sends_to = [code], webhook.url.replace("127.0.0.1", "localhost")
    with pytest.raises(MetaflowException, match=r"was not published: .* sends elsewhere, to http://localhost"):
        ArgoEvent("e", access_token="s3cret").publish(ignore_errors=False)
    assert len(webhook.seen) == 1, "what it sends to was not asked"


@pytest.mark.parametrize("token", ["s3\ncret", "s3\x7fcret", "s3cré€t", b"s3cret", 5])
def test_a_token_that_can_not_be_sent(webhook: Webhook, capsys: pytest.CaptureFixture[str], token: Any) -> None:
    assert ArgoEvent("e", access_token=token).publish() is None and not webhook.seen
    said = capsys.readouterr().err
    assert "access_token" in said and "s3" not in said and "cret" not in said


def test_the_end_of_the_line_is_no_part_of_a_token(webhook: Webhook) -> None:
    assert ArgoEvent("e", access_token=" s3cret\n").publish(ignore_errors=False)
    assert webhook.seen[0][0]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("payload", [[1, 2], 5, "abc", [("a", 1)]])
def test_a_payload_that_has_no_fields(project: Path, webhook: Webhook, payload: Any) -> None:
    for publish in (
        lambda: ArgoEvent("e", payload=payload),
        lambda: ArgoEvent("e").publish(payload, ignore_errors=False),
        lambda: publish_event("e", payload),
    ):
        with pytest.raises(MetaflowException, match="payload of an event is a dict") as raised:
            publish()
        assert repr(payload) in str(raised.value)
    assert not webhook.seen
