"""Which packages steps run with that ask for packages of their own. All of it happens before a run is created."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaflow_core.decorators.interface import EnvironmentRequest
from metaflow_core.decorators.resolve import flow_decorators, step_decorators
from metaflow_core.engine.interface import EnvironmentProvider, Lock
from metaflow_core.errors import CommandException, PluginError, StepEnvironmentError
from metaflow_core.names import show
from metaflow_core.plugins import broken_hint, hook

if TYPE_CHECKING:
    from metaflow_core.decorators.interface import Decorator
    from metaflow_core.graph.model import FlowDef, StepDef

LOCAL = "local"  # what `--environment` calls the packages of this program


@dataclass(frozen=True, slots=True)
class StepEnvironment:
    """An environment that is there. ``folder`` is "" when nothing had to be created for it."""

    provider: EnvironmentProvider
    request: EnvironmentRequest
    lock: Lock
    folder: str
    # What follows the interpreter instead of the first `started_by` words of this program's command.
    start: Sequence[str] | None = None
    started_by: int = 0

    @property
    def interpreter(self) -> str | None:
        """The program that runs tasks, where it is another one than for other steps."""
        return self.provider.interpreter(self.folder) if self.folder else None

    @property
    def libraries(self) -> list[str]:
        """Folders of packages for tasks without an interpreter of their own."""
        return [] if self.interpreter else self.provider.libraries(self.lock, self.folder)

    def program(self, program: Sequence[str]) -> list[str]:
        """The command of this program, such as ``python flow.py``, in the environment."""
        variables = [f"{name}={value}" for name, value in self.provider.variables(self.lock, self.folder).items()]
        # `env`, so that who starts the command needs to know of no variables.
        if self.interpreter is None:
            return ["env", *variables, *program]
        from metaflow_core.engine.own_code import source

        path = os.pathsep.join([os.path.dirname(self.interpreter), os.environ.get("PATH", os.defpath)])
        sources = os.pathsep.join(filter(None, [source(), os.environ.get("PYTHONPATH")]))
        variables += [f"PATH={path}", f"PYTHONPATH={sources}", "PYTHONNOUSERSITE=1"]
        words = program[1:] if self.start is None else [*self.start, *program[self.started_by :]]
        return ["env", "-u", "PYTHONHOME", "-u", "VIRTUAL_ENV", *variables, self.interpreter, *words]

    def is_spawned(self, loaded: Mapping[str, str]) -> bool:
        """Whether tasks can't be forks: they need another interpreter, or another version of what is loaded here."""
        packages = self.lock.packages
        return self.interpreter is not None or any(packages.get(name, v) != v for name, v in loaded.items())


def requests_of(flow: FlowDef, choice: str | None = None) -> dict[str, EnvironmentRequest]:
    """What each step asks for, by name; steps that ask for nothing are absent.

    ``choice`` is what ``--environment`` says. ``StepEnvironmentError`` when a step asks for what does not go together.
    """
    given = {step.name: [r for d in step_decorators(step) if (r := d.environment()) is not None] for step in flow}
    base = _base(flow, flow_decorators(flow))
    if not any(given.values()) and base is None and choice in (None, LOCAL):
        return {}
    providers = _providers()
    if choice not in (None, LOCAL, *providers):
        raise CommandException(
            f"--environment {show(choice)} is unknown. Known: {', '.join(sorted([LOCAL, *providers]))}."
        )
    folder = os.path.dirname(os.path.abspath(flow.file)) if flow.file else os.getcwd()
    by_default = providers[choice].flow_request(folder) if choice not in (None, LOCAL) else None
    found: dict[str, EnvironmentRequest] = {}
    for step in flow:
        request = _merged(step, base, given[step.name], providers)
        if request is None and by_default is not None and providers[by_default.provider].language == step.language:
            request = by_default
        if request is not None and not request.disabled:
            found[step.name] = request
    return found


def _providers() -> dict[str, EnvironmentProvider]:
    """By name; of several with one name the first counts."""
    found: dict[str, EnvironmentProvider] = {}
    for more in hook().environment_providers():
        for provider in more:
            found.setdefault(provider.name, provider)
    return found


def prepare(
    requests: Mapping[str, EnvironmentRequest],
    stores: Iterable[str],
    say: Callable[[str], None],
    origin: Mapping[str, Any] | None = None,
) -> dict[str, StepEnvironment]:
    """Resolve each request once, and create what is not there yet. ``StepEnvironmentError`` says what can't be had.

    ``stores`` are the URLs of the metadata and of the artifacts, which tasks must be able to reach. ``origin`` is what
    the run that is resumed has recorded of its environments: a request that is still the same gets the same packages.
    """
    if not requests:
        return {}
    from metaflow_core.engine.environment_cache import ensure, resolved
    from metaflow_core.engine.own_code import requirements

    needs = requirements(stores)
    providers = _providers()
    locks: list[tuple[EnvironmentRequest, list[str], Lock]] = []
    for request, steps in _grouped(requests):
        provider = providers[request.provider]
        try:
            lock = _locked_by(origin, request, steps, provider, say) or resolved(provider, request, needs)
        except StepEnvironmentError as error:
            raise StepEnvironmentError(f"{_where(request, steps)}: {error}") from None
        locks.append((request, steps, lock))
    found: dict[str, StepEnvironment] = {}
    for request, steps, lock in locks:
        provider = providers[request.provider]

        def tell(steps: Sequence[str] = steps) -> None:
            say(f"Installing the packages of {_named(steps)}. They are kept.")

        try:
            folder = ensure(provider, lock, tell)
        except StepEnvironmentError as error:
            raise StepEnvironmentError(f"{_where(request, steps)}: {error}") from None
        found.update({step: StepEnvironment(provider, request, lock, folder) for step in steps})
    if any(one.interpreter for one in found.values()):
        from metaflow_core.engine.own_code import source

        source()  # what can go wrong with it goes wrong before the run
    return found


