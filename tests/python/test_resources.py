"""`@resources` on this machine: a hint, until `METAFLOW_ENFORCE_RESOURCES` makes it hold."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from metaflow import Flow, Run
from metaflow_core.decorators.interface import Needs
from metaflow_core.engine.admission import PATIENCE, Admission
from metaflow_core.engine.machine import Machine

ENFORCED = {"METAFLOW_ENFORCE_RESOURCES": "true"}

FLOW = """
    import os, resource, subprocess, sys, time
    from metaflow import FlowSpec, catch, resources, retry, step

    class Asking(FlowSpec):
        {decorators}
        @step
        def start(self):
            self.cores = len(os.sched_getaffinity(0))
            self.threads = os.environ.get("OMP_NUM_THREADS"), os.environ.get("MC_CORES")
            self.gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
            {body}
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Asking()
"""


def asking(decorators: str, body: str = "pass") -> str:
    return FLOW.format(decorators=decorators, body=body)


BIG = "big = bytearray(600 << 20)"


def test_it_is_a_hint_by_default(run_flow: Any) -> None:
    run_flow(asking("@resources(cpu=500, memory=200, gpu=8)", BIG), "run")
    data = Run("Asking/1").data
    assert (data.cores, data.threads) == (len(os.sched_getaffinity(0)), (None, None))


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_what_a_task_gets(run_flow: Any, launcher: str) -> None:
    env = {**ENFORCED, "METAFLOW_LAUNCHER": launcher, "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b", "MC_CORES": "7"}
    run_flow(asking("@resources(cpu=1, memory=1000, gpu=1)", "big = bytearray(600 << 20)"), "run", env=env)
    data = Run("Asking/1").data
    assert (data.cores, data.threads, data.gpus) == (1, ("1", "7"), "GPU-a"), "what the user has set stays"


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_memory_is_limited_and_the_error_says_so(run_flow: Any, launcher: str) -> None:
    env = {**ENFORCED, "METAFLOW_LAUNCHER": launcher}
    result = run_flow(asking("@resources(memory=200)", BIG), "run", env=env, check=False)
    assert result.returncode == 1
    said = (
        "Step start may allocate 200 MB, because @resources says so and METAFLOW_ENFORCE_RESOURCES is on. "
        "Raise it: memory=400."
    )
    assert re.search(r"\] MemoryError\n", result.stdout)
    assert said in result.stdout
    error = Run("Asking/1")["start"].task.exception
    assert (error.type, said in error.exception) == ("MemoryError", True)


def test_memory_that_is_used_up_bit_by_bit(run_flow: Any) -> None:
    body = "self.kept = 'small'; self.bits = []; [self.bits.append(bytes(1000)) for _ in range(10**7)]"
    result = run_flow(asking("@resources(memory=200)", body), "run", env=ENFORCED, check=False)
    assert "Step start may allocate 200 MB" in result.stdout
    task = Run("Asking/1")["start"].task
    assert (task.exception.type, task.data.kept) == ("MemoryError", "small")


def test_numpy_and_catch(run_flow: Any) -> None:
    body = "import numpy; self.x = numpy.ones(600 << 17)"
    run_flow(asking("@catch(var='why')\n        @resources(memory=200)", body), "run", env=ENFORCED)
    why = Run("Asking/1").data.why
    assert "Unable to allocate" in why.exception and "Raise it: memory=400." in why.exception


def test_the_default_of_memory_limits_nothing(run_flow: Any) -> None:
    run_flow(asking("@resources(cpu=1)", "soft = resource.getrlimit(resource.RLIMIT_DATA)[0]; assert soft < 0"), "run",
             env=ENFORCED)  # fmt: skip


def test_a_process_that_is_killed_has_perhaps_no_memory(run_flow: Any) -> None:
    result = run_flow(asking("@resources(memory=300)", "os.abort()"), "run", env=ENFORCED, check=False)
    assert "was killed by signal 6 (SIGABRT). It may have run out of memory. Step start may allocate 300 MB" in (
        result.stdout
    )


def test_with_on_the_command_line(run_flow: Any) -> None:
    result = run_flow(asking("", BIG), "run", "--with", "resources:memory=200", env=ENFORCED, check=False)
    assert "Step start may allocate 200 MB" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cpu=500", r"Step start asks for cpu=500, and this machine has \d+ cores?\. Ask for less in @resources"),
        ("memory=9_000_000", r"Step start asks for memory=9e\+06, and this machine has \d+ MB\."),
        ("gpu=3", r"Step start asks for gpu=3, and this machine has 1 GPU\."),
    ],
)
def test_more_than_there_is_is_refused_before_the_run(run_flow: Any, arguments: str, message: str) -> None:
    env = {**ENFORCED, "CUDA_VISIBLE_DEVICES": "0"}
    result = run_flow(asking(f"@resources({arguments})"), "run", env=env, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.search(message, " ".join(result.stderr.split()))


WIDE = """
    import os, time
    from metaflow import FlowSpec, current, resources, step

    def note(what):
        with open("events", "a") as file:
            file.write(what + "\\n")

    class Wide(FlowSpec):
        @step
        def start(self):
            self.next(self.fan, self.whole)

        @step
        def fan(self):
            self.items = range(5)
            self.next(self.one, foreach="items")

        @resources(cpu=1)
        @step
        def one(self):
            note("+1")
            time.sleep(0.1)
            note("-1")
            self.next(self.gather)

        @step
        def gather(self, inputs):
            self.next(self.join)

        @resources(cpu={all})
        @step
        def whole(self):
            note("+{all}")
            time.sleep(0.1)
            note("-{all}")
            self.next(self.join)

        @step
        def join(self, inputs):
            self.next(self.end)

        @step
        def end(self):
            pass

    if __name__ == "__main__":
        Wide()
