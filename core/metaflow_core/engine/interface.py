"""What a language runtime and a compute plugin provide to the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

if TYPE_CHECKING:
    from metaflow_core.decorators.interface import EnvironmentRequest, Needs
    from metaflow_core.engine.state import TaskState
    from metaflow_core.graph.model import FlowDef, StepDef


class LanguageRuntime(Protocol):
    """Executes the bodies of steps of one language."""

    language: str

    def prepare(self, flow: FlowDef) -> None:
        """Make the language ready in the process from which tasks are forked. Called once, before any fork."""

    def system_tags(self) -> list[str]:
        """Tags of a run that has steps of this language, such as ``r_version:4.2.2``, beside those of every run."""

    def packages(self) -> dict[str, str]:
        """The packages that steps can use, by name, with their versions. Asked once per run, so it should be quick."""

    def source(self, flow: FlowDef, step: StepDef) -> str | None:
        """The text of a step's code that is neither in the flow's file nor in the step's; None when there is none."""

    def run_step(self, flow: FlowDef, step: StepDef, state: TaskState) -> None:
        """Run the body of ``step``. It reads and sets artifacts, and calls ``next``, through ``state``.

        An exception of the body propagates; what was set before it is persisted.
        """

    def follow_graph(self, step: StepDef, state: TaskState) -> None:
        """Lead on as the graph says, for a step whose body was skipped or replaced by a decorator."""

    def artifacts_in(self, file: str, nested: Collection[str]) -> Mapping[str, Any]:
        """What a file of the user's defines as ``ARTIFACTS``: values by name; those in ``nested`` are such themselves.

        ``CommandException`` when the file can't be loaded, or has none.
        """

    def describe_error(self, error: BaseException) -> tuple[str, str]:
        """The name of the error's type, and a traceback of the user's frames alone."""

    def detached(self, flow: FlowDef) -> list[str] | None:
        """What starts a flow of this language in another Python, without the interpreter and without arguments.

        Only steps that are written in Python are run so. None: what starts it here.
        """

    def add_libraries(self, folders: Sequence[str], packages: Mapping[str, str]) -> None:
        """In the process of a task: look for packages in these folders first.

        ``packages`` are those for which the folders are there, with their versions.
        """


class Lock(NamedTuple):
    """An environment in exact versions. Two equal ones are the same environment, on the same machine."""

    provider: str
    version: str  # of the language, such as 3.11.7
    interpreter: str  # with which the environment is created
    packages: Mapping[str, str]
    options: Mapping[str, Any] = {}  # what else its provider needs to create it; JSON can express them
    is_present: bool = False  # all of it is installed outside of our environments, so that nothing is created


class EnvironmentProvider(Protocol):
    """Makes environments: folders with the packages that a step asked for, and with those that we need ourselves.

    The engine sees to it that equal environments are created once, whoever needs them at the same time.
    """

    name: str
    language: str  # of the steps that can use it

    def flow_request(self, folder: str) -> EnvironmentRequest | None:
        """What ``--environment=NAME`` means for a step without packages of its own; None: nothing.

        ``folder`` is that of the flow's file.
        """

    def surroundings(self, request: EnvironmentRequest) -> str | None:
        """All beside the request on which a resolution depends; None when it has to be made in each run."""

    def resolve(self, request: EnvironmentRequest, needs: Sequence[str]) -> Lock:
        """Choose versions that fit the request and each other.

        ``needs`` are our own requirements, such as ``click>=8.1``. ``StepEnvironmentError`` says what can't be had.
        """

    def create(self, lock: Lock, folder: str, held: int) -> None:
        """Make the environment in ``folder``, which does not exist, but its parent does.

        ``held`` is a file descriptor. A process that is started for it inherits it, so that nobody else begins the
        same work as long as it runs.
        """

    def is_usable(self, lock: Lock, folder: str) -> bool:
        """Whether what was created still works: its interpreter may have been uninstalled since."""

    def interpreter(self, folder: str) -> str | None:
        """The program that runs tasks in the environment; None: they use :meth:`libraries` in a process like others."""

    def libraries(self, lock: Lock, folder: str) -> list[str]:
        """Folders of packages, for steps without another interpreter. ``folder`` is "" when none was created."""

    def variables(self, lock: Lock, folder: str) -> Mapping[str, str]:
        """Environment variables for a process that starts with the environment."""


class Share(NamedTuple):
    """What a task may use of the machine, when the scheduler divides it among tasks."""

    memory: int | None  # MB that it may allocate; None: no limit
    cores: list[int]  # the numbers of its CPU cores; empty: all
    gpus: list[str]  # the names of its GPUs, as CUDA_VISIBLE_DEVICES has them


