#!/bin/sh
# What `make demo` shows: a run of a flow, its result read back, and what to try next.
set -eu
cd -P "$(dirname "$0")/.."

say() { printf '\n==> %s\n' "$*"; }

# Results belong to a user. The superuser, and a user without a name, get one here.
export=""
user=${METAFLOW_USER:-${SUDO_USER:-${USERNAME:-${USER:-}}}}
case $user in
    "" | root)
        export METAFLOW_USER=demo
        export="  export METAFLOW_USER=demo
"
        ;;
esac

say "Running examples/penguins.py: three species, fitted side by side"
.venv/bin/python examples/penguins.py run --tag demo

say "Reading the result back, as a notebook would"
show='from metaflow import Flow; print(Flow("PenguinsFlow").latest_run.data.summary)'
.venv/bin/python -c "$show"
run=$(.venv/bin/python -c 'from metaflow import Flow; print(Flow("PenguinsFlow").latest_run.id)')

say "Try next"
cat <<END
$export  .venv/bin/python examples/penguins.py logs $run/start
  .venv/bin/python examples/penguins.py tag add --run-id $run promising_model
  .venv/bin/python examples/penguins.py resume join
END
