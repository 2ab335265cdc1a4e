"""Put the model of a run where it is served from. Called by `metaflow watch` when a run is tagged `production`.

python deploy.py TrainFlow/3
"""

import json
import os
import sys
from pathlib import Path

from metaflow import Run, namespace

namespace(None)  # whoever trained the model
run = Run(sys.argv[1])
served = Path("serving") / "model.json"
served.parent.mkdir(exist_ok=True)
new = served.with_suffix(".new")
new.write_text(json.dumps({"run": run.pathspec, **run.data.model}))
os.replace(new, served)  # at once: nobody ever reads half a model
print(f"{run.pathspec} is deployed to {served}")
