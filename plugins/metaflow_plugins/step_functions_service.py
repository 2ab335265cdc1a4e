"""Calls of AWS that deploy state machines and run them. Whoever imports it needs the AWS SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from metaflow_core import settings
from metaflow_core.deployment.interface import Deployed, Deployment, Execution
from metaflow_core.deployment.plan import DeploymentPlan
from metaflow_core.errors import CommandException, MetaflowException, MetaflowNotFound

from metaflow_plugins.aws_calls import clients, code_of, explained
from metaflow_plugins.batch_driver import register
from metaflow_plugins.batch_job import StepJob
from metaflow_plugins.step_functions_names import PAGE, machine_name, rule_prefix
from metaflow_plugins.step_functions_rules import TARGET, Rule, rules_of, schedule_name, zoned_schedule

TAG = "metaflow:deployment"  # of a state machine: whose it is
ZONED = "metaflow:scheduler"  # whether EventBridge Scheduler starts it; without it that service is not asked
STATUSES = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "ABORTED": "terminated",
    "TIMED_OUT": "timed-out",
    "PENDING_REDRIVE": "queued",
}
MOST_LISTED = 1000  # executions of each status
Undo = list[tuple[Any, dict[str, Any]]]  # calls, the last one first


class Service:
    """Step Functions, EventBridge and Batch, of the region that is set."""

    def __init__(self) -> None:
        names = ["stepfunctions", "events", "scheduler", "batch", "dynamodb"]
        self._machines, self._events, self._scheduler, self.batch, self._tables = clients(
            names, "AWS Step Functions", "AWS Step Functions can't be used"
        )

    # --- deploying -------------------------------------------------------------------------------------------------

    def check(self, plan: DeploymentPlan) -> None:
        """Settings, credentials, whose the machine is, and the table; nothing is changed."""
        self._role("SFN_IAM_ROLE", "with which state machines submit jobs")
        if plan.schedule is not None or plan.triggers:
            self._role("EVENTS_SFN_ACCESS_IAM_ROLE", "with which Amazon EventBridge starts state machines")
        self._existing(plan)
        if any(node.kind in ("foreach", "switch") for node in plan):
            self._check_table(str(settings.get("SFN_DYNAMO_DB_TABLE")))

    def deploy(
        self, plan: DeploymentPlan, document: str, jobs: Mapping[str, StepJob], logs: bool, info: Mapping[str, Any]
    ) -> Deployed:
        """Everything, or what was there before. ``info`` is what the methods for executions need."""
        name = machine_name(plan.name)
        for step, job in jobs.items():
            register(self.batch, step, job)
        undo: Undo = []
        try:
            existing = self._existing(plan)
            arn = self._put_machine(plan, name, document, logs, existing, undo)
            rules, zoned = rules_of(plan, name), zoned_schedule(plan, name)
            self._put_schedule(name, arn, zoned, existing is not None and ZONED in existing["tags"], undo)
            self._put_rules(name, arn, rules, undo)
        except BaseException:
            for call, given in reversed(undo):
                with suppress(Exception):  # the first error is the one to tell, and all that can be undone is
                    call(**given)
            raise
        notes = [f"The state machine is {name}: {arn}"]
        notes += [
            f"{starter} starts it." for starter in [*(rule.name for rule in rules), *([zoned["Name"]] if zoned else [])]
        ]
        return Deployed(name, {**info, "arn": arn}, notes)

    def delete(self, deployment: Deployment) -> None:
        with explained(f"The rules that start {deployment.handle} can't be deleted", PAGE):
            for rule in self._rules(deployment.handle):
                self._delete_rule(rule)
        with explained(f"The state machine {deployment.handle} can't be deleted", PAGE):
            if self._is_there(deployment) and ZONED in self._tags(deployment.info["arn"]):
                self._delete_schedule(schedule_name(deployment.handle))
            self._machines.delete_state_machine(stateMachineArn=deployment.info["arn"])

    # --- executions ------------------------------------------------------------------------------------------------

    def start(self, deployment: Deployment, parameters: Mapping[str, str]) -> Execution:
        text = json.dumps(dict(parameters))
        length = len(json.dumps(text))
        if length > deployment.info["room"]:
            raise CommandException(
                f"The parameters take {length} characters, and {deployment.info['room']} is what AWS Batch has room "
                f"for in this deployment. Put large values where the flow can read them, and pass their address."
            )
        with explained(f"A run of {deployment.name} can't be started", PAGE):
            started = self._machines.start_execution(
                stateMachineArn=deployment.info["arn"], name=str(uuid4()), input=json.dumps({"Parameters": text})
            )
        name = started["executionArn"].rpartition(":")[2]
        return Execution(f"sfn-{name}", "running", started["startDate"].timestamp(), handle=started["executionArn"])

    def executions(self, deployment: Deployment, statuses: Sequence[str]) -> list[Execution]:
        asked: list[str | None] = [theirs for theirs, ours in STATUSES.items() if ours in statuses]
        if not statuses:
            asked = [None]
        found = []
        pages = self._machines.get_paginator("list_executions")
        with explained(f"The runs of {deployment.name} can't be listed", PAGE):
            for status in asked:
                wanted = {"stateMachineArn": deployment.info["arn"]}
                if status is not None:
                    wanted["statusFilter"] = status
                limit = {"MaxItems": MOST_LISTED, "PageSize": 100}
                for page in pages.paginate(**wanted, PaginationConfig=limit):
                    found += [_execution(one) for one in page["executions"]]
        return sorted(found, key=lambda one: one.started_at or 0.0, reverse=True)

    def describe(self, deployment: Deployment, run_id: str) -> Execution:
        return _execution(self._described(deployment, run_id))

    def stop(self, deployment: Deployment, run_id: str) -> Execution:
        found = self._described(deployment, run_id)
        if found["status"] in ("RUNNING", "PENDING_REDRIVE"):
            with explained(f"Run {run_id} can't be terminated", PAGE):
                self._machines.stop_execution(
                    executionArn=found["executionArn"], error="Terminated", cause="Terminated by metaflow."
                )
                # Nothing of the execution is left that could record its end.
                job = json.loads(json.dumps(deployment.info["finish"]))
                job["containerOverrides"]["environment"].append({"name": "METAFLOW_RUN_ID", "value": run_id})
                self.batch.submit_job(**job)
            # AWS may say for a moment that it still runs.
            return _execution({**found, "status": "ABORTED"})
        return _execution(found)

    def _described(self, deployment: Deployment, run_id: str) -> dict[str, Any]:
        machine, name = deployment.info["arn"], run_id.removeprefix("sfn-")
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        with explained(f"Run {run_id} can't be looked up", PAGE):
            try:
                return dict(self._machines.describe_execution(executionArn=arn))
            except self._machines.exceptions.ClientError as error:
                said = f"{deployment.name} has no run {run_id} on AWS Step Functions. list-runs shows those it has."
                if code_of(error) == "ExecutionDoesNotExist":
                    raise MetaflowNotFound(said) from None
                if code_of(error) == "InvalidArn":  # also in another region, where nobody can say that the run is gone
                    raise CommandException(said) from None
                raise

    # --- machines --------------------------------------------------------------------------------------------------

    def _put_machine(
        self, plan: DeploymentPlan, name: str, document: str, logs: bool, existing: dict[str, Any] | None, undo: Undo
    ) -> str:
        given: dict[str, Any] = {"definition": document, "roleArn": settings.get("SFN_IAM_ROLE")}
        if logs:
            group = {"cloudWatchLogsLogGroup": {"logGroupArn": settings.get("SFN_EXECUTION_LOG_GROUP_ARN")}}
            given["loggingConfiguration"] = {"level": "ALL", "includeExecutionData": True, "destinations": [group]}
        elif existing is not None and existing.get("loggingConfiguration", {}).get("level", "OFF") != "OFF":
            given["loggingConfiguration"] = {"level": "OFF", "includeExecutionData": False}
        tags = {TAG: plan.name, "metaflow:flow": plan.flow, "metaflow:owner": plan.owner}
        if zoned_schedule(plan, name) is not None:
            tags[ZONED] = "yes"
        with explained(f"The state machine {name} can't be deployed", PAGE):
            if existing is None:
                made = self._machines.create_state_machine(name=name, type="STANDARD", tags=_legal(tags), **given)
                arn = str(made["stateMachineArn"])
                undo.append((self._machines.delete_state_machine, {"stateMachineArn": arn}))
                return arn
            arn = str(existing["stateMachineArn"])
            before = {key: existing[key] for key in given if key in existing}
            self._machines.update_state_machine(stateMachineArn=arn, **given)
            undo.append((self._machines.update_state_machine, {"stateMachineArn": arn, **before}))
            undo.append((self._tag, {"arn": arn, "tags": existing["tags"]}))
            self._tag(arn, tags)
            return arn

    def _tag(self, arn: str, tags: Mapping[str, str]) -> None:
        self._machines.tag_resource(resourceArn=arn, tags=_legal(tags))
        if ZONED not in tags:
            self._machines.untag_resource(resourceArn=arn, tagKeys=[ZONED])

    def _tags(self, arn: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self._machines.list_tags_for_resource(resourceArn=arn)["tags"]}

    def _is_there(self, deployment: Deployment) -> bool:
        return self._arn(deployment.handle) is not None

    def _existing(self, plan: DeploymentPlan) -> dict[str, Any] | None:
        """The machine with the name of this deployment. It is an error when it is somebody else's."""
        name = machine_name(plan.name)
        arn = self._arn(name)
        if arn is None:
            return None
        with explained(f"The state machine {name} can't be read", PAGE):
            found = dict(self._machines.describe_state_machine(stateMachineArn=arn))
            found["tags"] = self._tags(arn)
        if found["tags"].get(TAG) != _text(plan.name):
            raise CommandException(
                f"There is a state machine {name} already that is no deployment of {plan.name}. Set "
                f"METAFLOW_SFN_STATE_MACHINE_PREFIX to something that begins the names of your deployments."
            )
        return found

    def _arn(self, name: str) -> str | None:
        with explained("AWS Step Functions can't be used", PAGE):
            for page in self._machines.get_paginator("list_state_machines").paginate():
                for machine in page["stateMachines"]:
                    if machine["name"] == name:
                        return str(machine["stateMachineArn"])
        return None

    def _role(self, setting: str, what: str) -> str:
        role = settings.get(setting)
        if not role:
            raise CommandException(f"Set METAFLOW_{setting} to the ARN of the role {what}: see {PAGE}.")
        return str(role)

    def _check_table(self, table: str) -> None:
        with explained(f"The table {table} of DynamoDB can't be used", PAGE):
            found = self._tables.describe_table(TableName=table)["Table"]
        keys = [key["AttributeName"] for key in found["KeySchema"]]
        if keys != ["pathspec"]:
            raise CommandException(
                f"The table {table} of DynamoDB has the key {', '.join(keys)}, and needs a partition key pathspec, of "
                f"the type string, and no sort key."
            )

    # --- rules -----------------------------------------------------------------------------------------------------

    def _put_rules(self, machine: str, arn: str, rules: Sequence[Rule], undo: Undo) -> None:
        with explained(f"The rules that start {machine} can't be deployed", PAGE):
            before = self._rules(machine)
            for rule in rules:
                self._put_rule(rule, machine, arn, undo, before)
            wanted = {rule.name for rule in rules}
            for name in before:
                if name not in wanted:
                    undo.append((self._restore_rule, {"name": name, "before": self._described_rule(name)}))
                    self._delete_rule(name)

    def _put_rule(self, rule: Rule, machine: str, arn: str, undo: Undo, before: Sequence[str]) -> None:
        role = settings.get("EVENTS_SFN_ACCESS_IAM_ROLE")
        if rule.name in before:
            undo.append((self._restore_rule, {"name": rule.name, "before": self._described_rule(rule.name)}))
        else:
            undo.append((self._delete_rule, {"name": rule.name}))
        self._events.put_rule(
            Name=rule.name, State="ENABLED", Description=f"Starts the state machine {machine}.", **rule.settings
        )
        self._put_target(rule.name, {"Id": TARGET, "Arn": arn, "RoleArn": role, **rule.target})

    def _put_schedule(self, machine: str, arn: str, wanted: dict[str, Any] | None, is_there: bool, undo: Undo) -> None:
        if wanted is None and not is_there:
            return
        with explained(f"The schedule of {machine} can't be deployed", PAGE):
            name, before = schedule_name(machine), None
            if is_there:
                found = self._scheduler.get_schedule(Name=name)
                kept = ("Name", "Description", "ScheduleExpression", "ScheduleExpressionTimezone")
                before = {key: found[key] for key in (*kept, "FlexibleTimeWindow", "Target") if key in found}
            if wanted is None:
                undo.append((self._scheduler.create_schedule, before or {}))
                self._delete_schedule(name)
                return
            role = settings.get("EVENTS_SFN_ACCESS_IAM_ROLE")
            given = {**wanted, "Target": {**wanted["Target"], "Arn": arn, "RoleArn": role}}
            if before is None:
                undo.append((self._delete_schedule, {"name": name}))
                self._scheduler.create_schedule(**given)
            else:
                undo.append((self._scheduler.update_schedule, before))
                self._scheduler.update_schedule(**given)

    def _delete_schedule(self, name: str) -> None:
        with suppress(self._scheduler.exceptions.ResourceNotFoundException):  # it is gone
            self._scheduler.delete_schedule(Name=name)

    def _put_target(self, rule: str, target: dict[str, Any]) -> None:
        answer = self._events.put_targets(Rule=rule, Targets=[target])
        if answer.get("FailedEntryCount"):
            why = answer["FailedEntries"][0].get("ErrorMessage", "")
            raise MetaflowException(f"Amazon EventBridge does not let the rule {rule} start a state machine: {why}")

    def _rules(self, machine: str) -> list[str]:
        found: list[str] = []
        wanted = {"NamePrefix": rule_prefix(machine)}
        while True:
            page = self._events.list_rules(**wanted)
            found += [rule["Name"] for rule in page["Rules"]]
            if not page.get("NextToken"):
                return found
            wanted["NextToken"] = page["NextToken"]

    def _described_rule(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        rule = self._events.describe_rule(Name=name)
        kept = ("Name", "ScheduleExpression", "EventPattern", "State", "Description")
        targets = self._events.list_targets_by_rule(Rule=name)["Targets"]
        return {key: rule[key] for key in kept if rule.get(key)}, list(targets)

    def _restore_rule(self, name: str, before: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
        self._events.put_rule(**before[0])
        self._events.put_targets(Rule=name, Targets=before[1])

    def _delete_rule(self, name: str) -> None:
        with suppress(self._events.exceptions.ResourceNotFoundException):  # it is gone
            targets = [target["Id"] for target in self._events.list_targets_by_rule(Rule=name)["Targets"]]
            if targets:
                self._events.remove_targets(Rule=name, Ids=targets)
            self._events.delete_rule(Name=name)


def _execution(found: Mapping[str, Any]) -> Execution:
    stopped = found.get("stopDate")
    return Execution(
        f"sfn-{found['name']}",
        STATUSES.get(found["status"], "running"),
        found["startDate"].timestamp(),
        stopped.timestamp() if stopped else None,
        found["executionArn"],
    )


def _legal(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": _text(value)} for key, value in tags.items()]


def _text(value: str) -> str:
    """What a tag of AWS can hold: letters, digits, blanks and ``_.:/=+-@``; 256 of them."""
    return "".join(c if c.isalnum() or c in " _.:/=+-@" else "_" for c in value)[:256]