"""


def test_tasks_wait_for_free_cores(run_flow: Any, project: Any) -> None:
    cores = len(os.sched_getaffinity(0))
    run_flow(WIDE.format(all=cores), "run", env=ENFORCED)
    assert Flow("Wide").latest_run.successful
    used, most = 0, 0
    for line in (project / "events").read_text().split():
        used += int(line)
        most = max(most, used)
    assert most == cores


def test_a_gang_that_does_not_fit(run_flow: Any) -> None:
    script = """
        from metaflow import FlowSpec, parallel, resources, step

        class Gang(FlowSpec):
            @step
            def start(self):
                self.next(self.work, num_parallel=3)

            @resources(cpu=0.1, gpu=1)
            @parallel
            @step
            def work(self):
                self.next(self.join)

            @step
            def join(self, inputs):
                self.next(self.end)

            @step
            def end(self):
                pass

        if __name__ == "__main__":
            Gang()
    """
    few = run_flow(script, "run", env={**ENFORCED, "CUDA_VISIBLE_DEVICES": "0,1"}, check=False)
    assert few.returncode == 1
    assert "Step work asks for gpu=1 for each of 3 tasks that run at once, and this machine has 2 GPUs." in few.stdout
    run_flow("flow.py", "run", env={**ENFORCED, "CUDA_VISIBLE_DEVICES": "0,1,2"})
    run_flow("flow.py", "resume", "work", env={**ENFORCED, "CUDA_VISIBLE_DEVICES": "0,1,2"})
    stuck = run_flow("flow.py", "resume", "work", env={**ENFORCED, "CUDA_VISIBLE_DEVICES": "0,1"}, check=False)
    assert stuck.returncode == 1
    assert "The tasks of step work ask for more at once than this machine has." in stuck.stdout


# --- the book-keeping ------------------------------------------------------------------------------------------------


def admission(**needs: Needs) -> Admission:
    return Admission(needs, Machine([0, 1, 2, 3], 1000, ["0", "1"]))


def test_sums_and_shares() -> None:
    made = admission(small=Needs(1, 300), large=Needs(3, None), half=Needs(0.5))
    first = made.start("small")
    assert (first.cores, first.memory) == ([0], 300)
    second = made.start("large")
    assert (second.cores, second.memory) == ([1, 2, 3], None)
    assert [made.fits(step) for step in ("small", "large", "half", "other")] == [False, False, False, True]
    made.end("large", second)
    shares = [made.start("half") for _ in range(6)]
    assert not made.fits("half")
    for share in shares:
        made.end("half", share)
    made.end("small", first)
    assert made.fits("small", 3) and not made.fits("small", 4), "memory counts as well"


def test_gpus_are_given_to_one_task_each() -> None:
    made = admission(gpu=Needs(1, None, 1))
    shares = [made.start("gpu"), made.start("gpu")]
    assert [share.gpus for share in shares] == [["0"], ["1"]]
    assert not made.fits("gpu")
    made.end("gpu", shares[0])
    assert made.start("gpu").gpus == ["0"]


def test_small_tasks_pass_a_large_one_but_not_for_ever() -> None:
    made = admission(small=Needs(1), large=Needs(4))
    running = [made.start("small")]
    passed = 0
    while not made.fits("large") and made.fits("small"):
        running.append(made.start("small"))
        made.end("small", running.pop(0))
        passed += 1
        assert passed < 100
    assert passed == PATIENCE
    made.end("small", running.pop())
    assert made.fits("large")
    made.end("large", made.start("large"))
    assert made.fits("small")


def test_a_gang_waits_for_room_for_all_of_it() -> None:
    made = admission(gang=Needs(1), other=Needs(2))
    other = made.start("other")
    assert made.fits("gang", 2) and not made.fits("gang", 4)
    made.end("other", other)
    assert made.fits("gang", 4)
    assert made.too_much("gang", 5).startswith("Step gang asks for cpu=1 for each of 5 tasks that run at once")
