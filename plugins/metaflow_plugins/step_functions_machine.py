"""A deployment plan as a state machine of AWS Step Functions, in the Amazon States Language with JSONPath.

What travels from state to state is ``run`` (the run's id), inside of a foreach ``path``, and ``told``, which is what
the last node has told. Each step is a job of AWS Batch; all that is said to it is in environment variables.
https://states-language.net/spec.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from metaflow_core.deployment.plan import PROGRAM, DeploymentPlan, PlanNode, Scope

from metaflow_plugins.batch_job import SHORTEST_TIMEOUT, StepJob, job_name
from metaflow_plugins.step_functions_names import KEY, state_name

State = dict[str, Any]

READ, DEFAULTS, FINISH, FAILED = "read the input", "know the defaults", "finish the run", "the run has failed"
FLOW, LIMIT, TOO_LATE, IN_TIME, DONE = "the flow", "wait", "too late", "in time", "the run has succeeded"
COMMAND = ["python3", *PROGRAM]
FINISHING = [*COMMAND, "finish", "--status", "failed"]
# Of the call that submits a job, and not of the job: a job that has failed is States.TaskFailed.
NOT_SUBMITTED = ["Batch.AWSBatchException", "Batch.ServerException", "Batch.TooManyRequestsException"]
MADE_AT_RUN_TIME = 200  # characters that a run's id, a path, and what Step Functions adds take at most


class Machine:
    """Renders one plan. ``jobs`` are the steps as jobs of AWS Batch, ``table`` is that of DynamoDB."""

    def __init__(
        self, plan: DeploymentPlan, jobs: Mapping[str, StepJob], table: str | None, distributed: bool = False
    ) -> None:
        self._plan, self._jobs, self._table, self._distributed = plan, jobs, table, distributed

    def document(self) -> State:
        """The whole machine."""
        flow = self._scope((), self._plan.start.step)
        catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": FINISH}]
        if self._plan.workflow_timeout is None:
            for state in flow["States"].values():
                if state["Type"] in ("Task", "Map", "Parallel"):
                    state["Catch"] = catch
            first, states = flow["StartAt"], flow["States"]
        else:
            first, states = FLOW, self._limited(flow, self._plan.workflow_timeout, catch)
        return {
            "Comment": f"{self._plan.name}, deployed by metaflow-tandem",
            "StartAt": DEFAULTS,
            "States": {
                DEFAULTS: {
                    "Type": "Pass",
                    "Result": {"Parameters": "{}", "Trigger": []},
                    "ResultPath": "$.defaults",
                    "Next": READ,
                },
                READ: {
                    "Type": "Pass",
                    "Parameters": {
                        "run.$": "States.Format('sfn-{}', $$.Execution.Name)",
                        "given.$": "States.JsonMerge($.defaults, $, false)",
                    },
                    "Next": first,
                },
                **states,
                FINISH: self._finish(),
                FAILED: {"Type": "Fail", "Error": "RunFailed", "CausePath": "$.failure.Cause"},
            },
        }

    def finish(self) -> State:
        """The arguments of ``submit_job`` for the end of a run that was terminated, without the run's id."""
        job = self._jobs[self._plan.end.step]
        variables = _environment(self._plan.environment(), {})
        return {
            "jobName": job_name(self._plan.flow, "finish"),
            "jobQueue": job.queue,
            "jobDefinition": job.name,
            "containerOverrides": {
                "command": FINISHING,
                "environment": [{"name": one["Name"], "value": one["Value"]} for one in variables],
                "resourceRequirements": job.resources,
            },
        }

    def _limited(self, flow: State, seconds: float, catch: list[State]) -> dict[str, State]:
        """The flow beside a clock; whichever ends first ends the other.

        ``TimeoutSeconds`` of the machine would end all of it, and nothing would be left to record that, and to call
        exit hooks. Of parallel branches it is the one that fails that ends the others, so the flow ends by a failure
        that is none.
        """
        flow["States"][IN_TIME] = {"Type": "Fail", "Error": IN_TIME, "Cause": "The flow has ended."}
        whole = max(1, math.ceil(seconds))
        cause = f"The run took longer than its --workflow-timeout, {whole} seconds."
        clock = {
            LIMIT: {"Type": "Wait", "Seconds": whole, "Next": TOO_LATE},
            TOO_LATE: {"Type": "Fail", "Error": "TimedOut", "Cause": cause},
        }
        in_time = {"ErrorEquals": [IN_TIME], "ResultPath": None, "Next": DONE}
        return {
            FLOW: {
                "Type": "Parallel",
                "Branches": [flow, {"StartAt": LIMIT, "States": clock}],
                "ResultPath": None,
                "Catch": [in_time, *catch],
                "Next": DONE,
            },
            DONE: {"Type": "Succeed"},
        }

    def variables(self, node: PlanNode) -> list[State]:
        """The environment of a node's job: that of the plan, and what the state says."""
        fixed = {**self._jobs[node.step].variables, **self._plan.environment(node)}
        if node.kind in ("foreach", "switch"):
            fixed["METAFLOW_NODE_RESULT"] = f"dynamodb://{self._table}/{self._plan.flow}"
        chosen = {"METAFLOW_RUN_ID": "$.run"}
        if node.is_start:
            chosen["METAFLOW_NODE_PARAMETERS"] = "$.given.Parameters"
            chosen["METAFLOW_NODE_TRIGGER"] = "States.JsonToString($.given.Trigger)"
        if node.depth:
            chosen["METAFLOW_NODE_PATH"] = "$.path"
        return _environment(fixed, chosen)

    def length(self, node: PlanNode) -> int:
        """About how many characters a node's job is described with, without what travels in the state."""
        overrides = self._task(node)["Parameters"]["ContainerOverrides"]
        return len(json.dumps(overrides, separators=(",", ":"))) + MADE_AT_RUN_TIME

    # --- scopes ----------------------------------------------------------------------------------------------------

    def _scope(self, scope: Scope, first: str) -> State:
        """The steps between a split and its join, or all that are in none, beginning with ``first``."""
        states: dict[str, State] = {}
        for node in self._plan.within(scope):
            self._add(states, node)
        return {"StartAt": state_name(first), "States": states}

    def _add(self, states: dict[str, State], node: PlanNode) -> None:
        names = [state_name(node.step)]
        found = [self._task(node)]
        if node.kind in ("foreach", "switch"):
            names.append(state_name(node.step, "told"))
            found.append(self._read(node))
        if node.kind == "foreach":
            names.append(state_name(node.step, "each"))
            found.append(self._each(node))
        elif node.kind == "split":
            names.append(state_name(node.step, "branches"))
            found.append(self._branches(node))
        elif node.kind == "switch":
            names.append(state_name(node.step, "next"))
            found.append(self._choice(states, node))
        for name, state, follows in zip(names, found, [*names[1:], None], strict=True):
            states[name] = state
            if follows is not None:
                state["Next"] = follows
            elif state["Type"] != "Choice":
                target = node.join if node.kind in ("foreach", "split") else next(iter(node.targets), None)
                self._lead(state, node, target)

    def _lead(self, state: State, node: PlanNode, target: str | None) -> None:
        """To the step, if it is in the same scope. Else this is the last state of the scope."""
        if target is not None and self._plan[target].scope == node.scope:
            state["Next"] = state_name(target)
            return
        if not node.scope and self._plan.workflow_timeout is not None:
            state["Next"] = IN_TIME
            return
        state["End"] = True
        if node.scope:
            state["OutputPath"] = None  # what a Map gathers must not grow with what its iterations know

    def _choice(self, states: dict[str, State], node: PlanNode) -> State:
        cases = []
        for target in node.targets:
            name = state_name(target)
            if self._plan[target].scope != node.scope:
                name = state_name(node.step, "done")
                states[name] = {"Type": "Succeed", "OutputPath": None}
            cases.append({"Variable": "$.told.next", "StringEquals": target, "Next": name})
        return {"Type": "Choice", "Choices": cases}

    def _branches(self, node: PlanNode) -> State:
        branches = [self._scope(scope, scope[-1][1]) for scope in self._plan.branches(node)]
        return {"Type": "Parallel", "Branches": branches, "ResultPath": None}

    def _each(self, node: PlanNode) -> State:
        (scope,) = self._plan.branches(node)
        path = (
            "States.Format('{}/{}', $.path, $$.Map.Item.Value)"
            if node.depth
            else "States.Format('{}', $$.Map.Item.Value)"
        )
        mode = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"} if self._distributed else {"Mode": "INLINE"}
        return {
            "Type": "Map",
            "ItemsPath": "$.told.indices",
            "ItemSelector": {"run.$": "$.run", "path.$": path},
            "MaxConcurrency": self._plan.max_workers,
            "ItemProcessor": {"ProcessorConfig": mode, **self._scope(scope, scope[-1][1])},
            "ResultSelector": {"done": True},
            "ResultPath": "$.told",
        }

    # --- tasks -----------------------------------------------------------------------------------------------------

    def _task(self, node: PlanNode) -> State:
        submitted = self._submitted(node, node.step, [*COMMAND, "node"], self.variables(node))
        if node.seconds is not None:
            # Should the node, which ends in time by itself, be unable to.
            seconds = max(SHORTEST_TIMEOUT, math.ceil(node.seconds) + 60)
            submitted["Timeout"] = {"AttemptDurationSeconds": seconds}
        return _job(submitted, node.attempts, node.wait)

    def _read(self, node: PlanNode) -> State:
        path = ", $.path" if node.depth else ""
        form = f"States.Format('{self._plan.flow}/{{}}/{node.step}/{'{}' if node.depth else ''}', $.run{path})"
        if node.kind == "foreach":
            selected = {"indices.$": "States.StringToJson($.Item.indices.S)"}
        else:
            selected = {"next.$": "$.Item.next.S"}
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:getItem",
            "Parameters": {"TableName": self._table, "Key": {KEY: {"S.$": form}}, "ConsistentRead": True},
            "ResultSelector": selected,
            "ResultPath": "$.told",
            "Retry": [_retry(["States.TaskFailed"], 6, 1, 2.0)],
        }

    def _finish(self) -> State:
        variables = _environment(self._plan.environment(), {"METAFLOW_RUN_ID": "$.run"})
        state = _job(self._submitted(self._plan.end, "finish", FINISHING, variables), 3, 10)
        state["Catch"] = [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": FAILED}]
        return {**state, "Next": FAILED}

    def _submitted(self, node: PlanNode, what: str, command: list[str], variables: list[State]) -> State:
        job = self._jobs[node.step]
        found: State = {
            "JobName": job_name(self._plan.flow, what),
            "JobQueue": job.queue,
            "JobDefinition": job.name,
            "ContainerOverrides": {
                "Command": command,
                "Environment": variables,
                "ResourceRequirements": [{"Type": one["type"], "Value": one["value"]} for one in job.resources],
            },
        }
        if job.tags:
            found.update(Tags=dict(job.tags), PropagateTags=True)
        return found


def _job(submitted: State, attempts: int, wait: float) -> State:
    retries = [_retry(NOT_SUBMITTED, 8, 2, 2.0)]
    if attempts > 1:
        retries.append(_retry(["States.TaskFailed"], attempts - 1, max(1, math.ceil(wait)), 1.0))
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::batch:submitJob.sync",
        "Parameters": submitted,
        "ResultPath": None,
        "Retry": retries,
    }


def _retry(errors: list[str], times: int, seconds: int, rate: float) -> State:
    return {"ErrorEquals": errors, "MaxAttempts": times, "IntervalSeconds": seconds, "BackoffRate": rate}


def _environment(fixed: Mapping[str, str], chosen: Mapping[str, str]) -> list[State]:
    """``chosen`` are paths, or intrinsic functions. A value that is fixed is under a key without ``.$``: it is none."""
    return [
        *({"Name": name, "Value": value} for name, value in fixed.items()),
        *({"Name": name, "Value.$": path} for name, path in chosen.items()),
    ]
