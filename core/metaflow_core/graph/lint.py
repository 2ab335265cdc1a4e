"""Checks a flow before anything runs: what passes can be executed, whatever language its steps are written in."""

from __future__ import annotations

import re
from typing import NoReturn

from metaflow_core.errors import LintWarn
from metaflow_core.graph.model import FlowDef, StepDef, Transition
from metaflow_core.graph.order import find_cycle
from metaflow_core.graph.parameters import check_parameters
from metaflow_core.graph.paths import shown_path
from metaflow_core.graph.spelling import Spelling, spelling
from metaflow_core.graph.splits import Unbalanced, find_splits
from metaflow_core.names import MAX_NAME, advise, is_identifier, show

RESERVED_STEPS = ("name", "next", "input", "index", "cmd", "foreach_stack", "merge_artifacts")

_STEP_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def lint(flow: FlowDef) -> None:
    """Raise ``LintWarn``, with file, line and what to change, for the first thing that is wrong with ``flow``.

    Parameters are checked too; those raise ``MetaflowException``.
    """
    check = _Lint(flow)
    check.flow_name()
    for step in flow:
        check.step_name(step)
    check.ends()
    for step in flow:
        check.arguments(step)
    for step in flow:
        check.transition(step)
    for step in flow:
        check.targets(step)
    check.cycles()
    check.orphans()
    for step in flow:
        check.straight_joins(step)
    check.balance()
    for step in flow:
        check.parallel(step)
    check_parameters(flow)


