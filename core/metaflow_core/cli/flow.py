"""The command line of a flow file: ``python flow.py COMMAND`` or ``Rscript flow.R COMMAND``."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from metaflow_core import __version__, errors, identity
from metaflow_core.cli.error_file import ERROR_FILE, write_error
from metaflow_core.cli.option_defaults import ALIASES, command_defaults, option_defaults, with_source
from metaflow_core.decorators.attach import attach
from metaflow_core.decorators.provided import flow_decorator_classes
from metaflow_core.decorators.resolve import flow_decorators
from metaflow_core.engine.streams import flush_streams
from metaflow_core.graph.model import DecoratorSpec, FlowDef
from metaflow_core.metadata.backend import Backend, open_backend, store_variables
from metaflow_core.names import near

ORCHESTRATOR = "of a plugin"

# Each command is loaded when it is used.
COMMANDS = {
    "run": "metaflow_core.cli.run:run_command",
    "resume": "metaflow_core.cli.resume:resume_command",
    "check": "metaflow_core.cli.show:check",
    "show": "metaflow_core.cli.show:show",
    "output-dot": "metaflow_core.cli.show:output_dot",
    "output-raw": "metaflow_core.cli.show:output_raw",
    "output-mermaid": "metaflow_core.cli.show:output_mermaid",
    "dump": "metaflow_core.cli.dump:dump",
    "logs": "metaflow_core.cli.logs:logs",
    "tag": "metaflow_core.cli.tag:tag",
    "runs": "metaflow_core.cli.runs:flow_runs",
    "spin": "metaflow_core.cli.spin:spin",
    "version": "metaflow_core.cli.flow:version",
    "help": "metaflow_core.cli.flow:help_command",
    "package": "metaflow_core.cli.package:package",
    "init": "metaflow_core.cli.step:init",
    "step": "metaflow_core.cli.step:step_command",
    "launch": "metaflow_core.cli.step:launch_command",
    "exit-hook": "metaflow_core.cli.exit_hook:exit_hook_command",
    "node": "metaflow_core.cli.node:node_command",
    "paths": "metaflow_core.cli.node:paths_command",
    "finish": "metaflow_core.cli.node:finish_command",
    "deployed-run": "metaflow_core.cli.deployed_run:deployed_run_command",
    "step-functions": ORCHESTRATOR,
    "argo-workflows": ORCHESTRATOR,
    "airflow": ORCHESTRATOR,
    "local": ORCHESTRATOR,
}


class FlowContext:
    """What every command of a flow file works with."""

    def __init__(self, flow: FlowDef, program: Sequence[str]) -> None:
        self.flow = flow
        self.program = list(program)
        self.session: str | None = None  # of R: the variable that holds the flow
        self.deployed: str | None = None  # the name of what commands are about when there is no file of the flow
        self.passed_on = False  # another program shows on a terminal what this one writes into a file
        self.quiet = False
        self.options: list[str] = []  # those before the command, to start the program again with
        self.with_: list[str] = []  # and those of `--with`, wherever they come from
        self.attached: list[DecoratorSpec] = []  # the decorators that they have made
        self.flow_options: dict[str, Any] = {}
        self.environment: str | None = None  # where packages of steps come from; None: as each step says
        self._backend: Backend | None = None

    def arguments(self, with_: Sequence[str] = ()) -> list[str]:
        """What stands before the command when the program is started again; ``with_`` are the options of the command.

        All of `--with`, because one on the command line hides those of the environment and of configuration files.
        """
        names = {text.partition(":")[0] for text in with_}
        texts = [*with_, *(text for text in self.with_ if text.partition(":")[0] not in names)]
        return [*self.options, *(word for text in texts for word in ("--with", text))]

    @property
    def backend(self) -> Backend:
        """The metadata database and the artifact store, opened when first used."""
        if self._backend is None:
            self._backend = open_backend()
        return self._backend

    def banner(self, text: str) -> None:
        """Tell the user something that is no result: to stderr, and not when ``--quiet``."""
        if not self.quiet:
            with suppress(OSError):  # a run does not end because nobody hears of it
                click.echo(text, err=True)


class FlowCommands(click.Group):
    """Commands that are loaded by name; flow decorators and a flow's parameters add options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None or place == ORCHESTRATOR:
            from metaflow_core.cli.orchestrator import orchestrator_command

            return orchestrator_command(_flow_of(ctx), cmd_name)
        module, name = place.split(":")
        command: Any = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            command = command(_flow_of(ctx))  # its options depend on the flow
        return command  # type: ignore[no-any-return]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        _settle_configs(_flow_of(ctx), ctx.params, args)  # the options of a command may depend on them
        try:
            name, command, words = super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = near(args[0], COMMANDS)
            if close and "No such command" in str(error):
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {close!r}?", ctx) from None
            raise
        if command is not None and not command.hidden:  # hidden ones are called by programs, which say all they mean
            more = command_defaults(command, [str(name)], self.params)
            ctx.default_map = {**(ctx.default_map or {}), str(name): more}
        return name, command, words

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        configs = _flow_of(ctx).configs
        if configs:
            from metaflow_core.cli.configs import about

            with formatter.section("Configs"):
                formatter.write_dl([(config.name, about(config)) for config in configs])
        super().format_commands(ctx, formatter)


