"""Every setting, in one table, with one precedence.

A setting is looked for in this order, and the first place that has it wins:

1. the environment variable ``METAFLOW_<NAME>`` (an empty one counts as not set);
2. ``.metaflow/config.json`` in the working directory, or in the nearest directory above it that has one;
3. ``$METAFLOW_HOME/config.json``, or ``config_<PROFILE>.json`` when ``METAFLOW_PROFILE`` is set
   (``METAFLOW_HOME`` is ``~/.metaflowconfig`` by default);
4. the default in the table.

A configuration file is a JSON object whose keys are spelt like the environment variables:
``{"METAFLOW_USER": "anne"}``. A relative path in a file starts from the project directory (2) or from ``METAFLOW_HOME``
(3), one in the environment from the working directory.

The options of a flow's command line are found in the same places: :mod:`metaflow_core.cli.option_defaults`.

Nothing is fixed at import: a changed variable, file or working directory counts from the next :func:`get` on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from metaflow_core.errors import MetaflowException
from metaflow_core.names import masked, show

PREFIX = "METAFLOW_"
FOLDER = ".metaflow"
SPIN_FOLDER = ".metaflow_spin"  # of the working directory, for `spin --persist`
_CONFIG = os.path.join(FOLDER, "config.json")


class Setting:
    """One row of the table.

    ``type`` is ``text``, ``path``, ``bool``, ``int`` or ``float``. ``choices`` lists the allowed texts, ``minimum`` is
    the smallest allowed number. A ``bootstrap`` setting says where configuration files are, so it is read from the
    environment only.
    """

    __slots__ = ("bootstrap", "choices", "default", "doc", "minimum", "name", "type")

    def __init__(
        self,
        name: str,
        type: str,
        default: Any,
        doc: str,
        choices: tuple[str, ...] = (),
        minimum: float | None = None,
        bootstrap: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.doc = doc
        self.choices = choices
        self.minimum = minimum
        self.bootstrap = bootstrap

    @property
    def variable(self) -> str:
        """The environment variable, and the key in a configuration file."""
        return PREFIX + self.name

    @property
    def expects(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = {
            "text": "text",
            "path": "a path",
            "bool": "true or false",
            "int": "a whole number",
            "float": "a number",
        }[self.type]
        return words if self.minimum is None else f"{words}, at least {self.minimum:g}"

    def parse(self, value: object) -> Any:
        """``value``, text or decoded JSON, as this setting's type. ``ValueError`` when it does not fit."""
        if self.type in ("text", "path"):
            if not isinstance(value, str) or not value or "\0" in value:
                raise ValueError
            if self.choices and value not in self.choices:
                raise ValueError
            return value
        if self.type == "bool":
            known = {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }
            text = str(value).strip().lower()
            if text not in known:
                raise ValueError
            return known[text]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError
        number = (int if self.type == "int" else float)(value)
        if (
            number != float(value)
            or (self.minimum is not None and not number >= self.minimum)
            or number == float("inf")
        ):
            raise ValueError
        return number


