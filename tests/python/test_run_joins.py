"""Joins: `inputs` and `merge_artifacts`."""

from __future__ import annotations

from typing import Any

import pytest
from metaflow import Flow

FLOW = """
    import collections
    from metaflow import FlowSpec, Parameter, step
    from metaflow.exception import (
        MergeArtifactsException, MetaflowException, MissingInMergeArtifactsException, UnhandledInMergeArtifactsException
    )

    class Merge(FlowSpec):
        how = Parameter("how", default="plain")

        @step
        def start(self):
            self.before = {"a": [1, 2]}
            self.gone = 1
            if self.how == "outside":
                self.merge_artifacts([])
            self.next(self.a, self.b, self.c)

        @step
        def a(self):
            self.same = dict([("x", 1), ("y", (1.5, None))])
            self.frame_like = collections.OrderedDict(k=[1])
            self.differs = "a"
            self.other = 1
            self.only_a = {1, 2, 3}
            del self.gone
            self.next(self.join)

        @step
        def b(self):
            same = {}
            same["y"] = (3 / 2, None)
            same["x"] = 1
            self.same = same  # equal, in another order
            self.frame_like = collections.OrderedDict(k=[1])
            self.differs = "b"
            self.other = 2
            del self.gone
            self.next(self.join)

        @step
        def c(self):
            self.same = {"x": 1, "y": (1.5, None)}
            self.differs = "a"
            self.other = 1
            del self.gone
            self.next(self.join)

        @step
        def join(self, inputs):
            how = self.how
            if how == "plain":
                self.merge_artifacts(inputs)
            elif how == "conflict":
                try:
                    self.merge_artifacts(inputs, exclude=["other"])
                except UnhandledInMergeArtifactsException as error:
                    self.conflict = error.artifact_names
                    self.nothing_set = not hasattr(self, "same") and not hasattr(self, "only_a")
            elif how == "both lists":
                self.merge_artifacts(inputs, include=["same"], exclude=["other"])
            elif how == "exclude":
                self.merge_artifacts(inputs, exclude=["differs", "other", "same"])
            elif how == "include":
                self.merge_artifacts(inputs, include=["same", "only_a"])
            elif how == "missing":
                try:
                    self.merge_artifacts(inputs, include=["same", "nowhere"])
                except MissingInMergeArtifactsException as error:
                    self.missing = error.artifact_names
                    self.nothing_set = not hasattr(self, "same")
            elif how == "already set":
                self.differs, self.other = "mine", 0
                self.merge_artifacts(inputs)
            elif how == "some":
                self.merge_artifacts([inputs.a, inputs[2]])
            elif how == "text":
                self.merge_artifacts("inputs")
            elif how == "inputs":
                assert len(inputs) == 3 and [i.differs for i in inputs] == ["a", "b", "a"]
                assert inputs[-1].other == 1 and [i.other for i in inputs[:2]] == [1, 2]
                assert inputs.b.differs == "b" and inputs.a.how == "inputs" and inputs.c.name == "Merge"
                assert not hasattr(inputs.a, "gone") and hasattr(inputs.a, "only_a") and not hasattr(inputs.b, "only_a")
                assert list(reversed(inputs))[0].differs == "a"
                inputs.d
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Merge()
"""


@pytest.fixture
def merge(run_flow: Any) -> Any:
    """Run the flow and give the data of its join; with ``fails`` the output of a run that must fail."""

    def run(how: str, fails: bool = False) -> Any:
        result = run_flow(FLOW, "run", "--how", how, check=False)
        assert result.returncode == int(fails), result.stdout
        return result.stdout if fails else Flow("Merge").latest_run["join"].task.data

    return run


def names(data: Any) -> set[str]:
    return {
        name for name in ("before", "same", "frame_like", "differs", "other", "only_a", "gone") if name in dir(data)
    }


def test_a_conflict_is_refused(merge: Any) -> None:
    output = merge("plain", fails=True)
    assert "UnhandledInMergeArtifactsException" in output
    assert "differs, other" in output


def test_a_conflict_names_the_artifacts_and_sets_nothing(merge: Any) -> None:
    data = merge("conflict")
    assert data.conflict == ["differs"]
    assert data.nothing_set


def test_exclude(merge: Any) -> None:
    data = merge("exclude")
    assert names(data) == {"before", "frame_like", "only_a"}
    assert data.before == {"a": [1, 2]}
    assert data.only_a == {1, 2, 3}, "an artifact of one branch merges"


def test_include(merge: Any) -> None:
    data = merge("include")
    assert names(data) == {"same", "only_a"}
    assert data.same == {"x": 1, "y": (1.5, None)}, "equal values that were built differently do not conflict"


def test_include_of_what_is_missing(merge: Any) -> None:
    data = merge("missing")
    assert data.missing == ["nowhere"]
    assert data.nothing_set


def test_what_is_set_already_is_kept(merge: Any) -> None:
    data = merge("already set")
    assert (data.differs, data.other) == ("mine", 0)
    assert data.same["x"] == 1


def test_some_of_the_inputs(merge: Any) -> None:
    data = merge("some")
    assert (data.differs, data.other) == ("a", 1)


def test_include_and_exclude(merge: Any) -> None:
    assert "include or exclude, not both" in merge("both lists", fails=True)


def test_outside_a_join(merge: Any) -> None:
    assert "in step start, which is no join" in merge("outside", fails=True)


def test_not_the_inputs(merge: Any) -> None:
    assert "takes the inputs of the join, not 'inputs'" in merge("text", fails=True)


def test_inputs(merge: Any) -> None:
    output = merge("inputs", fails=True)
    assert "AssertionError" not in output
    assert "has no input 'd'. Its inputs come from: a, b, c." in output


def test_steps_and_artifacts_may_have_any_name(run_flow: Any) -> None:
    """``inputs`` is a sequence, and sequences have ``count`` and ``index``: what the flow calls so comes first."""
    script = """
        from metaflow import FlowSpec, step

        class Names(FlowSpec):
            @step
            def start(self):
                self.next(self.load, self.count)

            @step
            def load(self):
                self.names, self.get = ["a"], "got"
                self.next(self.join)

            @step
            def count(self):
                self.names, self.get = ["b"], "got"
                self.next(self.join)

            @step
            def join(self, inputs):
                self.found = [inputs.load.names, inputs.count.names, [one.get for one in inputs], len(inputs)]
                self.merge_artifacts(inputs, exclude=["names"])
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Names()
    """
    run_flow(script, "run")
    assert Flow("Names").latest_run.data.found == [["a"], ["b"], ["got", "got"], 2]
    assert Flow("Names").latest_run.data.get == "got"
