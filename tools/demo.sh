#!/bin/sh
# What `make demo` shows: a run of a flow, its result read back, and what to try next.
set -eu
cd -P "$(dirname "$0")/.."

say() { printf '\n==> %s\n' "$*"; }

# Results belong to a user. Who has no name of their own, such as root, gets one here.
name=""
if ! .venv/bin/python -c 'import metaflow; metaflow.default_namespace()' 2>/dev/null; then
    export METAFLOW_USER=demo
    name="  export METAFLOW_USER=demo
"
fi

say "Running examples/penguins.py: three species, fitted side by side"
.venv/bin/python examples/penguins.py run --tag demo

say "Reading the result back, as a notebook would"
show='from metaflow import Flow; print(Flow("PenguinsFlow").latest_run.data.summary)'
.venv/bin/python -c "$show"
run=$(.venv/bin/python -c 'from metaflow import Flow; print(Flow("PenguinsFlow").latest_run.id)')

say "Try next"
cat <<END
$name  .venv/bin/python examples/penguins.py logs $run/start
  .venv/bin/python examples/penguins.py tag add --run-id $run promising_model
  .venv/bin/python examples/penguins.py resume join
END