class TaskRequest(NamedTuple):
    """One attempt of one task, as the scheduler asks for it. Everything else the task finds in the metadata."""

    run_id: str
    step: str
    task_id: str
    attempt: int
    max_attempts: int = 1
    fallback: bool = False  # the process died for the last time: do not run the body, let @catch handle it
    seconds: float | None = None  # kill the task after this time
    spawn: bool = False  # its step has an interpreter of its own, so no fork will do
    share: Share | None = None  # a plain list where the request went through JSON

    @property
    def key(self) -> str:
        """Identifies the attempt within a run."""
        return f"{self.step}/{self.task_id}/{self.attempt}"

    def as_arguments(self) -> list[str]:
        """The request as arguments of a flow's command line: the ``step`` command."""
        arguments = ["step", self.step, "--run-id", self.run_id, "--task-id", self.task_id]
        arguments += ["--attempt", str(self.attempt), "--max-attempts", str(self.max_attempts)]
        return [*arguments, "--fallback"] if self.fallback else arguments


class TaskStarted(NamedTuple):
    """A process runs the attempt."""

    request: TaskRequest
    pid: int


class TaskExited(NamedTuple):
    """The attempt's process has ended: ``code`` as in ``subprocess``, negative for a signal."""

    request: TaskRequest
    code: int
    message: str = ""


JOB_VARIABLE = "METAFLOW_JOB"  # of the environment: a job as JSON
SOCKET_VARIABLE = "METAFLOW_JOB_SOCKET"  # a file descriptor: do not run the job, but those that are asked for there


class Job(NamedTuple):
    """An attempt for another machine: all that ``python -m metaflow_core.cli.job`` needs there. JSON can express it.

    No secret is in it: the machine has its own credentials for the database and the store.
    """

    request: TaskRequest
    package: str  # the code package's key
    script: str  # the flow's file, in the package
    folder: str  # the working directory, in the package
    language: str  # of the flow's file
    arguments: Sequence[str]  # of the flow's file, before the command
    task_arguments: Sequence[str]  # of the command that runs tasks
    variables: Mapping[str, str]  # settings, as environment variables


class JobNeeds(NamedTuple):
    """What the machine must have that runs a step's attempts."""

    languages: Sequence[str]
    needs: Needs | None  # of ``@resources``
    attributes: Mapping[str, Any]  # of the decorator that named the place


class Place(Protocol):
    """Where tasks run. The scheduler is one thread that selects on ``fileno()``."""

    name: str

    def fileno(self) -> int:
        """A file descriptor that is readable when :meth:`events` has something to tell."""

    def start(self, request: TaskRequest, stdout: int, stderr: int) -> None:
        """Start an attempt whose output goes to these file descriptors. The caller closes its own copies."""

    def events(self) -> list[TaskStarted | TaskExited]:
        """What happened since the last call, without waiting."""

    def kill(self, request: TaskRequest, force: bool) -> None:
        """Ask the attempt's processes to end, or end them."""

    def close(self) -> None:
        """End all attempts, and release everything."""


class Compute(Place, Protocol):
    """This machine: tasks are forks of a process that holds the flow."""

    def open(self, run_task: Callable[[TaskRequest], int], command: Callable[[TaskRequest], Sequence[str]]) -> None:
        """Get ready. Called early: no thread, connection or event loop exists yet, so it is safe to fork.

        ``run_task(request)`` executes an attempt in a forked process and returns its exit code; ``command(request)``
        is the command line that executes it in a process of its own, for places where a fork can't be had.
        """

    def serve(self, fd: int, run_task: Callable[[TaskRequest], int]) -> NoReturn:
        """Be the process that starts tasks, for who has the other end of the socket ``fd`` and calls :meth:`attach`."""

    def attach(self, fd: int) -> None:
        """Instead of :meth:`open`: tasks are started by the process at the other end of the socket ``fd``."""


class RemoteCompute(Place, Protocol):
    """Other machines, which share nothing with this one but the metadata database and the artifact store.

    A class with the attribute ``shares_files = True`` runs tasks where this machine's files are, under the same paths:
    then a database and a store in files are good enough.
    """

    def open(self, job: Callable[[TaskRequest], Job], steps: Mapping[str, JobNeeds]) -> None:
        """Connect, before the run is created and after the last fork. ``steps`` are those that will run here.

        ``ComputeUnavailable`` when nothing answers, or when no machine there can run one of the steps.
        ``job(request)`` describes an attempt; it may be called once the run exists.
        """
