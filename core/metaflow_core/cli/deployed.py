"""One task of an orchestrator: ``python -m metaflow_core.cli.deployed COMMAND [STEP] [OPTION]...``.

The environment variable ``METAFLOW_DEPLOYMENT`` is what the deployment plan has as its ``program``. The code package is
fetched from the artifact store, once per machine and user, and this process becomes the flow's command: ``node``,
``paths`` or ``finish``.
"""

from __future__ import annotations

import json
import os
import sys

from metaflow_core.cli.job import become, code_folder
from metaflow_core.deployment.plan import PROGRAM_VARIABLE
from metaflow_core.errors import MetaflowException


def main() -> int:
    """Become the flow's command. Returns only when that can't be started."""
    program = json.loads(os.environ[PROGRAM_VARIABLE])
    try:
        root = code_folder(program["package"])
    except MetaflowException as error:
        print(f"{error.headline}: {error}", file=sys.stderr)
        return 1
    os.chdir(os.path.join(root, program["folder"]))
    words = [os.path.join(root, program["script"]), "--quiet", *program["arguments"], *sys.argv[1:]]
    return become(program["language"], words)


if __name__ == "__main__":
    sys.exit(main())