def _flow_of(ctx: click.Context) -> FlowDef:
    context = ctx.find_object(FlowContext)
    assert context is not None
    return context.flow


def _settle_configs(flow: FlowDef, options: Mapping[str, Any], words: list[str]) -> None:
    if flow.configs or options["config"] or options["config_value"]:
        from metaflow_core.cli.configs import settle_configs

        settle_configs(flow, options, words)


def with_option() -> click.Option:
    """``--with``, which stands before the command or after it."""
    return click.Option(
        ["--with", "with_"],
        multiple=True,
        metavar="DECORATOR",
        help="Add name:key=value to each step; may be given several times.",
    )


def _config_option(flow: FlowDef, name: str, metavar: str, help: str) -> click.Option:
    # In the environment it is another variable: see `given_configs`.
    return click.Option(
        [name],
        type=(str, str),
        multiple=True,
        metavar=metavar,
        help=help,
        hidden=not flow.configs,
    )


def command_line(flow: FlowDef) -> click.Group:
    """The click group of a flow: the options before the command, and the commands."""
    options: list[click.Parameter] = [
        click.Option(["--quiet"], is_flag=True, help="No banners, and at a terminal no view of the steps."),
        click.Option(
            ["--metadata"], metavar="URL", help="Metadata database: sqlite:///PATH, postgresql://..., or local."
        ),
        click.Option(["--datastore"], metavar="URL", help="Artifact store: local, s3, gs, azure, a path or a URL."),
        click.Option(
            ["--datastore-root"], metavar="PLACE", help="Directory that holds .metaflow, or where s3, gs or azure is."
        ),
        click.Option(["--environment"], metavar="NAME", help="Packages of steps: local, pypi, conda or uv."),
        click.Option(["--package-suffixes"], metavar="LIST", help="More endings of files to package: .csv,.sql"),
        with_option(),
        click.Option(["--pylint/--no-pylint"], default=False, help="Check the code with pylint first, when installed."),
        _config_option(flow, "--config", "NAME PATH", "Read a config from this file; may be given several times."),
        _config_option(flow, "--config-value", "NAME VALUE", "The value of a config, as JSON."),
    ]
    options += decorator_options(flow)
    return FlowCommands(
        name=flow.name, params=options, callback=_before_command, invoke_without_command=True, help=flow.doc or None
    )


def decorator_options(flow: FlowDef) -> list[click.Parameter]:
    """The options before the command that come with the decorators of the flow."""
    once = {type(decorator): decorator for decorator in flow_decorators(flow)}
    return [option for decorator in once.values() for option in decorator.options()]


@click.pass_context
def _before_command(ctx: click.Context, /, **options: Any) -> None:
    context: FlowContext = ctx.obj
    if ctx.invoked_subcommand is None:
        _settle_configs(context.flow, options, ["check"])
    for name in ("config", "config_value"):
        del options[name]
    context.quiet = options.pop("quiet")
    # The rest of the program, the tasks and what they start find the same place through the settings, and nowhere else.
    for name in ALIASES:
        os.environ.pop(f"METAFLOW_{name}", None)
    os.environ.update(store_variables(options["datastore"], options["datastore_root"]))
    if options["metadata"] not in (None, "local"):
        os.environ["METAFLOW_METADATA_URL"] = options["metadata"]
    if options["package_suffixes"]:
        os.environ["METAFLOW_PACKAGE_SUFFIXES"] = options["package_suffixes"]
    context.environment = options["environment"]
    context.attached = attach(context.flow, options["with_"])
    context.options, context.with_ = _given(ctx), list(options["with_"])
    context.flow_options = options
    context.banner(f"Metaflow {__version__} executing {context.flow.name} for {identity.identity()}")
    if options["pylint"]:
        _pylint(context)
    if ctx.invoked_subcommand is None:
        command = ctx.command.get_command(ctx, "check")  # type: ignore[attr-defined]
        ctx.invoke(command)


