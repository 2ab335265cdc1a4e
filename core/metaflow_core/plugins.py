"""Finds plugins, and asks them. One that is broken is left out, and named.

The order in which plugins are asked is fixed: what comes with this package first, then others in the alphabetical order
of their names. pluggy's ``tryfirst`` and ``trylast`` change it. The first answer counts.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pluggy

from metaflow_core import hookspecs
from metaflow_core.errors import MetaflowException

GROUP = "metaflow_tandem.plugins"
OURS = "metaflow-tandem"
# Of the environment, for the processes that this one starts: what was told already. ALL: nothing is told.
TOLD = "METAFLOW_INTERNAL_PLUGINS_TOLD"
ALL = "all"


class Plugin(NamedTuple):
    """A plugin, and the distribution that has installed it; "" where that is unknown."""

    name: str
    module: str
    distribution: str = ""
    version: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it comes with this package."""
        return self.distribution == OURS

    def __str__(self) -> str:
        origin = f" of {self.distribution} {self.version}".rstrip() if self.distribution else ""
        return f"the plugin {self.name!r}{origin}"


class _Manager(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Of a module only functions are looked at. To look at all that it imports takes longer than all else here."""
        if isinstance(plugin, ModuleType) and not isinstance(vars(plugin).get(name), FunctionType):
            return None
        return super().parse_hookimpl_opts(plugin, name)


class _Loaded(NamedTuple):
    manager: pluggy.PluginManager
    plugins: dict[str, Plugin]  # by the name under which the manager has it


_broken: dict[Plugin, str] = {}


def manager() -> pluggy.PluginManager:
    """The plugin manager, with every plugin that can be loaded."""
    return _loaded().manager


def hook() -> Any:
    """The hooks, ready to be called: ``hook().open_storage(url=...)``.

    A hook gives the first answer that is not None, or else the list of all answers, as its specification says.
    """
    return _HOOKS


class _Hooks:
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not hasattr(hookspecs, name):
            raise AttributeError(f"There is no hook {name!r}.")

        def call(**arguments: Any) -> Any:
            found = (answer for _, answer in answers(name, **arguments))
            return next(found, None) if _gives_first(name) else list(found)

        return call


_HOOKS = _Hooks()


def answers(hook_name: str, **arguments: Any) -> Iterator[tuple[Plugin, Any]]:
    """Who answers to a hook, and what. A plugin that fails is reported, and has no answer.

    Where one answer is wanted, a ``MetaflowException`` is one: it propagates.
    """
    first = _gives_first(hook_name)
    for plugin, ask in _implementations(hook_name, arguments):
        try:
            answer = ask() if first else list(ask())
        except Exception as error:
            if first and isinstance(error, MetaflowException):
                raise
            report(plugin, f"{hook_name}() ended with {_words(error)}")
            continue
        if answer is not None:
            yield plugin, answer


def tell(hook_name: str, event: str, **facts: Any) -> None:
    """Tell every plugin that wants to know. What goes wrong there is printed, after ``event``, and changes nothing."""
    for plugin, ask in _implementations(hook_name, facts):
        try:
            ask()
        except Exception as error:
            print(f"{event}, but {plugin} failed to act on it: {_words(error)}", file=sys.stderr)


def report(plugin: Plugin, why: str) -> None:
    """Remember that a plugin is broken, and say so, once for this process and those that it starts."""
    if plugin in _broken:
        return
    _broken[plugin] = why
    told = os.environ.get(TOLD, "")
    mark = f"{plugin.name}={plugin.module};"
    if told != ALL and mark not in told:
        os.environ[TOLD] = told + mark
        text = f"{_sentence(plugin)} is broken, and left out: {why}"
        print(f"Warning: {text.rstrip('.')}. `metaflow status --plugins` lists the plugins.", file=sys.stderr)


def broken() -> dict[Plugin, str]:
    """The plugins that are known to be broken by now, and why."""
    _loaded()
    return dict(_broken)


def broken_hint() -> str:
    """What to add to a message about something that no plugin provides: "", or which ones are broken."""
    return "".join(f" {_sentence(plugin)} is installed, but broken: {why}" for plugin, why in broken().items())


def installed() -> list[Plugin]:
    """Every installed plugin, broken ones too, in the order in which they are asked."""
    found: dict[tuple[str, str], Plugin] = {}
    for plugin in _entry_points():
        found.setdefault((plugin.name, plugin.module), plugin)
    return sorted(found.values(), key=lambda plugin: (not plugin.is_ours, plugin))


def hooks_of(plugin: Plugin) -> list[str]:
    """The hooks that a plugin implements, in the alphabetical order; none when it can't be loaded."""
    loaded = _loaded()
    for name, other in loaded.plugins.items():
        if other == plugin:
            callers = loaded.manager.get_hookcallers(loaded.manager.get_plugin(name)) or []
            return sorted(caller.name for caller in callers)
    return []


@cache
def _loaded() -> _Loaded:
    pm = _Manager("metaflow_tandem")
    pm.add_hookspecs(hookspecs)
    loaded = _Loaded(pm, {})
    for plugin in reversed(installed()):  # pluggy asks first what was registered last
        name = str(plugin) if pm.has_plugin(plugin.name) else plugin.name
        try:
            module = _import(plugin)
            if pm.is_registered(module):
                continue
            loaded.plugins[name] = plugin
            pm.register(module, name=name)
        except pluggy.PluginValidationError as error:
            _leave_out(loaded, name, _misfit(error))
        except (Exception, SystemExit) as error:
            loaded.plugins.pop(name, None)
            report(plugin, _words(error))
    for name, why in _not_called(pm):
        _leave_out(loaded, name, why)
    return loaded


def _import(plugin: Plugin) -> Any:
    if ":" in plugin.module:
        raise ImportError(f"its entry point names {plugin.module}, and a plugin is a module")
    return importlib.import_module(plugin.module)


def _leave_out(loaded: _Loaded, name: str, why: str) -> None:
    plugin = loaded.plugins.pop(name, None)
    if plugin is not None:
        loaded.manager.unregister(name=name)
        report(plugin, why)


def _misfit(error: pluggy.PluginValidationError) -> str:
    """Why an implementation of a hook can't be called: it wants what is not given."""
    found = re.search(r"for hook '(\w+)'", str(error))
    name = found[1] if found else "?"
    if "Argument(s)" not in str(error):
        return f"its {name}() can't be called: {' '.join(str(error).split())}"
    code = getattr(hookspecs, name).__code__
    given = ", ".join(code.co_varnames[: code.co_argcount])
    wanted = re.search(r"Argument\(s\) \{(.*?)\}", str(error))
    return f"its {name}() has the argument {wanted[1] if wanted else '?'}, and the hook is {name}({given})"


def _not_called(pm: pluggy.PluginManager) -> list[tuple[str, str]]:
    """Implementations that nothing would ever call: of hooks that do not exist, and wrappers."""
    found = []
    for name, caller in vars(pm.hook).items():
        if name.startswith("_"):
            continue
        for implementation in caller.get_hookimpls():
            if not caller.has_spec() and not implementation.optionalhook:
                found.append((implementation.plugin_name, f"it implements {name}(), and there is no such hook"))
            elif implementation.hookwrapper or implementation.wrapper:
                found.append((implementation.plugin_name, f"its {name}() is a wrapper, and hooks are not wrapped"))
    return found


def _implementations(hook_name: str, arguments: dict[str, Any]) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
    loaded = _loaded()
    for one in reversed(getattr(loaded.manager.hook, hook_name).get_hookimpls()):
        plugin = loaded.plugins.get(one.plugin_name) or Plugin(one.plugin_name, getattr(one.plugin, "__name__", ""))
        yield plugin, partial(one.function, *(arguments[name] for name in one.argnames))


def _gives_first(hook_name: str) -> bool:
    return bool(getattr(_loaded().manager.hook, hook_name).spec.opts["firstresult"])


def _words(error: BaseException) -> str:
    from metaflow_core.names import masked

    return masked(" ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")).rstrip(".") + "."


def _sentence(plugin: Plugin) -> str:
    text = str(plugin)
    return text[0].upper() + text[1:]


def installed_records() -> Iterator[tuple[str, str]]:
    """Folder and name (``package-1.0.dist-info``) of each installed distribution's record.

    Listing them is enough: importing ``importlib.metadata`` takes longer than a small run.
    The format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield folder, name


def _entry_points() -> Iterator[Plugin]:
    """The plugins that installed distributions name. Of two versions of one, the first on the path counts.

    The format: https://packaging.python.org/en/latest/specifications/entry-points/
    """
    seen: dict[str, str] = {}
    for folder, record in installed_records():
        name, _, version = record.rpartition(".")[0].partition("-")
        distribution = name.replace("_", "-").replace(".", "-").lower()
        if seen.setdefault(distribution, folder) == folder:
            for plugin, module in _read(os.path.join(folder, record, "entry_points.txt")):
                yield Plugin(plugin, module, distribution, version.partition("-py")[0])


def _read(path: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return
    if GROUP not in text:
        return
    section = ""
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == GROUP and "=" in line:
            name, module = line.split("=", 1)
            yield name.strip(), module.strip()