SETTINGS: dict[str, Setting] = {
    s.name: s
    for s in (
        Setting("HOME", "path", "~/.metaflowconfig", "Directory of your own configuration files.", bootstrap=True),
        Setting("PROFILE", "text", None, "Use config_<PROFILE>.json in METAFLOW_HOME.", bootstrap=True),
        Setting("USER", "text", None, "Who you are. By default the name you are logged in with."),
        Setting("PRODUCTION_TOKEN", "text", None, "Runs belong to this production token, not to a user."),
        Setting(
            "METADATA_URL",
            "text",
            None,
            "Database of runs: sqlite:///PATH or postgresql://... By default a SQLite file in the project's .metaflow.",
        ),
        Setting(
            "DEFAULT_DATASTORE", "text", "local", "Where artifacts and logs are kept: local, or the URL of a store."
        ),
        Setting(
            "DATASTORE_SYSROOT_LOCAL",
            "path",
            None,
            "Directory that holds .metaflow. By default the nearest one from the working directory upward.",
        ),
        Setting("DATASTORE_SYSROOT_S3", "text", None, "The store that s3 stands for: s3://bucket/prefix."),
        Setting("DATASTORE_SYSROOT_GS", "text", None, "The store that gs stands for: gs://bucket/prefix."),
        Setting("DATASTORE_SYSROOT_AZURE", "text", None, "The store that azure stands for: az://container/prefix."),
        Setting(
            "S3_ENDPOINT_URL", "text", None, "Server of s3:// addresses. By default what AWS's own settings say: AWS."
        ),
        Setting(
            "STORE_CACHE",
            "path",
            "~/.cache/metaflow/store",
            "Directory for copies of what was read from, or written to, a store on another machine.",
        ),
        Setting("STORE_CACHE_SIZE", "int", 5000, "Most that these copies take, in MB; 0 keeps none.", minimum=0),
        Setting("DASK_SCHEDULER", "text", None, "Scheduler of the Dask cluster of @dask: tcp://host:8786."),
        Setting("BATCH_JOB_QUEUE", "text", None, "Job queue of @batch."),
        Setting("BATCH_CONTAINER_IMAGE", "text", None, "Image in which @batch runs tasks."),
        Setting(
            "BATCH_SECRETS", "text", None, "Variables of jobs of @batch, from AWS Secrets Manager: PGPASSWORD=ARN,..."
        ),
        Setting("ECS_S3_ACCESS_IAM_ROLE", "text", None, "Role of the tasks of @batch: its ARN."),
        Setting(
            "ECS_FARGATE_EXECUTION_ROLE", "text", None, "Role with which machines of @batch start a task: its ARN."
        ),
        Setting(
            "SFN_IAM_ROLE",
            "text",
            None,
            "Role with which state machines of AWS Step Functions run jobs of AWS Batch: its ARN.",
        ),
        Setting("SFN_STATE_MACHINE_PREFIX", "text", None, "What the names of state machines begin with."),
        Setting(
            "SFN_DYNAMO_DB_TABLE", "text", None, "Table of DynamoDB in which tasks tell Step Functions what follows."
        ),
        Setting(
            "SFN_EXECUTION_LOG_GROUP_ARN",
            "text",
            None,
            "Log group of step-functions create --log-execution-history: its ARN.",
        ),
        Setting(
            "EVENTS_SFN_ACCESS_IAM_ROLE",
            "text",
            None,
            "Role with which Amazon EventBridge starts state machines: its ARN.",
        ),
        Setting("KUBERNETES_NAMESPACE", "text", "default", "Namespace of the pods of @kubernetes."),
        Setting("KUBERNETES_CONTAINER_IMAGE", "text", None, "Image in which @kubernetes runs tasks."),
        Setting(
            "KUBERNETES_IMAGE_PULL_POLICY",
            "text",
            None,
            "When a node pulls the image of @kubernetes. By default what the cluster does.",
            choices=("Always", "IfNotPresent", "Never"),
        ),
        Setting("KUBERNETES_IMAGE_PULL_SECRETS", "text", None, "Secrets with which images are pulled: a,b."),
        Setting("KUBERNETES_SERVICE_ACCOUNT", "text", None, "Service account of the pods of @kubernetes."),
        Setting("KUBERNETES_SECRETS", "text", None, "Secrets whose keys are variables of tasks of @kubernetes: a,b."),
        Setting("KUBERNETES_NODE_SELECTOR", "text", None, "Labels of the nodes that @kubernetes uses: a=b,c=d."),
        Setting("KUBERNETES_TOLERATIONS", "text", None, "Tolerations of the pods of @kubernetes: a list as JSON."),
        Setting("KUBERNETES_LABELS", "text", None, "Labels of the pods of @kubernetes: a=b,c=d."),
        Setting("KUBERNETES_ANNOTATIONS", "text", None, "Annotations of the pods of @kubernetes: a=b,c=d."),
        Setting(
            "KUBERNETES_PERSISTENT_VOLUME_CLAIMS",
            "text",
            None,
            "Claims and their folders in @kubernetes: claim=/folder.",
        ),
        Setting("KUBERNETES_GPU_VENDOR", "text", "nvidia", "Vendor of the GPUs of @kubernetes."),
        Setting("ARGO_WORKFLOWS_KUBERNETES_SECRETS", "text", None, "Secrets for all steps on Argo Workflows: a,b."),
        Setting("ARGO_WORKFLOWS_UI_URL", "text", None, "Address of the user interface of Argo Workflows."),
        Setting("ARGO_EVENTS_EVENT_BUS", "text", "default", "Event bus of Argo Events."),
        Setting(
            "ARGO_EVENTS_EVENT_SOURCE", "text", None, "Event source that brings events to flows on Argo Workflows."
        ),
        Setting("ARGO_EVENTS_EVENT", "text", None, "Name of the event in that event source."),
        Setting("ARGO_EVENTS_SERVICE_ACCOUNT", "text", None, "Service account of the sensors that start flows."),
        Setting("ARGO_EVENTS_WEBHOOK_URL", "text", None, "Address at which the event source takes events."),
        Setting("AIRFLOW_PYTHON", "text", "python", "Python with metaflow-tandem on the workers of Airflow."),
        Setting(
            "AIRFLOW_DAGS_FOLDER", "text", None, "Where Airflow reads DAG files: a directory, or s3://bucket/dags."
        ),
        Setting("AIRFLOW_REST_API", "text", None, "Address at which people open Airflow: http://airflow:8080."),
        Setting("AIRFLOW_USER", "text", None, "Your name in Airflow."),
        Setting(
            "AIRFLOW_PASSWORD", "text", None, "Your password in Airflow. Better in the environment than in a file."
        ),
        Setting("AIRFLOW_TOKEN", "text", None, "A token of Airflow's REST API, instead of name and password."),
        Setting(
            "AGENT_MISFIRE_GRACE",
            "float",
            3600.0,
            "By how many seconds `metaflow agent` may be late for a scheduled run; later, it is left out.",
            minimum=1,
        ),
        Setting("DURABLE_WRITES", "bool", False, "Whether artifacts survive a power cut: wait for the disk at each."),
        Setting("LAUNCHER", "text", "fork", "How a local task's process starts.", choices=("fork", "spawn")),
        Setting(
            "ENVIRONMENTS",
            "path",
            None,
            "Directory of the packages that steps have of their own. By default ~/.cache/metaflow/environments.",
        ),
        Setting(
            "RESOLVE_PACKAGES",
            "text",
            "once",
            "When the versions of a step's own packages are chosen: once on this machine, or always, in every run.",
            choices=("once", "always"),
        ),
        Setting("RETRY_WAIT", "bool", False, "Whether local runs wait minutes_between_retries before a retry."),
        Setting("HEARTBEAT_SECONDS", "float", 10.0, "How often a run reports that it is alive.", minimum=0.1),
        Setting(
            "TASK_MEMORY_LIMIT", "int", None, "Most memory of one local task, in MB. By default no limit.", minimum=1
        ),
        Setting(
            "ENFORCE_RESOURCES",
            "bool",
            False,
            "Whether @resources holds on this machine: tasks wait for free cores, memory and GPUs, and get no more.",
        ),
        Setting(
            "OPAQUE_ARTIFACTS",
            "text",
            "allow",
            "Whether artifacts may be loaded that can run code (pickles, RDS): all, those of own runs, or none.",
            choices=("allow", "own", "refuse"),
        ),
        Setting(
            "ARTIFACT_COMPRESSION",
            "text",
            "none",
            "Compression of large artifacts.",
            choices=("none", "lz4", "zstd"),
        ),
        Setting(
            "TABLES",
            "text",
            "pandas",
            "What a table made in another language is in Python.",
            choices=("pandas", "polars", "arrow"),
        ),
        Setting(
            "PACKAGE_SUFFIXES", "text", None, "More endings of files that a code package takes, such as .csv,.sql."
        ),
        Setting("PACKAGE_MAX_SIZE", "int", 100, "Most that a code package may hold, in MB.", minimum=1),
        Setting(
            "GC_OLDER_THAN", "text", None, "Age from which `metaflow gc` removes runs, such as 90d: by default none."
        ),
        Setting(
            "GC_GRACE_HOURS",
            "float",
            24.0,
            "How long `metaflow gc` spares a file that nothing refers to: a task may be about to.",
            minimum=1,
        ),
        Setting(
            "DEFAULT_SECRETS_BACKEND_TYPE",
            "text",
            None,
            "Provider of sources of @secrets that name none, such as aws-secrets-manager.",
        ),
        Setting("DEFAULT_SECRETS_ROLE", "text", None, "Role with which @secrets fetches when none is given."),
        Setting(
            "AWS_SECRETS_MANAGER_DEFAULT_REGION",
            "text",
            None,
            "Region of AWS Secrets Manager. By default that of the AWS SDK.",
        ),
        Setting(
            "AWS_SECRETS_MANAGER_ENDPOINT_URL",
            "text",
            None,
            "Address of AWS Secrets Manager. By default that of the AWS SDK.",
        ),
        Setting("COLOR", "text", "auto", "Colour in the terminal.", choices=("auto", "always", "never")),
    )
}