def recorded(environments: Mapping[str, StepEnvironment]) -> dict[str, Any]:
    """What a run keeps of its environments, as JSON can express it: equal ones once, and which step has which."""
    from metaflow_core.engine.environment_cache import address

    facts: dict[str, Any] = {}
    steps: dict[str, str] = {}
    for step, one in environments.items():
        id = steps[step] = address(one.lock)
        facts[id] = {
            **one.lock._asdict(),
            "language": one.provider.language,
            "folder": one.folder,
            "libraries": one.libraries,
            "request": as_data(one.request),
        }
    return {"environments": facts, "steps": steps} if steps else {}


def as_data(request: EnvironmentRequest) -> dict[str, Any]:
    """The request as JSON can express it. Equal data, equal environment."""
    return {**request._asdict(), "packages": dict(sorted(request.packages.items())), "options": dict(request.options)}


def _base(flow: FlowDef, decorators: Iterable[Decorator]) -> EnvironmentRequest | None:
    found = [(d, r) for d in decorators if (r := d.environment()) is not None]
    if len(found) > 1 and len({request.provider for _, request in found}) > 1:
        names = " and ".join(f"@{decorator.name}" for decorator, _ in found)
        raise StepEnvironmentError(f"Flow {flow.name} has {names}. Its packages can come from one of them: remove one.")
    return found[0][1] if found else None


def _merged(
    step: StepDef,
    base: EnvironmentRequest | None,
    own: Sequence[EnvironmentRequest],
    providers: Mapping[str, EnvironmentProvider],
) -> EnvironmentRequest | None:
    """What a step asks for: its own decorator over that of its flow, when both are of one kind."""
    for one in own:
        provider = providers.get(one.provider)
        if provider is None:
            raise PluginError(
                f"Step {step.name}: no installed plugin makes environments of the kind {one.provider!r}."
                + broken_hint()
            )
        if provider.language != step.language:
            languages = {"r": "R", "python": "Python"}
            of = languages.get(step.language, step.language)
            raise StepEnvironmentError(
                f"Step {step.name} is written in {of}, and @{_decorator(one)} gives packages of "
                f"{languages.get(provider.language, provider.language)}. "
                + (
                    "R packages of a step's own are asked for by r_packages."
                    if step.language == "r"
                    else "Python packages of a step's own are asked for by @pypi or @conda."
                )
            )
    active = [request for request in own if not request.disabled]
    if len(active) > 1:
        names = " and ".join(f"@{_decorator(one)}" for one in active)
        raise StepEnvironmentError(f"Step {step.name} has {names}. Its packages can come from one of them: remove one.")
    request: EnvironmentRequest | None = next(iter(active or own), None)
    if base is None or providers[base.provider].language != step.language:
        return request
    if request is None:
        return base
    if request.provider != base.provider:
        return request
    return EnvironmentRequest(
        base.provider,
        {**base.packages, **request.packages},
        request.python or base.python,
        base.disabled if request.disabled is None else request.disabled,
        {**base.options, **request.options},
    )


def _locked_by(
    origin: Mapping[str, Any] | None,
    request: EnvironmentRequest,
    steps: Sequence[str],
    provider: EnvironmentProvider,
    say: Callable[[str], None],
) -> Lock | None:
    """The versions with which a run ran that is resumed; None, and why is said, when they do not apply here."""
    if origin is None or provider.surroundings(request) is None:
        return None
    known = [origin["environments"][id] for step in steps if (id := origin.get("steps", {}).get(step)) is not None]
    same = [one for one in known if one["request"] == as_data(request)]
    if same:
        lock = Lock(*(same[0][field] for field in Lock._fields))
        if lock.is_present:
            return None  # what is installed here is what there is
        if os.path.exists(lock.interpreter):
            return lock
        say(f"The packages of {_named(steps)} are chosen anew: {lock.interpreter} of the first run is not here.")
    elif known:
        say(f"The packages of {_named(steps)} are chosen anew: other ones are asked for than in the first run.")
    return None


def _grouped(requests: Mapping[str, EnvironmentRequest]) -> Iterable[tuple[EnvironmentRequest, list[str]]]:
    import json

    groups: dict[str, tuple[EnvironmentRequest, list[str]]] = {}
    for step, request in requests.items():
        groups.setdefault(json.dumps(as_data(request), sort_keys=True), (request, []))[1].append(step)
    return groups.values()


def _decorator(request: EnvironmentRequest) -> str:
    return "r_packages" if request.provider == "r" else request.provider


def _where(request: EnvironmentRequest, steps: Sequence[str]) -> str:
    return f"@{_decorator(request)} on {_named(steps)}"


def _named(steps: Sequence[str]) -> str:
    return f"step{'s' * (len(steps) > 1)} {', '.join(steps)}"
