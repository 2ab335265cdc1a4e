"""How advice about a flow is spelt in the language in which the flow is written."""

from __future__ import annotations

from collections.abc import Sequence


class Spelling:
    """Advice in Python's spelling."""

    transition = "self.next()"
    start = "Name the first step `start`, or mark it with @step(start=True)."
    end = "Name the last step `end`, or mark it with @step(end=True)."
    no_join = "Let it take `self` alone."
    arguments = "A step takes `self`, a join takes `self, inputs`."
    parallel = "@parallel"
    merge = "self.merge_artifacts(inputs)"

    def artifact(self, name: str) -> str:
        return f"self.{name}"

    def of_input(self, name: str) -> str:
        return f"inputs[0].{name}"

    def leads_to(self, *steps: str) -> str:
        return f"self.next({', '.join(f'self.{step}' for step in steps)})"

    def join(self, step: str) -> str:
        return f"def {step}(self, inputs):"

    def foreach(self, step: str) -> str:
        return f"self.next(self.{step}, foreach='items')"

    def num_parallel(self, step: str) -> str:
        return f"self.next(self.{step}, num_parallel=2)"

    def switch(self, steps: Sequence[str]) -> str:
        cases = ", ".join(f"'{i}': self.{step}" for i, step in zip("abcdefgh", steps, strict=False))
        return f"self.next({{{cases}}}, condition='artifact')"


class SpellingR(Spelling):
    """Advice in R's spelling."""

    transition = "next_step"
    start = 'Name the first step "start".'
    end = 'Name the last step "end".'
    no_join = "Leave join = TRUE out."
    arguments = "A step's function takes self, a join's takes self and inputs."
    parallel = 'decorator("parallel")'
    merge = "merge_artifacts(self, inputs)"

    def artifact(self, name: str) -> str:
        return f"self${name}"

    def of_input(self, name: str) -> str:
        return f"inputs[[1]]${name}"

    def leads_to(self, *steps: str) -> str:
        names = ", ".join(f'"{step}"' for step in steps)
        return f"next_step = {names}" if len(steps) == 1 else f"next_step = c({names})"

    def join(self, step: str) -> str:
        return f'step(step = "{step}", join = TRUE, ...)'

    def foreach(self, step: str) -> str:
        return f'next_step = "{step}", foreach = "items"'

    def num_parallel(self, step: str) -> str:
        return f'next_step = "{step}", num_parallel = 2'

    def switch(self, steps: Sequence[str]) -> str:
        cases = ", ".join(f'{i} = "{step}"' for i, step in zip("abcdefgh", steps, strict=False))
        return f'next_step = c({cases}), condition = "artifact"'


def spelling(language: str) -> Spelling:
    return SpellingR() if language == "r" else Spelling()