class _Lint:
    def __init__(self, flow: FlowDef) -> None:
        self.flow = flow
        self.say: Spelling = spelling(flow.language)

    def refuse(self, step: StepDef, problem: str, at_transition: bool = False) -> NoReturn:
        location = step.location
        if at_transition and step.transition is not None:
            location = step.transition.location or location
        elif problem == step.problem:
            location = step.problem_location or location
        if location is None:
            raise LintWarn(f"Step {step.name!r}: {problem}", None, self.flow.file)
        where = f"{shown_path(location.file)}, line {location.line}"
        raise LintWarn(f"Step {step.name!r} ({where}): {problem}", location.line, location.file)

    def refuse_flow(self, problem: str) -> NoReturn:
        line = self.flow.location.line if self.flow.location else None
        file = self.flow.location.file if self.flow.location else self.flow.file
        where = "" if file is None else f" ({shown_path(file)}{'' if line is None else f', line {line}'})"
        raise LintWarn(f"Flow {self.flow.name!r}{where}: {problem}", line, file)

    # --- names -----------------------------------------------------------------------------------------------------

    def flow_name(self) -> None:
        if not is_identifier(self.flow.name):
            self.refuse_flow(
                f"a flow's name has letters, digits and underscores, no digit first, and at most {MAX_NAME} bytes."
            )

    def step_name(self, step: StepDef) -> None:
        if step.name in RESERVED_STEPS:
            self.refuse(
                step,
                f"the name is reserved, because {self.say.artifact(step.name)} means something else. Rename the step.",
            )
        if not _STEP_NAME.fullmatch(step.name) or len(step.name) > MAX_NAME:
            self.refuse(
                step,
                "a step's name has only lower-case letters (a-z), digits and underscores, and no underscore first. "
                "Rename the step.",
            )

    # --- the first and the last step -------------------------------------------------------------------------------

    def ends(self) -> None:
        if not self.flow.steps:
            self.refuse_flow(f"it has no steps. {self.say.start} {self.say.end}")
        for what, steps, advice in (
            ("starts", [s for s in self.flow if s.is_start], self.say.start),
            ("ends", [s for s in self.flow if s.is_end], self.say.end),
        ):
            if not steps:
                self.refuse_flow(f"no step says where it {what}. {advice}")
            if len(steps) > 1:
                self.refuse(steps[1], f"the flow already {what} with step {steps[0].name!r}; it can't do so twice.")

    # --- one step --------------------------------------------------------------------------------------------------

    def arguments(self, step: StepDef) -> None:
        if step.problem:
            self.refuse(step, step.problem)
        if step.num_inputs not in (1, 2):
            self.refuse(step, f"it takes {step.num_inputs} arguments. {self.say.arguments}")
        if step.is_join and (step.is_start or step.is_end):
            which = "first" if step.is_start else "last"
            self.refuse(step, f"the {which} step of a flow can't be a join. {self.say.no_join}")

    def transition(self, step: StepDef) -> None:
        transition = step.transition
        if step.is_end:
            if transition is not None:
                self.refuse(step, f"it is the last step, so nothing follows it. Remove {self.say.transition}.", True)
            return
        if transition is None:
            other = next((s.name for s in self.flow if s.is_end and s is not step), "end")
            self.refuse(
                step, f"it does not say which step follows. End it with {self.say.leads_to(other)}, or another step."
            )
        problem = self._shape(transition)
        if problem:
            self.refuse(step, problem, True)
        if step.is_join and transition.kind != "linear":
            self.refuse(
                step,
                "it is a join and splits as well. Let it lead to one step, and let that one "
                f"{'choose' if transition.kind == 'switch' else 'split'}.",
                True,
            )

    def _shape(self, transition: Transition) -> str | None:
        """What is wrong with a transition, taken by itself."""
        targets = transition.targets
        if not targets:
            return f"{self.say.transition} names no step. Name one, as in {self.say.leads_to('end')}."
        repeated = next((t for t in targets if targets.count(t) > 1), None)
        if repeated is not None:
            return f"it leads to step {repeated!r} twice. Name each step once."
        if transition.kind in ("foreach", "parallel") and len(targets) > 1:
            what = "foreach" if transition.kind == "foreach" else "num_parallel"
            return f"{what} leads to one step, not to {len(targets)}. Let that step lead to the others."
        if transition.kind == "linear" and len(targets) > 1:
            return f"it leads to {len(targets)} steps but is no split."
        if transition.kind == "split" and len(targets) == 1:
            return f"a split needs several steps: {self.say.leads_to('a', 'b')}."
        if transition.kind == "foreach" and not is_identifier(transition.foreach):
            return (
                f"foreach must name an artifact, as in {self.say.foreach(targets[0])}, not {show(transition.foreach)}."
            )
        if transition.kind == "parallel" and transition.num_parallel is not None and transition.num_parallel < 1:
            return f"num_parallel must be at least 1, not {transition.num_parallel}."
        if transition.kind == "switch":
            others = [s.name for s in self.flow if s.name not in targets and not s.is_start]
            example = self.say.switch([*targets, *others, "other"][:2])
            if len(transition.cases) < 2:
                return f"a choice of steps needs at least two cases, as in {example}."
            if len(dict(transition.cases)) < len(transition.cases) or set(targets) != set(
                dict(transition.cases).values()
            ):
                return f"its cases and its steps do not fit together. Name each case once, as in {example}."
            if not is_identifier(transition.condition):
                return f"a choice of steps needs the name of an artifact as its condition, as in {example}."
        return None

    # --- steps together --------------------------------------------------------------------------------------------

    def targets(self, step: StepDef) -> None:
        for target in step.targets:
            if target not in self.flow:
                advice = advise(target, self.flow.steps, "Steps")
                self.refuse(step, f"it leads to {target!r}, which is no step of the flow. {advice}", True)
            if self.flow[target].is_start and target != step.name:
                self.refuse(step, f"it leads back to the first step, {target!r}. A flow has no cycles.", True)

    def cycles(self) -> None:
        cycle = find_cycle(self.flow)
        if cycle is not None:
            self.refuse(
                self.flow[cycle[-2]],
                f"the flow runs in a circle: {' -> '.join(cycle)}. Only a step that chooses, such as "
                f"{self.say.switch([cycle[0], 'end'])}, may lead back to itself.",
                True,
            )
        for step in self.flow:
            if set(step.targets) == {step.name}:
                self.refuse(
                    step, "every case leads back to the step itself, so it would never end. Add a way out.", True
                )

    def orphans(self) -> None:
        reached = self.flow.downstream(self.flow.start.name)
        for step in self.flow:
            if step.name not in reached:
                self.refuse(
                    step,
                    f"no step leads to it. Let one do so, as in {self.say.leads_to(step.name)}, or remove the step.",
                )

    def straight_joins(self, step: StepDef) -> None:
        if step.transition is None or step.transition.kind == "linear":
            return
        for target in step.targets:
            if self.flow[target].is_join:
                what = {
                    "foreach": "a foreach",
                    "parallel": "a num_parallel",
                    "switch": "a branch of a choice",
                    "split": "a branch",
                }[step.transition.kind]
                self.refuse(
                    step,
                    f"{what} leads straight into the join {target!r}. Put a step in between that does the work.",
                    True,
                )

    def balance(self) -> None:
        try:
            find_splits(self.flow)
        except Unbalanced as error:
            join = f" Make it one: {self.say.join(error.step.name)}"
            if error.step.is_end:
                join = f" Put a join before it: {self.say.join('join')} with {self.say.leads_to(error.step.name)}"
            remedies = {"join": join, "no_join": f" {self.say.no_join}"}
            self.refuse(error.step, str(error) + remedies.get(error.remedy, ""))

    def parallel(self, step: StepDef) -> None:
        for target in step.targets:
            wanted = step.transition is not None and step.transition.kind == "parallel"
            has = self.flow[target].decorator("parallel") is not None
            if wanted and not has:
                self.refuse(
                    step,
                    f"num_parallel leads to step {target!r}, which is not marked by {self.say.parallel}. Mark it.",
                    True,
                )
            if has and not wanted:
                self.refuse(
                    step,
                    f"step {target!r} has {self.say.parallel} and needs num_parallel: {self.say.num_parallel(target)}.",
                    True,
                )
        if step.is_start and step.decorator("parallel") is not None:
            self.refuse(step, f"the first step can't be marked by {self.say.parallel}.")