def get(name: str) -> Any:
    """The value of a setting, as its type; ``None`` when it is not set and has no default.

    ``name`` is without prefix: ``get("HEARTBEAT_SECONDS")``. A value of the wrong type, or a damaged configuration
    file, raises ``MetaflowException`` naming the file and the key.
    """
    return _find(SETTINGS[name])[0]


def origin(name: str) -> str:
    """Where :func:`get` finds the value: ``environment``, the path of a configuration file, or ``default``."""
    return _find(SETTINGS[name])[1]


def places() -> list[tuple[str, Mapping[str, Any]]]:
    """Where values may stand, the stronger first: ``environment`` or the path of a file, and what is set there.

    The keys are variables, ``METAFLOW_USER``; the values are as they are written: text in the environment, JSON in a
    file. What is empty there counts as not set, and is left out.
    """
    found: list[tuple[str, Mapping[str, Any]]] = [("environment", environment())]
    for path, _ in _files():
        found.append((path, {name: value for name, value in load(path).items() if value is not None}))
    return found


def environment() -> dict[str, str]:
    """The variables of the environment that count: they begin with ``METAFLOW_``, and are not empty."""
    return {name: text for name, text in os.environ.items() if text and name.startswith(PREFIX)}


def project_root() -> str:
    """The absolute path of the directory that holds ``.metaflow``, which may not exist yet.

    ``METAFLOW_DATASTORE_SYSROOT_LOCAL`` when set; else the nearest directory with a ``.metaflow`` from the working
    directory upward; else the working directory.
    """
    chosen: str | None = get("DATASTORE_SYSROOT_LOCAL")
    if chosen is not None:
        return chosen
    return _nearest(FOLDER, os.path.isdir) or working_directory()