def _given(ctx: click.Context) -> list[str]:
    """The options that were given before the command, for starting the program again in the same way.

    Not the configs: a task gets those of its run.
    """
    found: list[str] = []
    sources = click.core.ParameterSource
    of_decorators = {option.name for option in decorator_options(ctx.obj.flow)}
    for option in ctx.command.params:
        name = str(option.name)
        source = ctx.get_parameter_source(name)
        # The environment and the configuration files are there for the other process too, if it runs on this machine.
        # On which branch of a project a flow runs must be the same everywhere.
        given = source is sources.COMMANDLINE or (name in of_decorators and source is sources.DEFAULT_MAP)
        value = ctx.params[name]
        if not given or name in ("quiet", "config", "config_value", "with_"):
            continue
        if isinstance(value, bool):
            found += option.opts[:1] if value else option.secondary_opts[:1]
        else:
            for text in value if isinstance(value, (tuple, list)) else [value]:
                found += [option.opts[0], str(text)]
    return found


def _pylint(context: FlowContext) -> None:
    import subprocess

    if context.flow.language != "python" or context.flow.file is None:
        return
    found = subprocess.run(
        [sys.executable, "-m", "pylint", "-E", context.flow.file], capture_output=True, text=True, check=False
    )
    if "No module named pylint" in found.stderr:
        context.banner("Pylint is not installed, so the code is not checked with it.")
    elif found.returncode:
        raise errors.LintWarn(f"Pylint found errors:\n{found.stdout.rstrip()}")


@click.command
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@click.command("help")
@click.pass_context
def help_command(ctx: click.Context) -> None:
    """Print this text."""
    assert ctx.parent is not None
    click.echo(ctx.parent.get_help())


def main(flow: FlowDef, program: Sequence[str], arguments: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command line and exit: 0 when all is well, 1 after a failure or an interrupt, 2 for wrong usage.

    ``program`` is the command that starts this program again, without arguments.
    """
    sys.unraisablehook = _heard
    code = execute(flow, program, sys.argv[1:] if arguments is None else list(arguments))
    # All is done: an interrupt, or a stream that can't be written, must not turn the exit code into another one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    flush_streams()
    sys.exit(code)


def _heard(lost: Any) -> None:
    """Python drops an exception of a finalizer or of a weak reference's callback. An interrupt must not be dropped."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    import _thread

    # From another thread: here it would be dropped again.
    _thread.start_new_thread(_thread.interrupt_main, ())


def execute(
    flow: FlowDef,
    program: Sequence[str],
    arguments: list[str],
    session: str | None = None,
    passed_on: bool = False,
    deployed: str | None = None,
) -> int:
    """Carry out a command line and return the exit code. ``FlowContext`` explains the last arguments.

    A program that has started this one may name a file in ``ERROR_FILE``, and gets an error as JSON there.
    """
    _open_standard_streams()
    error_file = os.environ.pop(ERROR_FILE, None)  # not for what this process starts
    context = FlowContext(flow, program)
    context.session, context.passed_on, context.deployed = session, passed_on, deployed
    try:
        group = command_line(flow)
        name = os.path.basename(flow.file or program[-1]) if deployed is None else shlex.join(program)
        code = group.main(
            arguments,
            prog_name=name,
            obj=context,
            standalone_mode=False,
            default_map=option_defaults(group.params),
        )
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption):
            error = _at_its_place(group, error)
        error = with_source(error)
        error.show()
        write_error(error_file, errors.MetaflowUsageError.__name__, error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 1
    except errors.MetaflowException as error:
        show_error(error)
        write_error(error_file, type(error).__name__, str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader has gone (`show | head`). Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _at_its_place(group: click.Group, error: click.NoSuchOption) -> click.UsageError:
    """Says of an option that exists, and was given before the command or after it, where it goes."""
    ctx = error.ctx
    provider = _decorator_with(error.option_name)
    if provider is not None and not (ctx and any(error.option_name in option.opts for option in group.params)):
        return click.UsageError(
            f"{error.option_name} is an option of flows with @{provider}, and this one has none.", ctx
        )
    if ctx is None or (ctx.parent is not None and ctx.parent.command is not group):
        return error
    name, program = error.option_name, ctx.find_root().info_name
    if ctx.command is group:
        run = group.get_command(ctx, "run")
        if run is None or not any(name in option.opts for option in run.params):
            return error
        return click.UsageError(f"{name} goes after the command: {program} run {name} ...", ctx)
    if not any(name in option.opts for option in group.params):
        return error
    return click.UsageError(f"{name} goes before the command: {program} {name} ... {ctx.info_name}", ctx)


def _decorator_with(spelling: str) -> str | None:
    """The decorator of flows that comes with the option."""
    for name, cls in flow_decorator_classes().items():
        # They do not depend on arguments, of which some decorators need one.
        if any(spelling in option.opts for option in cls.__new__(cls).options()):
            return name
    return None


def _open_standard_streams() -> None:
    """Closed ones (`>&-`) become /dev/null: else the next file that is opened would be taken for them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def show_error(error: errors.MetaflowException) -> None:
    """Print an error to stderr as people should read it."""
    click.echo(f"{click.style(error.headline, fg='red', bold=True)}:", err=True)
    for line in str(error).splitlines() or [""]:
        click.echo(f"    {line}", err=True)
