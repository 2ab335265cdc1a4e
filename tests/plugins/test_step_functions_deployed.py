"""What a deployment to AWS Step Functions consists of: documents, names, rules, and that nothing is half there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from metaflow_core.decorators.interface import Needs
from metaflow_core.deployment.interface import Deployed, Deployment
from metaflow_core.deployment.plan import DeploymentPlan, PlanEvent, PlanNode, PlanParameter, PlanTrigger
from metaflow_core.deployment.schedule import Schedule
from metaflow_core.errors import CommandException, ComputeUnavailable, MetaflowNotFound
from metaflow_core.testing.orchestrator import OrchestratorContract, plans
from metaflow_plugins.step_functions_names import machine_name, rule_prefix, state_name
from metaflow_plugins.step_functions_orchestrator import StepFunctions
from moto_step_functions import transformed
from step_functions_aws import ROLE, StepFunctionsService


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `create --only-json` needs: no credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METAFLOW_BATCH_JOB_QUEUE", "queue")
    monkeypatch.setenv("METAFLOW_BATCH_CONTAINER_IMAGE", "team/image:1")
    monkeypatch.setenv("METAFLOW_SFN_DYNAMO_DB_TABLE", "table")


@pytest.mark.usefixtures("settings")
class TestContract(OrchestratorContract):
    @pytest.fixture
    def orchestrator(self) -> StepFunctions:
        return StepFunctions()

    def read(self, document: str) -> Any:
        return json.loads(document)


def machine_of(plan: DeploymentPlan, **options: Any) -> dict[str, Any]:
    target = StepFunctions()
    target.check(plan, options)
    found = json.loads(target.render(plan, options))
    assert isinstance(found, dict)
    return found


def scopes(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield machine
    for state in machine["States"].values():
        for inner in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from scopes(inner)


def follows(state: dict[str, Any]) -> set[str]:
    named = [state, *state.get("Choices", []), *state.get("Catch", [])]
    return {one["Next"] for one in named if "Next" in one}


def check_states(machine: dict[str, Any]) -> None:
    """Each state can be reached, leads somewhere that is there, or is an end; names are unique and not too long."""
    names: list[str] = []
    for scope in scopes(machine):
        states = scope["States"]
        reached, new = set(), {scope["StartAt"]}
        while new:
            reached |= new
            new = {name for one in new for name in follows(states[one])} - reached
        assert reached == set(states)
        for state in states.values():
            ends = state.get("End", False) or state["Type"] in ("Succeed", "Fail")
            assert ends != ("Next" in state or "Choices" in state)
        names += states
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 80


@pytest.mark.parametrize("distributed", [False, True])
@pytest.mark.parametrize("what", list(plans()))
@pytest.mark.usefixtures("settings")
def test_all_states_can_be_reached(what: str, distributed: bool) -> None:
    check_states(machine_of(plans()[what], use_distributed_map=distributed))


@pytest.mark.usefixtures("settings")
def test_a_step_as_a_job() -> None:
    plan = plans()["everything of one step"]
    plan.nodes["start"] = replace(
        plan.start, needs=Needs(cpu=4, memory=9000), place="batch", place_attributes={"queue": "other", "memory": 10}
    )
    machine = machine_of(replace(plan, schedule=None))
    check_states(machine)
    assert set(machine["States"]) >= {"the flow", "the run has succeeded", "finish the run"}
    inner, clock = machine["States"]["the flow"]["Branches"]
    assert clock["States"]["wait"]["Seconds"] == 7200
    start = inner["States"]["start"]
    given = start["Parameters"]
    assert given["JobQueue"] == "other"
    assert given["Timeout"] == {"AttemptDurationSeconds": 3660}
    assert given["ContainerOverrides"]["Command"] == ["python3", "-m", "metaflow_core.cli.deployed", "node"]
    assert given["ContainerOverrides"]["ResourceRequirements"] == [
        {"Type": "VCPU", "Value": "4"},
        {"Type": "MEMORY", "Value": "9000"},
    ]
    again = {"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 2, "IntervalSeconds": 60, "BackoffRate": 1.0}
    assert start["Retry"][1] == again
    assert len(inner["States"]["end"]["Retry"]) == 1  # of the call alone, not of the job


words = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1)
letters = st.characters(categories=("Lu", "Ll", "Lo", "Nd"), include_characters="_")
identifiers = st.text(letters, max_size=120).map(lambda text: f"a{text}").filter(str.isidentifier)


@pytest.mark.usefixtures("settings")
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(flow=identifiers, step=identifiers, words=st.lists(words, min_size=6, max_size=6))
def test_no_text_becomes_part_of_the_machine(flow: str, step: str, words: list[str]) -> None:
    """Whatever is written where: it is the value of a variable, or nowhere, and no path and no function."""
    branch, tag, doc, default, event, variable = words
    fan = (("start", step),)
    plan = replace(
        plans()["linear"],
        flow=flow,
        name=f"project.user.{branch}.{flow}",
        tags=[tag],
        doc=doc,
        parameters=[PlanParameter("alpha", "str", default, False, doc)],
        triggers=[PlanTrigger((PlanEvent(event),))],
        variables={"METAFLOW_TEXT": variable[:500]},
        nodes={
            "start": PlanNode("start", "foreach", (step,), join="the_join", is_start=True),
            step: PlanNode(step, "linear", ("the_join",), fan, fans=("start",), doc=doc),
            "the_join": PlanNode("the_join", "linear", ("end",), is_join=True),
            "end": PlanNode("end", "end", ()),
        },
    )
    if step in ("start", "end", "the_join"):
        return
    machine = machine_of(plan)
    check_states(machine)
    paths = [value for value in _paths(machine) if value.startswith(f"States.Format('{flow}/")]
    assert paths == [f"States.Format('{flow}/{{}}/start/', $.run)"]
    assert all(value.startswith(("$", "States.")) for value in _paths(machine))
    values = machine["States"]["start"]["Parameters"]["ContainerOverrides"]["Environment"]
    assert {"Name": "METAFLOW_TEXT", "Value": variable[:500]} in values
    name = machine_name(plan.name)
    assert name.replace("-", "_").isascii() and name.replace("-", "_").isidentifier() and len(name) <= 80
    from metaflow_plugins.step_functions_rules import rules_of

    (rule,) = rules_of(plan, name)
    assert json.loads(rule.settings["EventPattern"]) == {"detail-type": [event]}
    payload = {"a": '"<name>\\'}
    got = transformed(
        rule.target["InputTransformer"], {"id": "i", "time": "t", "detail-type": event, "detail": payload}
    )
    assert json.loads(got)["Trigger"][0]["name"] == event
    assert len(rule.name) <= 64


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith(".$"):
                yield inner
            else:
                yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


def test_names() -> None:
    assert machine_name("PlainFlow") == "PlainFlow"
    assert machine_name("example_project.user.anne.ProjectFlow").startswith("example_project-user-anne-ProjectFlow-")
    assert machine_name("a.b") != machine_name("a-b")
    assert len(machine_name("a" * 100)) == 80
    assert machine_name("a" * 100) != machine_name("a" * 101)
    assert state_name("a" * 200, "each") != state_name("a" * 200)
    assert not rule_prefix("Train2").startswith(rule_prefix("Train"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"triggers": [PlanTrigger((PlanEvent("a"), PlanEvent("b")))]},
            "wait for one event each, and flow PlainFlow waits for all of: a, b",
        ),
        ({"triggers": [PlanTrigger((PlanEvent("a" * 129),))]}, "names of events of at most 128 characters, not 'aaa"),
        ({"schedule": Schedule("0 0 13 * 5")}, "AWS can't express the schedule"),
        ({"variables": {"METAFLOW_LONG": "x" * 9000}}, r"takes 9\d\d\d characters, and AWS Batch takes 8192"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_what_can_not_be_done_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandException if "schedule" not in changes else Exception, match=said):
        StepFunctions().check(replace(plans()["linear"], **changes), {})


@pytest.mark.usefixtures("settings")
def test_what_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, switch = plans()["linear"], plans()["switch"]
    monkeypatch.delenv("METAFLOW_SFN_DYNAMO_DB_TABLE")
    StepFunctions().check(plain, {})
    with pytest.raises(CommandException, match="Set METAFLOW_SFN_DYNAMO_DB_TABLE"):
        StepFunctions().check(switch, {})
    with pytest.raises(CommandException, match="Set METAFLOW_SFN_EXECUTION_LOG_GROUP_ARN"):
        StepFunctions().check(plain, {"log_execution_history": True})
    with pytest.raises(ComputeUnavailable, match=r"no region is set\. Set AWS_DEFAULT_REGION"):
        StepFunctions().prepare(plain, {})
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(CommandException, match="Set METAFLOW_SFN_IAM_ROLE to the ARN of the role"):
        StepFunctions().prepare(plain, {})
    monkeypatch.setenv("METAFLOW_SFN_IAM_ROLE", f"{ROLE}/machines")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ComputeUnavailable, match="there are no AWS credentials"):
        StepFunctions().prepare(plain, {})
    with pytest.raises(CommandException, match="Set METAFLOW_EVENTS_SFN_ACCESS_IAM_ROLE"):
        StepFunctions().prepare(replace(plain, schedule=Schedule("0 1 * * *")), {})


# --- deployed to moto ------------------------------------------------------------------------------------------------


def plan_named(**changes: Any) -> DeploymentPlan:
    name = f"Flow{uuid.uuid4().hex[:8]}"
    return replace(plans()["linear"], **{"name": name, "flow": name, **changes})


def deploy(plan: DeploymentPlan, **options: Any) -> Deployed:
    target = StepFunctions()
    target.check(plan, options)
    target.prepare(plan, options)
    return target.deploy(plan, target.render(plan, options), options)


def deployment_of(plan: DeploymentPlan, made: Deployed) -> Deployment:
    info = json.loads(json.dumps(made.info))
    return Deployment(1, plan.name, plan.flow, "step-functions", plan.owner, 0, made.handle, info, {})


def rules(service: StepFunctionsService, machine: str) -> dict[str, dict[str, Any]]:
    found = service.rules.list_rules(NamePrefix=rule_prefix(machine))["Rules"]
    return {
        rule["Name"].removeprefix(rule_prefix(machine)): {
            **rule,
            "targets": service.rules.list_targets_by_rule(Rule=rule["Name"])["Targets"],
        }
        for rule in found
    }


def test_deployed_again_and_deleted(step_functions: StepFunctionsService) -> None:
    plan = plan_named(schedule=Schedule("*/5 10 * * 1-5"), triggers=[PlanTrigger((PlanEvent("a"),))])
    made = deploy(plan)
    machine = step_functions.machine(plan.name)
    assert made.info["arn"] == machine["stateMachineArn"]
    tags = step_functions.machines.list_tags_for_resource(resourceArn=made.info["arn"])["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == {
        "metaflow:deployment": plan.name,
        "metaflow:flow": plan.name,
        "metaflow:owner": "anne",
    }
    found = rules(step_functions, made.handle)
    assert set(found) == {"schedule", "event-0"}
    assert found["schedule"]["ScheduleExpression"] == "cron(0/5 10 ? * 2-6 *)"
    (target,) = found["schedule"]["targets"]
    assert (target["Arn"], target["RoleArn"]) == (made.info["arn"], f"{ROLE}/rules")
    assert json.loads(target["Input"]) == {"Parameters": "{}", "Trigger": []}
    deploy(replace(plan, schedule=None, triggers=[], variables={"METAFLOW_NEW": "1"}))
    assert rules(step_functions, made.handle) == {}
    assert "METAFLOW_NEW" in step_functions.machine(plan.name)["definition"]
    for _ in range(2):  # what is gone stays gone
        StepFunctions().delete(deployment_of(plan, made), {})
    names = [one["name"] for one in step_functions.machines.list_state_machines()["stateMachines"]]
    assert made.handle not in names


def test_logs_of_executions_end_with_the_option(
    step_functions: StepFunctionsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = "arn:aws:logs:us-east-1:123456789012:log-group:executions:*"
    monkeypatch.setenv("METAFLOW_SFN_EXECUTION_LOG_GROUP_ARN", group)
    plan = plan_named()
    for options, level in (({}, "OFF"), ({"log_execution_history": True}, "ALL"), ({}, "OFF"), ({}, "OFF")):
        deploy(plan, **options)
        assert step_functions.machine(plan.name)["loggingConfiguration"]["level"] == level


def test_a_schedule_in_a_time_zone(step_functions: StepFunctionsService) -> None:
    scheduler = step_functions.aws.connect("scheduler")

    def known() -> list[str]:
        return [one["Name"] for one in scheduler.list_schedules()["Schedules"] if one["Name"].startswith(prefix)]

    plan = plan_named(schedule=Schedule("0 10 * * *", "Europe/Berlin"))
    prefix = rule_prefix(machine_name(plan.name))
    made = deploy(plan)
    assert known() == [f"{prefix}schedule"]
    assert rules(step_functions, made.handle) == {}
    for hour in (10, 11):
        deploy(replace(plan, schedule=Schedule(f"0 {hour} * * *", "Europe/Berlin")))
        found = scheduler.get_schedule(Name=known()[0])
        assert found["ScheduleExpression"] == f"cron(0 {hour} * * ? *)"
        assert found["ScheduleExpressionTimezone"] == "Europe/Berlin"
        assert found["Target"]["Arn"] == made.info["arn"]
    deploy(replace(plan, schedule=Schedule("0 10 * * *", "UTC")))
    assert known() == []
    assert set(rules(step_functions, made.handle)) == {"schedule"}
    deploy(plan)
    assert set(rules(step_functions, made.handle)) == set()
    StepFunctions().delete(deployment_of(plan, made), {})
    assert known() == []


def test_nothing_is_half_deployed(step_functions: StepFunctionsService, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError
    from metaflow_plugins.step_functions_service import Service

    class Refusing:
        """EventBridge that does not take the targets of rules."""

        def __init__(self, events: Any) -> None:
            self._events, self.left = events, 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self._events, name)

        def put_targets(self, **given: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutTargets")
            return self._events.put_targets(**given)

    def broken(self: Service) -> None:
        begin(self)
        self._events = Refusing(self._events)

    begin = Service.__init__
    scheduled = {"schedule": Schedule("0 1 * * *")}
    plan = plan_named(**scheduled)
    with monkeypatch.context() as patched:
        patched.setattr(Service, "__init__", broken)
        with pytest.raises(ComputeUnavailable, match="can't be deployed: you may not do that"):
            deploy(plan)
    assert rules(step_functions, machine_name(plan.name)) == {}
    with pytest.raises(AssertionError):
        step_functions.machine(plan.name)
    made = deploy(plan)
    before, rules_before = step_functions.machine(plan.name), rules(step_functions, made.handle)
    with monkeypatch.context() as patched:
        patched.setattr(Service, "__init__", broken)
        with pytest.raises(ComputeUnavailable, match="can't be deployed"):
            deploy(replace(plan, schedule=Schedule("0 2 * * *"), variables={"METAFLOW_NEW": "1"}))
    assert step_functions.machine(plan.name)["definition"] == before["definition"]
    assert rules(step_functions, made.handle) == rules_before


def test_a_machine_of_somebody_else_is_left_alone(step_functions: StepFunctionsService) -> None:
    plan = plan_named()
    definition = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})
    step_functions.machines.create_state_machine(name=plan.name, definition=definition, roleArn=f"{ROLE}/other")
    with pytest.raises(CommandException, match="Set METAFLOW_SFN_STATE_MACHINE_PREFIX"):
        deploy(plan)
    assert step_functions.machine(plan.name)["definition"] == definition


def test_a_table_that_will_not_do(step_functions: StepFunctionsService, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(plans()["switch"], name="SwitchFlow")
    monkeypatch.setenv("METAFLOW_SFN_DYNAMO_DB_TABLE", "missing")
    with pytest.raises(ComputeUnavailable, match="The table missing of DynamoDB can't be used"):
        deploy(plan)


def test_parameters_that_are_too_long_and_runs_that_are_not_there(step_functions: StepFunctionsService) -> None:
    plan = plan_named()
    deployment = deployment_of(plan, deploy(plan))
    with pytest.raises(CommandException, match=r"The parameters take 9\d\d\d characters"):
        StepFunctions().trigger(deployment, {"alpha": "x" * 9000}, {})
    with pytest.raises(MetaflowNotFound, match="has no run sfn-none on AWS Step Functions"):
        StepFunctions().status(deployment, "sfn-none", {})
    assert StepFunctions().list_runs(deployment, [], {}) == []