def working_directory() -> str:
    """``os.getcwd()``, or a ``MetaflowException`` when the directory was deleted."""
    try:
        return os.getcwd()
    except OSError as error:
        raise MetaflowException(
            f"The working directory can't be used: {error.strerror}. Change to one that exists."
        ) from None


def config_files() -> list[str]:
    """The configuration files that exist and count here, the stronger first."""
    return [path for path, _ in _files()]


def project_config() -> str:
    """The project's configuration file: the one that counts here, or where one would be made."""
    folder = _nearest(_CONFIG, os.path.isfile) or _nearest(FOLDER, os.path.isdir) or working_directory()
    return os.path.join(folder, _CONFIG)


def home_config(profile: str | None = None) -> str:
    """Your own configuration file: of ``profile``, else of ``METAFLOW_PROFILE``, else ``config.json``."""
    profile = profile or get("PROFILE")
    if profile and ("/" in profile or os.sep in profile):
        raise MetaflowException(f"METAFLOW_PROFILE must be the name of a profile, not a path: {profile!r}")
    return os.path.join(get("HOME"), f"config_{profile}.json" if profile else "config.json")


def load(path: str) -> dict[str, Any]:
    """The content of a configuration file, empty when there is none. ``MetaflowException`` when it is damaged."""
    try:
        stat = os.stat(path)
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if _loaded.get(path, (None, None))[0] == seen:
            return _loaded[path][1]
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise MetaflowException(f"The configuration file {path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise MetaflowException(f"The configuration file {path} is not UTF-8 text. Repair or remove it.") from None
    import json  # most machines have no configuration file, and pay nothing for this

    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise MetaflowException(
            f"The configuration file {path} is not valid JSON: {error.msg} in line {error.lineno}. Repair or remove it."
        ) from None
    except (ValueError, RecursionError) as error:
        raise MetaflowException(
            f"The configuration file {path} is not valid JSON: {error}. Repair or remove it."
        ) from None
    if not isinstance(content, dict):
        raise MetaflowException(
            f'The configuration file {path} must hold a JSON object such as {{"METAFLOW_USER": "anne"}}, '
            f"not {type(content).__name__}."
        )
    _loaded[path] = (seen, content)
    return content


_loaded: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {}


def _find(setting: Setting) -> tuple[Any, str]:
    text = os.environ.get(setting.variable)
    if text:
        return _parse(setting, text, "environment", None), "environment"
    if not setting.bootstrap:
        for path, base in _files():
            value = load(path).get(setting.variable)
            if value is not None:
                return _parse(setting, value, path, base), path
    default = setting.default
    if setting.type == "path" and default is not None:
        default = os.path.expanduser(default)
    return default, "default"


def _parse(setting: Setting, value: object, where: str, base: str | None) -> Any:
    try:
        parsed = setting.parse(value)
    except (ValueError, OverflowError):
        place = "in the environment" if where == "environment" else f"in {where}"
        shown = masked(value) if isinstance(value, str) else value
        raise MetaflowException(f"{setting.variable} {place} must be {setting.expects}, not {show(shown)}.") from None
    if setting.type == "path":
        parsed = os.path.expanduser(parsed)
        if not os.path.isabs(parsed):
            parsed = os.path.join(base or working_directory(), parsed)
        parsed = os.path.normpath(parsed)
    return parsed


def _files() -> list[tuple[str, str]]:
    """Existing configuration files, each with the directory from which its relative paths start."""
    found = []
    project = _nearest(_CONFIG, os.path.isfile)
    if project is not None:
        found.append((os.path.join(project, _CONFIG), project))
    path = home_config()
    if os.path.isfile(path):
        found.append((path, get("HOME")))
    return found


def _nearest(name: str, exists: Callable[[str], bool]) -> str | None:
    """The first directory from the working directory upward that has ``name``."""
    folder = working_directory()
    while not exists(os.path.join(folder, name)):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return folder
